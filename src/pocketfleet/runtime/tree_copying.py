"""A tenant's folder copied into a folder of ours, entry by entry, along open folders on both sides."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Collection
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from pocketfleet.runtime.disk import opened_folder
from pocketfleet.runtime.errands import Errand
from pocketfleet.runtime.file_copying import alike, dress, link_again, make_way, stat_of, write_copy
from pocketfleet.runtime.ledgers import Ledger, Page, read_page

#: Folders within folders; PocketBase makes three levels.
DEEPEST = 100
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

#: Whether a path below the folder, `pb_data/backups`, is passed over without a word.
Skip = Callable[[str], bool]


def nothing(path: str) -> bool:
    """Nothing is passed over."""
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


def stays_inside(path: PurePosixPath, target: str) -> bool:
    """Whether a link at `path`, relative to a folder, leads to a place in that folder.

    `..` only at the beginning, where it means real folders: after a name it could start from behind another link.
    """
    parts = target.split("/")
    ups = 0
    while ups < len(parts) and parts[ups] == "..":
        ups += 1
    return not target.startswith("/") and ups <= len(path.parts) - 1 and ".." not in parts[ups:]


class Folder:
    """A folder of ours, opened when it is first needed: most of a copy that is there already is never looked at."""

    def __init__(self, descriptor: int | None, above: Folder | None = None, name: str = "") -> None:
        self._descriptor = descriptor
        self._above = above
        self._name = name

    def below(self, name: str) -> Folder:
        """One in it, there or not."""
        return Folder(None, self, name)

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
        make_way(self._name, above)
        os.mkdir(self._name, 0o700, dir_fd=above)
        self._descriptor = _open_folder(self._name, above)
        return self._descriptor

    def drop(self, name: str) -> None:
        """What has this name in it, if anything, goes."""
        found = self.find()
        if found is not None:
            make_way(name, found)

    def close(self) -> None:
        """It is not needed any more."""
        if self._descriptor is not None and self._above is not None:
            os.close(self._descriptor)
            self._descriptor = None


@dataclass(frozen=True, slots=True)
class At:
    """Where a copy is: one folder of the tenant's, open, and those of the copy and the base beside it."""

    here: int
    there: Folder
    before: Folder
    path: str
    depth: int


@dataclass(slots=True)
class _Names:
    """A file with several names: those found so far. All of them: it is the tenant's alone."""

    links: int
    found: list[str] = field(default_factory=list)


class TreeCopy:
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

    def folder(self, at: At) -> None:
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
            dress(at.there.make(), known, 0o700)
        if self._notes is not None:
            self._notes.note(at.path, page, taken)

    def fill(self, at: At, kept: Collection[str]) -> None:
        """What a folder of ours lacks of the one that it is a copy of."""
        page = read_page(at.here)
        for name, mode in zip(page.names, page.modes, strict=True):
            below = f"{at.path}/{name}" if at.path else name
            if name not in kept and not self._skip(below):
                self._errand.check()
                self._tried(at, name, below, mode, None)
        dress(at.there.make(), os.fstat(at.here), 0o700)

    def finish_several(self, here: int, there: int) -> None:
        """Files with several names come along where all of those are the tenant's."""
        for names in self._several.values():
            for path in names.found:
                with ExitStack() as opened:
                    written = Folder(None)
                    try:
                        written = Folder(_parent(opened, there, path))
                        inner = _parent(opened, here, path)
                        if len(names.found) < names.links:
                            self._leave_out(written, path, "a file that has another name outside")
                        else:
                            self._finish(inner, written.make(), path)
                        dress(written.make(), os.fstat(inner), 0o700)
                    except OSError as error:
                        self._lose(written, path, error)

    def _finish(self, here: int, written: int, path: str) -> None:
        name = path.rpartition("/")[2]
        known = os.stat(name, dir_fd=here, follow_symlinks=False)
        self._file(here, written, Folder(None), name, path, known)

    def _prune(self, there: int, path: str, page: Page) -> None:
        if self._exact:
            for name in set(os.listdir(there)) - set(page.names):
                if not self._skip(f"{path}/{name}" if path else name):
                    make_way(name, there)

    def _tried(self, at: At, name: str, path: str, mode: int, size: int | None) -> bool:
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

    def _lose(self, there: Folder, path: str, error: OSError) -> None:
        if isinstance(error, FileNotFoundError):
            self._drop(there, path)
        elif error.errno in _LOSSES:
            self._leave_out(there, path, _LOSSES[error.errno])
        else:
            raise error

    def _leave_out(self, there: Folder, path: str, why: str) -> None:
        self.done.leave_out(path, why)
        self._drop(there, path)

    def _drop(self, there: Folder, path: str) -> None:
        if self._exact:
            there.drop(path.rpartition("/")[2])

    def _entry(self, at: At, name: str, path: str) -> bool:
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

    def _subfolder(self, at: At, name: str, path: str) -> bool:
        if at.depth >= DEEPEST:
            self._leave_out(at.there, path, f"more than {DEEPEST} folders deep")
            return False
        with opened_folder(name, at.here) as here:
            there, before = at.there.below(name), at.before.below(name)
            try:
                self.folder(At(here, there, before, path, at.depth + 1))
            finally:
                there.close()
                before.close()
        return True

    def _link(self, at: At, name: str, path: str) -> bool:
        """A link that stays inside is copied as the link it is; nothing here ever follows one."""
        target = _read_link(name, at.here)
        if not stays_inside(PurePosixPath(path), target):
            self._leave_out(at.there, path, "a symbolic link that leads outside")
            return False
        there = at.there.make()
        make_way(name, there)
        os.symlink(target, name, dir_fd=there)
        return True

    def _file(self, here: int, there: int, before: Folder, name: str, path: str, known: os.stat_result) -> None:
        present = stat_of(name, there)
        if present is not None and self._since is None and alike(present, known):
            self.done.linked += present.st_nlink > 1
            self._counted(known.st_size)
            return
        make_way(name, there)
        earlier = before.find() if self._since is None and self._linkable(path) else None
        if earlier is not None and link_again(name, earlier, there, known):
            self.done.linked += 1
            self._counted(known.st_size)
        else:
            self._counted(write_copy(here, there, name, name, known, self._errand))

    def _counted(self, size: int) -> None:
        self.done.files += 1
        self.done.bytes += size
        if self.done.files % 500 == 0:
            self._errand.say(None, f"{self.done.files} files, {self.done.bytes / 1e6:.0f} MB")


def _parent(opened: ExitStack, folder: int, path: str) -> int:
    """The open folder that `path` lies in; every step on the way is a folder and no link."""
    for name in path.split("/")[:-1]:
        folder = opened.enter_context(opened_folder(name, folder))
    return folder


def _open_folder(name: str, parent: int) -> int:
    return os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)


def _read_link(name: str, folder: int) -> str:
    try:
        return os.readlink(name, dir_fd=folder)
    except OSError as error:
        if error.errno == errno.EINVAL:
            raise OSError(errno.ELOOP, "no link any more", name) from error
        raise
