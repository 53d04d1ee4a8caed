"""Reaching what lies in a tenant's folder: below an open folder, along no link of any kind, whatever is renamed then.

The kernel keeps the way inside (openat2, Linux 5.6); where that call is not known, or forbidden, every step is opened
by itself without following links. Nothing here waits: a FIFO without a writer opens at once, and is refused.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from io import BufferedReader
from pathlib import Path, PurePosixPath

from pocketfleet.runtime.disk import opened_folder

#: Folders within folders that are looked into: PocketBase makes three levels, and each takes a descriptor.
DEEPEST = 100
_OPENAT2 = 437  # on every architecture
#: RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS | RESOLVE_BENEATH, openat2(2)
_RESOLVE = 0x02 | 0x04 | 0x08
_ALWAYS = os.O_CLOEXEC | os.O_NOFOLLOW
#: Beside O_PATH, which opens nothing, openat2 refuses them.
_NEVER_WAIT = os.O_NONBLOCK | os.O_NOCTTY
#: What a name may have become by the time it is opened.
_LOST = {errno.ENOENT, errno.ELOOP, errno.ENOTDIR, errno.EACCES, errno.ENXIO, errno.EXDEV}
_libc = ctypes.CDLL(None, use_errno=True)


class _How(ctypes.Structure):
    """`struct open_how`."""

    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


@dataclass(frozen=True, slots=True)
class Entry:
    """A name that a walk has come to. `folder` is the open folder that it lies in, as long as the walk stands there."""

    path: PurePosixPath
    known: os.stat_result = field(repr=False)
    folder: int = field(repr=False)

    @property
    def is_file(self) -> bool:
        """A plain one, no link and nothing special."""
        return stat.S_ISREG(self.known.st_mode)

    @property
    def is_single(self) -> bool:
        """A file that has no other name anywhere."""
        return self.is_file and self.known.st_nlink == 1

    @property
    def identity(self) -> tuple[int, int]:
        """The same of all names of a file."""
        return self.known.st_dev, self.known.st_ino

    @property
    def is_link(self) -> bool:
        """A symbolic one."""
        return stat.S_ISLNK(self.known.st_mode)

    def open(self) -> BufferedReader:
        """Its content, if it is still the file that was looked at. Raises OSError."""
        return _file(open_beneath(self.folder, self.path.name, os.O_RDONLY), self.path, self.known)

    def target(self) -> str:
        """Where a link leads. Raises OSError."""
        return os.readlink(self.path.name, dir_fd=self.folder)


def open_beneath(folder: int, path: str | PurePosixPath, flags: int, mode: int = 0) -> int:
    """A descriptor of what lies at `path`, relative to an open folder; never waits for anybody.

    Raises OSError: ELOOP for a link anywhere on the way, EXDEV for a way out.
    """
    flags |= _ALWAYS if flags & os.O_PATH else _ALWAYS | _NEVER_WAIT
    if _knows_openat2():
        return _openat2(folder, os.fsencode(str(path)), flags, mode)
    return _step_by_step(folder, PurePosixPath(path), flags, mode)


def stat_beneath(folder: int, path: str | PurePosixPath) -> os.stat_result:
    """What lies there, itself and not what it may lead to. Raises OSError."""
    descriptor = open_beneath(folder, path, os.O_PATH)
    try:
        return os.fstat(descriptor)
    finally:
        os.close(descriptor)


def open_file(folder: int, path: str | PurePosixPath) -> BufferedReader:
    """The content of a plain file with one name. Raises OSError where it is none."""
    known = stat_beneath(folder, path)
    if not stat.S_ISREG(known.st_mode) or known.st_nlink != 1:
        raise OSError(errno.ELOOP, "no plain file with one name", str(path))
    return _file(open_beneath(folder, path, os.O_RDONLY), PurePosixPath(path), known)


@contextmanager
def folder_beneath(folder: int, path: str | PurePosixPath) -> Iterator[int]:
    """A descriptor of a folder. Raises OSError where it is none, or a link to one."""
    descriptor = open_beneath(folder, path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def exists(folder: Path, path: str | PurePosixPath) -> bool:
    """Whether something lies there, along no link; what is closed to us does not."""
    with suppress(OSError), opened_folder(folder) as opened:
        stat_beneath(opened, path)
        return True
    return False


def _everything(path: PurePosixPath) -> bool:
    return True


def walk(folder: int, into: Callable[[PurePosixPath], bool] = _everything) -> Iterator[Entry]:
    """All names below an open folder but those of folders, each along its own open folder; by name, depth first.

    What goes away, or becomes something else, meanwhile is passed over. `into`: which folders are looked into.
    """
    yield from _walk(folder, PurePosixPath(), into)


def walk_below(folder: Path, name: str, into: Callable[[PurePosixPath], bool] = _everything) -> Iterator[Entry]:
    """The same of the folder `name` in a folder of ours; nothing where there is none, or a link."""
    with ExitStack() as opened:
        try:
            inner = opened.enter_context(folder_beneath(opened.enter_context(opened_folder(folder)), name))
        except OSError as error:
            if error.errno not in _LOST:
                raise
            return
        yield from walk(inner, into)


def _walk(here: int, path: PurePosixPath, into: Callable[[PurePosixPath], bool]) -> Iterator[Entry]:
    for name in sorted(os.listdir(here)):
        try:
            known = os.stat(name, dir_fd=here, follow_symlinks=False)
        except FileNotFoundError:
            continue
        below = path / name
        if not stat.S_ISDIR(known.st_mode):
            yield Entry(below, known, here)
        elif len(below.parts) <= DEEPEST and into(below):
            yield from _walk_inner(here, below, into)


def _walk_inner(here: int, path: PurePosixPath, into: Callable[[PurePosixPath], bool]) -> Iterator[Entry]:
    try:
        inner = open_beneath(here, path.name, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        if error.errno not in _LOST:
            raise
        return
    try:
        yield from _walk(inner, path, into)
    finally:
        os.close(inner)


def _file(descriptor: int, path: PurePosixPath, known: os.stat_result) -> BufferedReader:
    """The open file, if it is what was looked at."""
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or not os.path.samestat(found, known):
            raise OSError(errno.ELOOP, "replaced meanwhile", str(path))
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def _openat2(folder: int, path: bytes, flags: int, mode: int) -> int:
    how = _How(flags, mode, _RESOLVE)
    while True:
        found = _libc.syscall(_OPENAT2, folder, path, ctypes.byref(how), ctypes.sizeof(how))
        if found >= 0:
            return int(found)
        number = ctypes.get_errno()
        if number not in (errno.EAGAIN, errno.EINTR):  # something was renamed right then
            raise OSError(number, os.strerror(number), os.fsdecode(path))


@cache
def _knows_openat2() -> bool:
    """Old kernels say ENOSYS, and some containers that they forbid it."""
    try:
        os.close(_openat2(-100, b".", os.O_PATH | os.O_CLOEXEC, 0))  # AT_FDCWD
    except OSError:
        return False
    return True


def _step_by_step(folder: int, path: PurePosixPath, flags: int, mode: int) -> int:
    if path.is_absolute() or ".." in path.parts:
        raise OSError(errno.EXDEV, "a way out", str(path))
    here = os.dup(folder)
    try:
        for name in path.parts[:-1]:
            inner = os.open(name, os.O_PATH | os.O_DIRECTORY | _ALWAYS, dir_fd=here)
            os.close(here)
            here = inner
        return os.open(path.name or ".", flags, mode, dir_fd=here)
    finally:
        os.close(here)
