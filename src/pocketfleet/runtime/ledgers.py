"""What a tenant's folders held when they were read, so that a second look tells what was not touched since.

As git's index does it: times, inode, size, mode and owner of each entry. Nobody can set a change time, so a file
changed in place under its old times shows. What had just been changed when it was read is never believed: a second
change within one tick of the clock could not be told from the first.
"""

from __future__ import annotations

import os
import stat
import struct
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import blake2b

#: Seconds by which a change must be older than the reading of it to be believed; clocks of file systems are coarse.
RACY = 2.0
_SIZE = 16
_FACTS = struct.Struct("<QQqqqIII")


@dataclass(slots=True)
class Page:
    """What one open folder holds at this moment: names in order, and of each its mode, size and mark.

    A mark changes with its entry; one that cannot be believed is empty. `own` is the folder's.
    """

    own: bytes
    names: list[str] = field(default_factory=list)
    modes: list[int] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    marks: list[bytes] = field(default_factory=list)


def read_page(here: int) -> Page:
    """Read an open folder; what goes away meanwhile is not in it. Raises OSError."""
    believed = time.time_ns() - int(RACY * 1e9)
    known = os.fstat(here)
    page = Page(_digest("", known, 0, 0))
    found = []
    with os.scandir(here) as entries:
        for entry in entries:
            try:
                known = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            found.append((entry.name, known.st_mode, known.st_size, _mark(entry.name, known, believed)))
    found.sort()
    for name, mode, size, mark in found:
        page.names.append(name)
        page.modes.append(mode)
        page.sizes.append(size)
        page.marks.append(mark)
    return page


class Ledger:
    """Pages by the path of their folder: 16 bytes for each entry."""

    def __init__(self) -> None:
        self._pages: dict[str, bytes] = {}

    def note(self, path: str, page: Page, taken: Sequence[bool]) -> None:
        """Keep a page: of its entries those that were taken and may be believed."""
        marks = (mark for mark, is_taken in zip(page.marks, taken, strict=True) if is_taken)
        self._pages[path] = page.own + b"".join(marks)

    def unchanged(self, path: str, page: Page) -> tuple[bool, Sequence[bool]]:
        """Whether the folder is as it was, and of each entry whether it is; what lies below has pages of its own."""
        kept = self._pages.get(path)
        if kept is None:
            return False, [False] * len(page.marks)
        if b"" not in page.marks and kept == page.own + b"".join(page.marks):
            return True, [True] * len(page.marks)
        marks = {kept[start : start + _SIZE] for start in range(_SIZE, len(kept), _SIZE)}
        return False, [mark in marks for mark in page.marks]


def _mark(name: str, known: os.stat_result, believed: int) -> bytes:
    if stat.S_ISDIR(known.st_mode):
        # the rest of it is on its own page
        facts = _FACTS.pack(known.st_dev, known.st_ino, 0, 0, 0, stat.S_IFDIR, 0, 0)
        return blake2b(facts + os.fsencode(name), digest_size=_SIZE).digest()
    return _digest(name, known, known.st_size, known.st_ctime_ns) if known.st_ctime_ns < believed else b""


def _digest(name: str, known: os.stat_result, size: int, changed: int) -> bytes:
    facts = _FACTS.pack(
        known.st_dev,
        known.st_ino,
        size,
        known.st_mtime_ns,
        changed,
        known.st_mode,
        known.st_uid,
        known.st_gid,
    )
    return blake2b(facts + os.fsencode(name), digest_size=_SIZE).digest()
