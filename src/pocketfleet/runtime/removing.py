"""Removing a folder that a tenant filled: however deep it is, whatever lies in it, and nothing that it leads to.

The standard library's way takes a descriptor and a call within a call for every level, and gives up at some thousand.
Here folders are moved up beside each other first, so that there is one level alone.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from pathlib import Path

from pocketfleet.runtime.projects import let_in

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
#: What unlinking a folder says, here and elsewhere.
_IS_FOLDER = {errno.EISDIR, errno.EPERM}


def remove_tree(folder: Path) -> None:
    """Gone, or was never there. A link in its place, or in it, is removed and not followed. Raises OSError."""
    with suppress(FileNotFoundError):
        parent = os.open(folder.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            remove_below(parent, folder.name)
        finally:
            os.close(parent)


def remove_quietly(folder: Path) -> None:
    """The same of what is in nobody's way: what cannot be removed stays."""
    with suppress(OSError):
        remove_tree(folder)


def remove_below(parent: int, name: str) -> None:
    """The same of a name in an open folder. Raises OSError."""
    if _unlinked(parent, name):
        return
    top = _opened(parent, name)
    try:
        _flatten(top)
    finally:
        os.close(top)
    os.rmdir(name, dir_fd=parent)


def _flatten(top: int) -> None:
    """Nothing is left in it: files go, and what a folder holds is moved up before the folder goes."""
    fresh = _Names(top)
    while folders := [name for name in os.listdir(top) if not _unlinked(top, name)]:
        for name in folders:
            inner = _opened(top, name)
            try:
                for each in os.listdir(inner):  # noqa: PTH208 - an open folder
                    if not _unlinked(inner, each):
                        _move_up(inner, each, top, fresh.next())
            finally:
                os.close(inner)
            os.rmdir(name, dir_fd=top)


class _Names:
    """Names that are not there yet; a tenant may have thought of ours."""

    def __init__(self, folder: int) -> None:
        self._folder = folder
        self._number = 0

    def next(self) -> str:
        while True:
            self._number += 1
            name = f".up-{self._number}"
            try:
                os.stat(name, dir_fd=self._folder, follow_symlinks=False)
            except FileNotFoundError:
                return name


def _unlinked(folder: int, name: str) -> bool:
    """Whether it is gone now; not if it is a folder."""
    try:
        os.unlink(name, dir_fd=folder)
    except FileNotFoundError:
        return True
    except OSError as error:
        known = os.stat(name, dir_fd=folder, follow_symlinks=False)
        if error.errno in _IS_FOLDER and stat.S_ISDIR(known.st_mode):
            return False
        raise
    return True


def _move_up(inner: int, name: str, top: int, fresh: str) -> None:
    def move() -> None:
        os.rename(name, fresh, src_dir_fd=inner, dst_dir_fd=top)

    try:
        let_in(top, move)
    except PermissionError:
        _unlock(inner, name)
        let_in(top, move)


def _opened(parent: int, name: str) -> int:
    """A folder, even one that its owner closed to everybody."""
    try:
        opened = os.open(name, _FOLDER, dir_fd=parent)
    except PermissionError:
        _unlock(parent, name)
        return os.open(name, _FOLDER, dir_fd=parent)
    if os.geteuid() != 0 and os.fstat(opened).st_mode & 0o700 != 0o700:
        os.fchmod(opened, 0o700)
    return opened


def _unlock(parent: int, name: str) -> None:
    """Its own mode, and never that of what a link leads to."""
    found = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    try:
        os.chmod(f"/proc/self/fd/{found}", 0o700)  # noqa: PTH101 - an open folder
    finally:
        os.close(found)
