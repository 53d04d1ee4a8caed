"""One file copied from one open folder to another, and what goes with that: links, modes, owners, times, room."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from pocketfleet.errors import DiskTrouble
from pocketfleet.runtime.disk import UNSUPPORTED, clone_file
from pocketfleet.runtime.errands import Errand
from pocketfleet.runtime.removing import remove_below

#: Bytes that a copy leaves free: whoever shares the disk must still be able to write.
RESERVE = 50_000_000
_CHUNK = 8 << 20
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_WRITE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def keep_reserve(folder: Path) -> None:
    """Raises DiskTrouble where the disk gets so full that others might not be able to write."""
    _keep_reserve(os.statvfs(folder))


def alike(copy: os.stat_result, known: os.stat_result) -> bool:
    """Whether a copy is what a copy of this file would be now, as far as can be told without reading."""
    if (copy.st_size, copy.st_mtime_ns) != (known.st_size, known.st_mtime_ns) or not stat.S_ISREG(copy.st_mode):
        return False
    if copy.st_mode & 0o777 != known.st_mode & 0o777 | 0o600:
        return False
    return os.geteuid() != 0 or (copy.st_uid, copy.st_gid) == (known.st_uid, known.st_gid)


def write_copy(here: int, there: int, name: str, new_name: str, known: os.stat_result, errand: Errand) -> int:
    """Copy what was looked at, and nothing that took its place; its bytes."""
    source = os.open(name, _READ, dir_fd=here)
    try:
        opened = os.fstat(source)
        if not os.path.samestat(opened, known) or not stat.S_ISREG(opened.st_mode):
            raise OSError(errno.ELOOP, "replaced meanwhile", name)
        target = os.open(new_name, _WRITE, 0o600, dir_fd=there)
        try:
            if not clone_file(source, target):
                _copy_content(source, target, opened.st_size, errand)
            dress(target, opened, 0o600)
        finally:
            os.close(target)
    finally:
        os.close(source)
    return opened.st_size


def copy_within(folder: int, name: str, errand: Errand) -> None:
    """A file in an open folder of ours gets a content of its own, by rename. Raises DiskTrouble, OSError."""
    fresh = f".own-{name}"[:200]
    known = os.stat(name, dir_fd=folder, follow_symlinks=False)
    try:
        make_way(fresh, folder)
        write_copy(folder, folder, name, fresh, known, errand)
        os.rename(fresh, name, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:
        make_way(fresh, folder)
        raise


def link_again(name: str, before: int, there: int, known: os.stat_result) -> bool:
    """Give the base's unchanged file a second name; whether that went."""
    earlier = stat_of(name, before)
    if earlier is None or not alike(earlier, known):
        return False
    with suppress(OSError):  # too many names, or a file system without
        os.link(name, name, src_dir_fd=before, dst_dir_fd=there, follow_symlinks=False)
        return True
    return False


def make_way(name: str, folder: int) -> None:
    """Take away what an earlier pass left in the copy under this name."""
    present = stat_of(name, folder)
    if present is not None and stat.S_ISDIR(present.st_mode):
        remove_below(folder, name)
    elif present is not None:
        os.unlink(name, dir_fd=folder)


def stat_of(name: str, folder: int) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None


def dress(target: int, known: os.stat_result, least: int) -> None:
    """Mode without set-user-id and the like, owner where we may set it, times."""
    if os.geteuid() == 0:
        os.fchown(target, known.st_uid, known.st_gid)
    os.fchmod(target, known.st_mode & 0o777 | least)
    os.utime(target, ns=(known.st_atime_ns, known.st_mtime_ns))


def _copy_content(source: int, target: int, size: int, errand: Errand) -> None:
    """As many bytes as the file had when it was opened; one that grows on and on ends all the same."""
    for start, end in _extents(source, size):
        os.lseek(source, start, os.SEEK_SET)
        os.lseek(target, start, os.SEEK_SET)
        while start < end:
            errand.check()
            _keep_reserve(os.fstatvfs(target))
            count = _copy_chunk(source, target, min(end - start, _CHUNK))
            if count == 0:
                return  # cut shorter meanwhile
            start += count
    os.ftruncate(target, size)


def _copy_chunk(source: int, target: int, count: int) -> int:
    try:
        return os.copy_file_range(source, target, count)
    except OSError as error:
        if error.errno not in (*UNSUPPORTED, errno.EXDEV):
            raise
    data = os.read(source, min(count, 1 << 20))
    return os.write(target, data) if data else 0


def _extents(source: int, size: int) -> Iterator[tuple[int, int]]:
    """Where a file has data; a sparse one of a terabyte must not become one of a terabyte."""
    at = 0
    while at < size:
        try:
            at = os.lseek(source, at, os.SEEK_DATA)
            end = os.lseek(source, at, os.SEEK_HOLE)
        except OSError as error:
            if error.errno == errno.ENXIO:
                return
            end = size
        yield at, min(end, size)
        at = end


def _keep_reserve(space: os.statvfs_result) -> None:
    free = space.f_bavail * space.f_frsize
    if free < RESERVE:
        raise DiskTrouble(
            f"The disk is nearly full: {free / 1e6:.0f} MB are free, and {RESERVE / 1e6:.0f} MB are left to others."
            " Make room on it.",
            free=free,
        )
