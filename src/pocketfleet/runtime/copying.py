"""Copying a tenant's folder, whatever the tenant put there: no link is followed, nothing special is opened.

Every name is opened below its own open folder without following links, so that a rename in between leads nowhere
else. What cannot be taken is left out with a word.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from pocketfleet.errors import DiskTrouble
from pocketfleet.runtime.disk import UNSUPPORTED, clone_file, opened_folder
from pocketfleet.runtime.errands import Errand

#: Bytes that a copy leaves free: whoever shares the disk must still be able to write.
RESERVE = 50_000_000
_DEEPEST = 100
_CHUNK = 8 << 20
#: Words about what was left out that are kept; a hostile folder could bring millions.
_MOST_WORDS = 200
#: What a tenant may do to a name while it is copied, and the word that it gets.
_LOSSES = {
    errno.EACCES: "may not be read",
    errno.ELOOP: "changed into something else while it was copied",
    errno.ENOTDIR: "changed into something else while it was copied",
    errno.ENXIO: "changed into something else while it was copied",
    errno.ENAMETOOLONG: "its path is too long",
}
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_WRITE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC

#: Whether a path below the folder, `pb_data/backups`, is passed over without a word.
Skip = Callable[[str], bool]


def _nothing(path: str) -> bool:
    return False


@dataclass(slots=True)
class Copied:
    """What a copy holds: files, their bytes, how many of them are shared with the base, and what is missing."""

    files: int = 0
    bytes: int = 0
    linked: int = 0
    left_out: list[str] = field(default_factory=list)

    def leave_out(self, path: str, why: str) -> None:
        """A word about something that was not taken."""
        if len(self.left_out) < _MOST_WORDS:
            self.left_out.append(f"{plain(path)}: {why}")
        elif len(self.left_out) == _MOST_WORDS:
            self.left_out.append("and more")


def plain(text: str) -> str:
    """A file's name for people and for JSON: bytes that are no text are replaced, control characters too."""
    readable = os.fsencode(text).decode("utf-8", "replace")
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in readable)


def copy_tree(
    source: Path,
    target: Path,
    errand: Errand,
    *,
    skip: Skip = _nothing,
    base: Path | None = None,
    linkable: Skip = _nothing,
    ours: bool = False,
) -> Copied:
    """Copy a folder to `target`, made where missing; its own parents and `target`'s must be out of a tenant's reach.

    Reflinks where the file system can, else copies, with modes, times, and owners where we may set them; holes stay
    holes. What is in `target` already with the same size and time stays; else it is replaced, never written in place.
    `base`: an earlier copy nobody writes to; files of it that are `linkable` and unchanged get a second name.
    `ours`: no tenant's but a snapshot, whose files may have names in other snapshots.
    Not flushed. Raises DiskTrouble where the disk gets full, OSError.
    """
    copy = _TreeCopy(errand, skip, linkable, ours)
    with ExitStack() as opened:
        here = opened.enter_context(opened_folder(source))
        target.mkdir(mode=0o700, exist_ok=True)
        there = opened.enter_context(opened_folder(target))
        before = _open_if_there(opened, base, None) if base else None
        copy.folder(here, there, before, PurePosixPath())
        _dress(there, os.fstat(here), 0o700)
    return copy.done


def measure(folder: Path, skip: Skip = _nothing) -> Copied:
    """Files below a folder and their bytes, holes counted. Raises OSError."""
    found = Copied()
    with opened_folder(folder) as here:
        _measure(here, PurePosixPath(), skip, found)
    return found


def copy_file(source: Path, target: Path, errand: Errand) -> int:
    """Copy one plain file with one name; its bytes. Raises DiskTrouble where it is a link, or special; OSError."""
    with opened_folder(source.parent) as here, opened_folder(target.parent) as there:
        known = os.stat(source.name, dir_fd=here, follow_symlinks=False)
        if not stat.S_ISREG(known.st_mode) or known.st_nlink != 1:
            raise DiskTrouble(f"{source} is not a plain file; put the file itself there.", path=str(source))
        return _write_copy(here, there, source.name, target.name, known, errand)


@dataclass(slots=True)
class _Names:
    """A file with several names: those found so far. All of them: it is the tenant's alone."""

    links: int
    found: list[PurePosixPath] = field(default_factory=list)


class _TreeCopy:
    def __init__(self, errand: Errand, skip: Skip, linkable: Skip, ours: bool) -> None:
        self.done = Copied()
        self._errand = errand
        self._skip = skip
        self._linkable = linkable
        self._ours = ours
        self._several: dict[tuple[int, int], _Names] = {}

    def folder(self, here: int, there: int, before: int | None, path: PurePosixPath) -> None:
        """All of an open folder; at the top also the files with several names, once all is known."""
        for name in sorted(os.listdir(here)):
            below = path / name
            if self._skip(str(below)):
                continue
            self._errand.check()
            with self._losses(below):
                self._entry(here, there, before, name, below)
        if path == PurePosixPath():
            self._finish_several(here, there)

    @contextmanager
    def _losses(self, path: PurePosixPath) -> Iterator[None]:
        """What went away meanwhile is no error; what became something else, or is closed to us, gets a word."""
        try:
            yield
        except FileNotFoundError:
            pass
        except OSError as error:
            if error.errno not in _LOSSES:
                raise
            self.done.leave_out(str(path), _LOSSES[error.errno])

    def _entry(self, here: int, there: int, before: int | None, name: str, path: PurePosixPath) -> None:
        known = os.stat(name, dir_fd=here, follow_symlinks=False)
        if stat.S_ISDIR(known.st_mode):
            self._subfolder(here, there, before, name, path, known)
        elif stat.S_ISREG(known.st_mode) and (self._ours or known.st_nlink == 1):
            self._file(here, there, before, name, path, known)
        elif stat.S_ISREG(known.st_mode):
            names = self._several.setdefault((known.st_dev, known.st_ino), _Names(known.st_nlink))
            names.found.append(path)
        elif stat.S_ISLNK(known.st_mode):
            self._link(here, there, name, path)
        else:
            self.done.leave_out(str(path), "not a file but something special")

    def _subfolder(
        self, here: int, there: int, before: int | None, name: str, path: PurePosixPath, known: os.stat_result
    ) -> None:
        if len(path.parts) > _DEEPEST:
            self.done.leave_out(str(path), f"more than {_DEEPEST} folders deep")
            return
        with ExitStack() as opened:
            inner = opened.enter_context(opened_folder(name, here))
            present = _stat(name, there)
            if present is None or not stat.S_ISDIR(present.st_mode):
                _make_way(name, there)
                os.mkdir(name, 0o700, dir_fd=there)
            written = opened.enter_context(opened_folder(name, there))
            earlier = _open_if_there(opened, name, before) if before is not None else None
            self.folder(inner, written, earlier, path)
            _dress(written, known, 0o700)

    def _link(self, here: int, there: int, name: str, path: PurePosixPath) -> None:
        """A link that stays inside is copied as the link it is; nothing here ever follows one."""
        target = _read_link(name, here)
        if not stays_inside(path, target):
            self.done.leave_out(str(path), "a symbolic link that leads outside")
            return
        _make_way(name, there)
        os.symlink(target, name, dir_fd=there)

    def _file(
        self, here: int, there: int, before: int | None, name: str, path: PurePosixPath, known: os.stat_result
    ) -> None:
        present = _stat(name, there)
        if present is None or not _same(present, known):
            _make_way(name, there)
            if before is not None and self._linkable(str(path)) and _linked(name, before, there, known):
                self.done.linked += 1
            else:
                self._copied(here, there, name, path, known)
                return
        self._counted(known.st_size)

    def _copied(self, here: int, there: int, name: str, path: PurePosixPath, known: os.stat_result) -> None:
        self._counted(_write_copy(here, there, name, name, known, self._errand))

    def _counted(self, size: int) -> None:
        self.done.files += 1
        self.done.bytes += size
        if self.done.files % 500 == 0:
            self._errand.say(None, f"{self.done.files} files, {self.done.bytes / 1e6:.0f} MB")

    def _finish_several(self, here: int, there: int) -> None:
        for names in self._several.values():
            for path in names.found:
                if len(names.found) < names.links:
                    self.done.leave_out(str(path), "a file that has another name outside")
                    continue
                with self._losses(path), ExitStack() as opened:
                    inner, written = _parent(opened, here, path), _parent(opened, there, path)
                    known = os.stat(path.name, dir_fd=inner, follow_symlinks=False)
                    self._file(inner, written, None, path.name, path, known)


def keep_reserve(folder: Path) -> None:
    """Raises DiskTrouble where the disk gets so full that others might not be able to write."""
    _keep_reserve(os.statvfs(folder))


def _measure(here: int, path: PurePosixPath, skip: Skip, found: Copied) -> None:
    for name in os.listdir(here):
        known = None if skip(str(path / name)) else _stat(name, here)
        if known is not None and stat.S_ISDIR(known.st_mode) and len(path.parts) < _DEEPEST:
            with ExitStack() as opened:
                inner = _open_if_there(opened, name, here)
                if inner is not None:
                    _measure(inner, path / name, skip, found)
        elif known is not None and stat.S_ISREG(known.st_mode):
            found.files += 1
            found.bytes += known.st_size


def stays_inside(path: PurePosixPath, target: str) -> bool:
    """Whether a link at `path`, relative to a folder, leads to a place in that folder.

    `..` only at the beginning, where it means real folders: after a name it could start from behind another link.
    """
    parts = target.split("/")
    ups = 0
    while ups < len(parts) and parts[ups] == "..":
        ups += 1
    return not target.startswith("/") and ups <= len(path.parts) - 1 and ".." not in parts[ups:]


def _parent(opened: ExitStack, folder: int, path: PurePosixPath) -> int:
    """The open folder that `path` lies in; every step on the way is a folder and no link."""
    for name in path.parts[:-1]:
        folder = opened.enter_context(opened_folder(name, folder))
    return folder


def _open_if_there(opened: ExitStack, name: str | Path, parent: int | None) -> int | None:
    try:
        return opened.enter_context(opened_folder(name, parent))
    except (FileNotFoundError, NotADirectoryError):
        return None


def _same(one: os.stat_result, other: os.stat_result) -> bool:
    return (one.st_size, one.st_mtime_ns, stat.S_IFMT(one.st_mode)) == (
        other.st_size,
        other.st_mtime_ns,
        stat.S_IFMT(other.st_mode),
    )


def _stat(name: str, folder: int) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _read_link(name: str, folder: int) -> str:
    try:
        return os.readlink(name, dir_fd=folder)
    except OSError as error:
        if error.errno == errno.EINVAL:
            raise OSError(errno.ELOOP, "no link any more", name) from error
        raise


def _make_way(name: str, folder: int) -> None:
    """Take away what an earlier pass left in the copy under this name."""
    present = _stat(name, folder)
    if present is not None and stat.S_ISDIR(present.st_mode):
        shutil.rmtree(name, dir_fd=folder)
    elif present is not None:
        os.unlink(name, dir_fd=folder)


def _linked(name: str, before: int, there: int, known: os.stat_result) -> bool:
    """Give the base's unchanged file a second name; whether that went."""
    earlier = _stat(name, before)
    if earlier is None or not _same(earlier, known) or earlier.st_mode & 0o777 != known.st_mode & 0o777 | 0o600:
        return False
    if os.geteuid() == 0 and (earlier.st_uid, earlier.st_gid) != (known.st_uid, known.st_gid):
        return False
    with suppress(OSError):  # too many names, or a file system without
        os.link(name, name, src_dir_fd=before, dst_dir_fd=there, follow_symlinks=False)
        return True
    return False


def _write_copy(here: int, there: int, name: str, new_name: str, known: os.stat_result, errand: Errand) -> int:
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
            _dress(target, opened, 0o600)
        finally:
            os.close(target)
    finally:
        os.close(source)
    return opened.st_size


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


def _dress(target: int, known: os.stat_result, least: int) -> None:
    """Mode without set-user-id and the like, owner where we may set it, times."""
    if os.geteuid() == 0:
        os.fchown(target, known.st_uid, known.st_gid)
    os.fchmod(target, known.st_mode & 0o777 | least)
    os.utime(target, ns=(known.st_atime_ns, known.st_mtime_ns))
