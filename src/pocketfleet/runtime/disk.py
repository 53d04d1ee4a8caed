"""What Python does not offer of Linux's file calls, and flushing: exchange by rename, reflinks, syncfs."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pocketfleet.errors import DiskTrouble
from pocketfleet.runtime.removing import remove_tree as remove_tree

_libc = ctypes.CDLL(None, use_errno=True)
_AT_FDCWD = -100
_RENAME_NOREPLACE = 1
_RENAME_EXCHANGE = 2
_FICLONE = 0x40049409
#: A file system or kernel that does not know the call.
UNSUPPORTED = {errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTTY, errno.EPERM}


def exchange(one: Path, other: Path) -> None:
    """Both exist, and swap names at one instant. Raises OSError, one of UNSUPPORTED where that is not known."""
    _rename(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE)


def exchange_in(one_folder: int, other_folder: int, name: str) -> None:
    """As `exchange`, of one name in two open folders."""
    raw = os.fsencode(name)
    _rename(one_folder, raw, other_folder, raw, _RENAME_EXCHANGE)


def rename_new(source_folder: int, target_folder: int, name: str) -> None:
    """Move a name between open folders unless it is there already. Raises FileExistsError, OSError."""
    raw = os.fsencode(name)
    try:
        _rename(source_folder, raw, target_folder, raw, _RENAME_NOREPLACE)
    except OSError as error:
        if error.errno not in UNSUPPORTED:
            raise
        with suppress(FileNotFoundError):
            os.stat(name, dir_fd=target_folder, follow_symlinks=False)
            raise FileExistsError(errno.EEXIST, "exists", name) from None
        os.rename(name, name, src_dir_fd=source_folder, dst_dir_fd=target_folder)


def clone_file(source: int, target: int) -> bool:
    """Share all blocks of an open file with another one, copy on write; whether the file system can."""
    try:
        fcntl.ioctl(target, _FICLONE, source)
    except OSError:
        return False
    return True


def flush_all(folder: Path) -> None:
    """Everything written to this file system is on the disk: one call instead of one per file. Raises OSError."""
    with opened_folder(folder) as descriptor:
        if _libc.syncfs(descriptor) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(folder))


def flush(path: Path) -> None:
    """One file's or folder's own content is on the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def opened_folder(path: str | Path, parent: int | None = None) -> Iterator[int]:
    """A descriptor of a folder that is one: its last name is no symlink."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def disk_trouble(what: str) -> Iterator[None]:
    """Turn the disk's refusals into DiskTrouble: `what` begins the sentence, "The snapshot could not be made"."""
    try:
        yield
    except OSError as error:
        raise DiskTrouble(f"{what}: {error.strerror or error}. Check that disk.") from error


def _rename(one_folder: int, one: bytes, other_folder: int, other: bytes, flags: int) -> None:
    call = getattr(_libc, "renameat2", None)
    if call is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS), os.fsdecode(one))
    if call(one_folder, one, other_folder, other, ctypes.c_uint(flags)) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), os.fsdecode(one), None, os.fsdecode(other))
