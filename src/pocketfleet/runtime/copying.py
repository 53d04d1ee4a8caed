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
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from pocketfleet.errors import DiskTrouble
from pocketfleet.runtime.disk import UNSUPPORTED, clone_file, opened_folder
from pocketfleet.runtime.errands import Errand
from pocketfleet.runtime.ledgers import Ledger, Page, read_page

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
    exact: bool = False,
    notes: Ledger | None = None,
    since: Ledger | None = None,
) -> Copied:
    """Copy a folder to `target`, made where missing; its own parents and `target`'s must be out of a tenant's reach.

    Reflinks where the file system can, else copies, with modes, times, and owners where we may set them; holes stay
    holes. What is in `target` already with the same size, time, mode and owner stays; else it is replaced, never
    written in place.
    `base`: an earlier copy nobody writes to; files of it that are `linkable` and unchanged get a second name.
    `ours`: no tenant's but a snapshot, whose files may have names in other snapshots.
    `exact`: what is in `target` and not in `source` goes, unless `skip` names it.
    `notes`: gets a page for each folder. `since`: the notes of the pass that made `target`: what is as it was then is
    not looked at there, and everything else is copied anew, whatever its times say.
    Not flushed. Raises DiskTrouble where the disk gets full, OSError.
    """
    copy = _TreeCopy(errand, skip, linkable, ours=ours, exact=exact, notes=notes, since=since)
    with ExitStack() as opened:
        here = opened.enter_context(opened_folder(source))
        target.mkdir(mode=0o700, exist_ok=True)
        there = opened.enter_context(opened_folder(target))
        before = _open_if_there(opened, base, None) if base else None
        copy.folder(_At(here, _Folder(there), _Folder(before), "", 0))
        copy.finish_several(here, there)
        _dress(there, os.fstat(here), 0o700)
    return copy.done


def measure(folder: Path, skip: Skip = _nothing) -> Copied:
    """Files below a folder and their bytes, holes counted. Raises OSError."""
    found = Copied()
    with opened_folder(folder) as here:
        _measure(here, "", 0, skip, found)
    return found


def copy_file(source: Path, target: Path, errand: Errand) -> int:
    """Copy one plain file with one name; its bytes. Raises DiskTrouble where it is a link, or special; OSError."""
    with opened_folder(source.parent) as here, opened_folder(target.parent) as there:
        known = os.stat(source.name, dir_fd=here, follow_symlinks=False)
        if not stat.S_ISREG(known.st_mode) or known.st_nlink != 1:
            raise DiskTrouble(f"{source} is not a plain file; put the file itself there.", path=str(source))
        return _write_copy(here, there, source.name, target.name, known, errand)


def alike(copy: os.stat_result, known: os.stat_result) -> bool:
    """Whether a copy is what a copy of this file would be now, as far as can be told without reading."""
    if (copy.st_size, copy.st_mtime_ns) != (known.st_size, known.st_mtime_ns) or not stat.S_ISREG(copy.st_mode):
        return False
    if copy.st_mode & 0o777 != known.st_mode & 0o777 | 0o600:
        return False
    return os.geteuid() != 0 or (copy.st_uid, copy.st_gid) == (known.st_uid, known.st_gid)


def copy_within(folder: int, name: str, errand: Errand) -> None:
    """A file in an open folder of ours gets a content of its own, by rename. Raises DiskTrouble, OSError."""
    fresh = f".own-{name}"[:200]
    known = os.stat(name, dir_fd=folder, follow_symlinks=False)
    try:
        _make_way(fresh, folder)
        _write_copy(folder, folder, name, fresh, known, errand)
        os.rename(fresh, name, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:
        _make_way(fresh, folder)
        raise


@dataclass(slots=True)
class _Names:
    """A file with several names: those found so far. All of them: it is the tenant's alone."""

    links: int
    found: list[str] = field(default_factory=list)


class _Folder:
    """A folder of ours, opened when it is first needed: most of a copy that is there already is never looked at."""

    def __init__(self, descriptor: int | None, above: _Folder | None = None, name: str = "") -> None:
        self._descriptor = descriptor
        self._above = above
        self._name = name

    def below(self, name: str) -> _Folder:
        """One in it, there or not."""
        return _Folder(None, self, name)

    def find(self) -> int | None:
        """Its descriptor; None where it is not there, or no folder."""
        if self._descriptor is None and self._above is not None:
            above = self._above.find()
            with suppress(FileNotFoundError, NotADirectoryError):
                self._descriptor = _open_folder(self._name, above) if above is not None else None
        return self._descriptor

    def make(self) -> int:
        """Its descriptor; made where it is missing, in place of whatever has its name."""
        found = self.find()
        if found is not None:
            return found
        if self._above is None:
            raise FileNotFoundError(errno.ENOENT, "not there", self._name)
        above = self._above.make()
        _make_way(self._name, above)
        os.mkdir(self._name, 0o700, dir_fd=above)
        self._descriptor = _open_folder(self._name, above)
        return self._descriptor

    def drop(self, name: str) -> None:
        """What has this name in it, if anything, goes."""
        found = self.find()
        if found is not None:
            _make_way(name, found)

    def close(self) -> None:
        """It is not needed any more."""
        if self._descriptor is not None and self._above is not None:
            os.close(self._descriptor)
            self._descriptor = None


@dataclass(frozen=True, slots=True)
class _At:
    """Where a copy is: one folder of the tenant's, open, and those of the copy and the base beside it."""

    here: int
    there: _Folder
    before: _Folder
    path: str
    depth: int


class _TreeCopy:
    def __init__(
        self,
        errand: Errand,
        skip: Skip,
        linkable: Skip,
        *,
        ours: bool,
        exact: bool,
        notes: Ledger | None,
        since: Ledger | None,
    ) -> None:
        self.done = Copied()
        self._errand = errand
        self._skip = skip
        self._linkable = linkable
        self._ours = ours
        self._exact = exact
        self._notes = notes
        self._since = since
        self._several: dict[tuple[int, int], _Names] = {}

    def folder(self, at: _At) -> None:
        """All of an open folder, but for files with several names: those are finished once all is known."""
        known = os.fstat(at.here)
        page = read_page(at.here)
        as_it_was, unchanged = self._since.unchanged(at.path, page) if self._since else (False, None)
        if not as_it_was:
            self._prune(at.there.make(), at.path, page)
        taken = []
        for number, name in enumerate(page.names):
            below = f"{at.path}/{name}" if at.path else name
            if self._skip(below):
                taken.append(False)
                continue
            self._errand.check()
            size = page.sizes[number] if unchanged is not None and unchanged[number] else None
            taken.append(self._tried(at, name, below, page.modes[number], size))
        if not as_it_was:
            _dress(at.there.make(), known, 0o700)
        if self._notes is not None:
            self._notes.note(at.path, page, taken)

    def finish_several(self, here: int, there: int) -> None:
        """Files with several names come along where all of those are the tenant's."""
        for names in self._several.values():
            for path in names.found:
                with ExitStack() as opened:
                    written = _Folder(None)
                    try:
                        written = _Folder(_parent(opened, there, path))
                        inner = _parent(opened, here, path)
                        if len(names.found) < names.links:
                            self._leave_out(written, path, "a file that has another name outside")
                        else:
                            self._finish(inner, written.make(), path)
                        _dress(written.make(), os.fstat(inner), 0o700)
                    except OSError as error:
                        self._lose(written, path, error)

    def _finish(self, here: int, written: int, path: str) -> None:
        name = path.rpartition("/")[2]
        known = os.stat(name, dir_fd=here, follow_symlinks=False)
        self._file(here, written, _Folder(None), name, path, known)

    def _prune(self, there: int, path: str, page: Page) -> None:
        if self._exact:
            for name in set(os.listdir(there)) - set(page.names):
                if not self._skip(f"{path}/{name}" if path else name):
                    _make_way(name, there)

    def _tried(self, at: _At, name: str, path: str, mode: int, size: int | None) -> bool:
        """Take one entry; whether the copy has it, and another pass may believe so. `size`: it is there already.

        What went away meanwhile is no error; what became something else, or is closed to us, gets a word.
        """
        try:
            if stat.S_ISDIR(mode):
                return self._subfolder(at, name, path)
            if size is not None:
                if stat.S_ISREG(mode):
                    self._counted(size)
                return True
            return self._entry(at, name, path)
        except OSError as error:
            self._lose(at.there, path, error)
            return False

    def _lose(self, there: _Folder, path: str, error: OSError) -> None:
        if isinstance(error, FileNotFoundError):
            self._drop(there, path)
        elif error.errno in _LOSSES:
            self._leave_out(there, path, _LOSSES[error.errno])
        else:
            raise error

    def _leave_out(self, there: _Folder, path: str, why: str) -> None:
        self.done.leave_out(path, why)
        self._drop(there, path)

    def _drop(self, there: _Folder, path: str) -> None:
        if self._exact:
            there.drop(path.rpartition("/")[2])

    def _entry(self, at: _At, name: str, path: str) -> bool:
        known = os.stat(name, dir_fd=at.here, follow_symlinks=False)
        if stat.S_ISREG(known.st_mode):
            if self._ours or known.st_nlink == 1:
                self._file(at.here, at.there.make(), at.before, name, path, known)
                return True
            names = self._several.setdefault((known.st_dev, known.st_ino), _Names(known.st_nlink))
            names.found.append(path)
            return False
        if stat.S_ISLNK(known.st_mode):
            return self._link(at, name, path)
        if stat.S_ISDIR(known.st_mode):
            return self._subfolder(at, name, path)
        self._leave_out(at.there, path, "not a file but something special")
        return False

    def _subfolder(self, at: _At, name: str, path: str) -> bool:
        if at.depth >= _DEEPEST:
            self._leave_out(at.there, path, f"more than {_DEEPEST} folders deep")
            return False
        with opened_folder(name, at.here) as here:
            there, before = at.there.below(name), at.before.below(name)
            try:
                self.folder(_At(here, there, before, path, at.depth + 1))
            finally:
                there.close()
                before.close()
        return True

    def _link(self, at: _At, name: str, path: str) -> bool:
        """A link that stays inside is copied as the link it is; nothing here ever follows one."""
        target = _read_link(name, at.here)
        if not stays_inside(PurePosixPath(path), target):
            self._leave_out(at.there, path, "a symbolic link that leads outside")
            return False
        there = at.there.make()
        _make_way(name, there)
        os.symlink(target, name, dir_fd=there)
        return True

    def _file(self, here: int, there: int, before: _Folder, name: str, path: str, known: os.stat_result) -> None:
        present = _stat(name, there)
        if present is not None and self._since is None and alike(present, known):
            self.done.linked += present.st_nlink > 1
            self._counted(known.st_size)
            return
        _make_way(name, there)
        earlier = before.find() if self._since is None and self._linkable(path) else None
        if earlier is not None and _linked(name, earlier, there, known):
            self.done.linked += 1
            self._counted(known.st_size)
        else:
            self._counted(_write_copy(here, there, name, name, known, self._errand))

    def _counted(self, size: int) -> None:
        self.done.files += 1
        self.done.bytes += size
        if self.done.files % 500 == 0:
            self._errand.say(None, f"{self.done.files} files, {self.done.bytes / 1e6:.0f} MB")


def keep_reserve(folder: Path) -> None:
    """Raises DiskTrouble where the disk gets so full that others might not be able to write."""
    _keep_reserve(os.statvfs(folder))


def _measure(here: int, path: str, depth: int, skip: Skip, found: Copied) -> None:
    folders = []
    with os.scandir(here) as entries:
        for entry in entries:
            below = f"{path}/{entry.name}" if path else entry.name
            if skip(below):
                continue
            if entry.is_dir(follow_symlinks=False):
                folders.append(entry.name)
            elif (known := _stat(entry.name, here)) is not None and stat.S_ISREG(known.st_mode):
                found.files += 1
                found.bytes += known.st_size
    for name in folders if depth < _DEEPEST else ():
        with ExitStack() as opened:
            inner = _open_if_there(opened, name, here)
            if inner is not None:
                _measure(inner, f"{path}/{name}" if path else name, depth + 1, skip, found)


def stays_inside(path: PurePosixPath, target: str) -> bool:
    """Whether a link at `path`, relative to a folder, leads to a place in that folder.

    `..` only at the beginning, where it means real folders: after a name it could start from behind another link.
    """
    parts = target.split("/")
    ups = 0
    while ups < len(parts) and parts[ups] == "..":
        ups += 1
    return not target.startswith("/") and ups <= len(path.parts) - 1 and ".." not in parts[ups:]


def _parent(opened: ExitStack, folder: int, path: str) -> int:
    """The open folder that `path` lies in; every step on the way is a folder and no link."""
    for name in path.split("/")[:-1]:
        folder = opened.enter_context(opened_folder(name, folder))
    return folder


def _open_folder(name: str, parent: int) -> int:
    return os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)


def _open_if_there(opened: ExitStack, name: str | Path, parent: int | None) -> int | None:
    try:
        return opened.enter_context(opened_folder(name, parent))
    except (FileNotFoundError, NotADirectoryError):
        return None


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
    if earlier is None or not alike(earlier, known):
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
