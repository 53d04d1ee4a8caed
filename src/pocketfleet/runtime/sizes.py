"""How much room a tenant's folder takes, whatever the tenant put there: no link is followed, nothing is opened."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from pocketfleet.runtime.disk import opened_folder
from pocketfleet.runtime.errands import Errand

#: Folders within folders, and names in all, beyond which nothing is counted: PocketBase makes three levels.
_DEEPEST = 100
MOST_NAMES = 1_000_000
#: Bytes of storage for which an instance may have one name: files that hold nothing must not be for nothing. Those of
#: PocketBase take a block of 4 KiB each or more, so nobody who stores anything meets this first.
_A_NAME = 2048
#: What `st_blocks` counts.
_BLOCK = 512
#: What a folder may be by the time it is opened: gone, a link or something else, closed to us.
_LOST = {errno.ENOENT, errno.ELOOP, errno.ENOTDIR, errno.EACCES}


@dataclass(slots=True)
class Size:
    """Bytes that files and folders take on the disk, holes counted, too, each once however many names it has."""

    bytes: int = 0
    names: int = 0
    #: False where there were too many names or levels, so that it is more than `bytes`
    whole: bool = True
    too_deep: bool = False
    _several: set[tuple[int, int]] = field(default_factory=set, repr=False)
    _folders: set[tuple[int, int]] = field(default_factory=set, repr=False)

    def add(self, known: os.stat_result) -> None:
        """A file."""
        if known.st_nlink > 1:
            self.several(known)
        else:
            self._count(known)

    def several(self, known: os.stat_result) -> None:
        """A file that may be met again."""
        if (known.st_dev, known.st_ino) not in self._several:
            self._several.add((known.st_dev, known.st_ino))
            self._count(known)

    def is_new(self, folder: os.stat_result) -> bool:
        """Whether a folder is met for the first time; then it is counted."""
        key = (folder.st_dev, folder.st_ino)
        if key in self._folders:
            return False
        self._folders.add(key)
        self.bytes += folder.st_blocks * _BLOCK
        return True

    def _count(self, known: os.stat_result) -> None:
        self.bytes += max(known.st_size, known.st_blocks * _BLOCK)


def most_names(storage: int) -> int:
    """Files and folders that an instance with so many bytes of storage may have, and that can be counted in time."""
    return min(storage // _A_NAME, MOST_NAMES)


@dataclass(frozen=True, slots=True)
class Amount:
    """Bytes on a disk, and names of files and folders there."""

    bytes: int
    names: int

    @classmethod
    def of(cls, storage: int) -> Amount:
        """So many bytes of storage, and as many names as go with them."""
        return cls(storage, most_names(storage))

    def __add__(self, other: Amount) -> Amount:
        return Amount(self.bytes + other.bytes, self.names + other.names)

    def besides(self, other: Amount) -> Amount:
        """What this one is more than the other; nothing where it is less."""
        return Amount(max(0, self.bytes - other.bytes), max(0, self.names - other.names))


@dataclass(frozen=True, slots=True)
class Measured:
    """What an instance's files took when they were measured."""

    amount: Amount
    #: False where there are more names than were counted, or folders that lie in each other too deeply
    whole: bool = True
    too_deep: bool = False
    #: what the kernel counted as its right before and right after; None where it does not count
    counted: tuple[Amount, Amount] | None = None


def measure_folder(folder: Path, errand: Errand, *, most: int = MOST_NAMES) -> Size:
    """What is in it and below. May be called while it is written to: what comes or goes meanwhile may be missed.

    Raises FileNotFoundError where it is not there, Stopped once nobody waits, OSError.
    """
    found = Size()
    with opened_folder(folder) as here:
        found.is_new(os.fstat(here))
        _measure(here, 1, errand, most, found)
    return found


def nameless_bytes(pids: Iterable[int]) -> int:
    """Bytes of files without a name that these processes have open or in memory: on the disk all the same."""
    found = Size()
    for pid in pids:
        for held in ("fd", "map_files"):
            with suppress(OSError), os.scandir(f"/proc/{pid}/{held}") as entries:
                for entry in entries:
                    with suppress(OSError):
                        known = entry.stat()
                        if stat.S_ISREG(known.st_mode) and known.st_nlink == 0:
                            found.several(known)
    return found.bytes


def _measure(here: int, level: int, errand: Errand, most: int, found: Size) -> None:
    folders = []
    with os.scandir(here) as entries:
        for entry in entries:
            if found.names >= most:
                found.whole = False
                return
            found.names += 1
            errand.check()
            known = _stat(entry)
            if known is not None and stat.S_ISDIR(known.st_mode):
                folders.append(entry.name)
            elif known is not None and stat.S_ISREG(known.st_mode):
                found.add(known)
    if folders and level >= _DEEPEST:
        found.whole, found.too_deep = False, True
        return
    for name in folders:
        _measure_below(here, name, level, errand, most, found)


def _measure_below(here: int, name: str, level: int, errand: Errand, most: int, found: Size) -> None:
    try:
        with opened_folder(name, here) as inner:
            # one that is exchanged with another name meanwhile is met twice
            if found.is_new(os.fstat(inner)):
                _measure(inner, level + 1, errand, most, found)
    except OSError as error:
        if error.errno not in _LOST:
            raise


def _stat(entry: os.DirEntry[str]) -> os.stat_result | None:
    try:
        return entry.stat(follow_symlinks=False)
    except OSError as error:
        if error.errno not in _LOST:
            raise
        return None
