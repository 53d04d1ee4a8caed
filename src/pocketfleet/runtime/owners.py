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
from dataclasses import dataclass
from pathlib import Path

from pocketfleet.runtime.disk import opened_folder
from pocketfleet.runtime.guest import FOLDERS
from pocketfleet.runtime.projects import mark, mark_file, project_of

_log = logging.getLogger(__name__)

_libc = ctypes.CDLL(None, use_errno=True)
#: linux/capability.h: the third form of the call, and the right to pass through folders that are others'.
_CAPABILITIES_3 = 0x20080522
_MAY_SEARCH = 1 << 2
#: Folders within folders beyond which nothing is owned; copies end there, too.
_DEEPEST = 100


def own(folder: Path, user: int, *, project: int = 0, whole: bool = False) -> None:
    """Every file below is this user's afterwards. Some dozen microseconds where it was. The caller holds its lock.

    `project`: the one that they are all counted by, too (projects.py); 0 for whichever they are. `whole`: each is
    looked at, whatever the mark says.

    Links are not followed, and counted by no project. A file that has another name outside of the folder stays whose
    it is: its tenant may have linked somebody else's there while nothing held it. Raises OSError.
    """
    to = _Owner(user, project)
    with opened_folder(folder) as here:
        if to.has(here) and not whole:
            _own_top(here, to)
            return
        _log.debug("giving its files to user %d", user, extra={"instance": folder.name})
        names: dict[tuple[int, int], list[int]] = {}
        _own_all(here, to, 1, names)
        _own_several(folder, to, names)
        to.take_folder(here)


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


@dataclass(frozen=True, slots=True)
class _Owner:
    """Whose files are to be, and by which project they are to be counted; 0 for whichever they are."""

    user: int
    project: int

    def has(self, folder: int) -> bool:
        """Whether an open folder says so; where it does, so do those within."""
        return os.fstat(folder).st_uid == self.user and (not self.project or project_of(folder) == self.project)

    def take_folder(self, folder: int) -> None:
        """An open one; the owner last, who is the mark of all that is in it."""
        if self.project:
            mark(folder, self.project)
        os.fchown(folder, self.user, _group(self.user))

    def take(self, folder: int, name: str, known: os.stat_result) -> None:
        """A file, or what else has a name in an open folder."""
        if known.st_uid != self.user:
            os.chown(name, self.user, _group(self.user), dir_fd=folder, follow_symlinks=False)
        if self.project and stat.S_ISREG(known.st_mode):
            mark_file(folder, name, self.project)


def _own_top(here: int, to: _Owner) -> None:
    """What we ourselves may have made: the folders, and what lies beside the databases."""
    for name in FOLDERS:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError), opened_folder(name, here) as inner:
            if not to.has(inner):
                _own_all(inner, to, 2, {})
                to.take_folder(inner)
            elif name == "pb_data":
                _own_entries(inner, to)


def _own_entries(here: int, to: _Owner) -> None:
    for entry in os.scandir(here):
        known = entry.stat(follow_symlinks=False)
        if known.st_uid != to.user and (stat.S_ISDIR(known.st_mode) or known.st_nlink == 1):
            os.chown(entry.name, to.user, _group(to.user), dir_fd=here, follow_symlinks=False)


def _own_all(here: int, to: _Owner, level: int, names: dict[tuple[int, int], list[int]]) -> None:
    """Folders after what is in them; `names` takes those that have several."""
    with os.scandir(here) as entries:
        for entry in entries:
            known = entry.stat(follow_symlinks=False)
            if stat.S_ISDIR(known.st_mode):
                if level < _DEEPEST:
                    with opened_folder(entry.name, here) as inner:
                        _own_all(inner, to, level + 1, names)
                        to.take_folder(inner)
            elif known.st_nlink > 1:
                names.setdefault((known.st_dev, known.st_ino), []).append(known.st_nlink)
            else:
                to.take(here, entry.name, known)


def _own_several(folder: Path, to: _Owner, names: dict[tuple[int, int], list[int]]) -> None:
    """Those all of whose names are in here."""
    inside = {key for key, found in names.items() if len(found) >= found[0]}
    for key in names.keys() - inside:
        _log.warning("a file with another name outside stays its owner's: inode %d", key[1])
    if not inside:
        return
    for _, _, files, here in os.fwalk(folder):
        for name in files:
            with contextlib.suppress(FileNotFoundError):
                known = os.stat(name, dir_fd=here, follow_symlinks=False)
                if (known.st_dev, known.st_ino) in inside:
                    to.take(here, name, known)


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
