"""Who owns an instance's files: its own user under the sandbox, and whoever node runs as without it.

The owner of the instance's folder is the mark: it is changed last, so a folder that is its user's is so through and
through, but for what was made by others since in the places that `own` looks at every time. What replaces the folder
(a restore, a clone, an import) brings another owner with it, and is owned at its next start.
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from pocketfleet.runtime.disk import opened_folder
from pocketfleet.runtime.guest import FOLDERS

_log = logging.getLogger(__name__)

_libc = ctypes.CDLL(None, use_errno=True)
#: linux/capability.h: the third form of the call, and the right to pass through folders that are others'.
_CAPABILITIES_3 = 0x20080522
_MAY_SEARCH = 1 << 2
#: Folders within folders beyond which nothing is owned; copies end there, too.
_DEEPEST = 100


def own(folder: Path, user: int, *, whole: bool = False) -> None:
    """Every file below is this user's afterwards. Some dozen microseconds where it was. The caller holds its lock.

    `whole`: each is looked at, whatever the mark says.

    Links are not followed. A file that has another name outside of the folder stays whose it is: its tenant may have
    linked somebody else's there while nothing held it. Raises OSError.
    """
    with opened_folder(folder) as here:
        if os.fstat(here).st_uid == user and not whole:
            _own_top(here, user)
            return
        _log.debug("giving its files to user %d", user, extra={"instance": folder.name})
        names: dict[tuple[int, int], list[int]] = {}
        _own_all(here, user, 1, names)
        _own_several(folder, user, names)
        os.fchown(here, user, _group(user))


def disown(folder: Path) -> None:
    """Take the mark away: whoever we are is about to make files in there. Raises OSError."""
    if folder.lstat().st_uid != os.geteuid():
        os.chown(folder, os.geteuid(), os.getegid(), follow_symlinks=False)


@contextlib.contextmanager
def as_owner(folder: Path) -> Iterator[None]:
    """What this thread makes or opens meanwhile is, and is open to, the user of an instance's folder.

    Nothing changes where that is nobody else than we are, or we are not root. Never across an `await`: it is the
    thread's, and the thread is the event loop's.
    """
    owner = folder.stat(follow_symlinks=False).st_uid
    if os.geteuid() != 0 or owner == 0:
        yield
        return
    _libc.setfsgid(owner)
    _libc.setfsuid(owner)
    try:
        # gone with the user, but the way to the folder leads through ours
        _raise_capability(_MAY_SEARCH)
        yield
    finally:
        _libc.setfsuid(0)
        _libc.setfsgid(0)


def _group(user: int) -> int:
    """A user's own group: an instance's has its number, and who is not root has but the one that it is in."""
    return os.getegid() if user == os.geteuid() else user


def _own_top(here: int, user: int) -> None:
    """What we ourselves may have made: the folders, and what lies beside the databases."""
    for name in FOLDERS:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError), opened_folder(name, here) as inner:
            if os.fstat(inner).st_uid != user:
                _own_all(inner, user, 2, {})
                os.fchown(inner, user, _group(user))
            elif name == "pb_data":
                _own_entries(inner, user)


def _own_entries(here: int, user: int) -> None:
    for entry in os.scandir(here):
        known = entry.stat(follow_symlinks=False)
        if known.st_uid != user and (stat.S_ISDIR(known.st_mode) or known.st_nlink == 1):
            os.chown(entry.name, user, _group(user), dir_fd=here, follow_symlinks=False)


def _own_all(here: int, user: int, level: int, names: dict[tuple[int, int], list[int]]) -> None:
    """Folders after what is in them; `names` takes those that have several."""
    with os.scandir(here) as entries:
        for entry in entries:
            known = entry.stat(follow_symlinks=False)
            if stat.S_ISDIR(known.st_mode):
                if level < _DEEPEST:
                    with opened_folder(entry.name, here) as inner:
                        _own_all(inner, user, level + 1, names)
                        os.fchown(inner, user, _group(user))
            elif known.st_nlink > 1:
                names.setdefault((known.st_dev, known.st_ino), []).append(known.st_nlink)
            elif known.st_uid != user:
                os.chown(entry.name, user, _group(user), dir_fd=here, follow_symlinks=False)


def _own_several(folder: Path, user: int, names: dict[tuple[int, int], list[int]]) -> None:
    """Those all of whose names are in here."""
    inside = {key for key, found in names.items() if len(found) >= found[0]}
    for key in names.keys() - inside:
        _log.warning("a file with another name outside stays its owner's: inode %d", key[1])
    if not inside:
        return
    for top, _, files in os.walk(folder):
        for name in files:
            path = Path(top) / name
            with contextlib.suppress(FileNotFoundError):
                known = path.lstat()
                if (known.st_dev, known.st_ino) in inside:
                    os.chown(path, user, _group(user), follow_symlinks=False)


def _raise_capability(which: int) -> None:
    """In this thread; it was permitted and is effective again."""

    class Header(ctypes.Structure):
        _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))

    class Data(ctypes.Structure):
        _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))

    header, data = Header(_CAPABILITIES_3, 0), (Data * 2)()
    if _libc.capget(ctypes.byref(header), ctypes.byref(data)) == 0:
        data[0].effective |= which & data[0].permitted
        _libc.capset(ctypes.byref(header), ctypes.byref(data))
