"""Keeping SQLite from believing that nobody else has a live database open.

PocketBase's own backup reads `data.db-shm` as a file, and closing that file drops PocketBase's locks on it (POSIX locks
belong to a process and die with any descriptor). Whoever opens the database next, with `mode=ro` too, finds no lock,
takes itself for the first, and empties the shared memory that PocketBase has mapped: PocketBase ends with a fault, or
goes on with an index that is gone (seen with 0.22.27 and 0.23.12). So a lock of ours stands there meanwhile, of the
kind that belongs to an open file: SQLite in this very process sees it as somebody else's.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import struct
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pocketfleet.errors import SnapshotUnusable
from pocketfleet.runtime.beneath import open_beneath, stat_beneath
from pocketfleet.runtime.disk import opened_folder

#: The byte of `-shm` that says "in use" (SQLite's UNIX_SHM_DMS).
_IN_USE = 128
_PATIENCE = 10.0


@dataclass(slots=True)
class _Held:
    """One file's lock: our descriptors, closed together once no connection of this process is left.

    Closing one earlier would drop the locks that SQLite holds here for the others.
    """

    descriptors: list[int] = field(default_factory=list)
    users: int = 0


_held: dict[tuple[int, int], _Held] = {}
_guard = threading.Lock()


@contextlib.contextmanager
def in_use(database: Path, below: Path | None = None) -> Iterator[None]:
    """While this lasts, `database` counts as open to every SQLite, this process's own included.

    It is reached along no link from the folder `below`, its own where none is given. Every connection to a live
    database is opened and closed within one. Where there is no `-shm` nobody has it open. Raises SnapshotUnusable.
    """
    key = _enter(database.with_name(f"{database.name}-shm"), below or database.parent)
    try:
        yield
    finally:
        if key is not None:
            _leave(key)


def _enter(path: Path, below: Path) -> tuple[int, int] | None:
    place = str(path.relative_to(below))
    with _guard:
        try:
            with opened_folder(below) as folder:
                known = stat_beneath(folder, place)
                key = (known.st_dev, known.st_ino)
                if key not in _held:
                    key = _open(folder, place)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise SnapshotUnusable(f"{path.name} cannot be locked: {error.strerror}.", file=path.name) from error
        _held[key].users += 1
        return key


def _open(folder: int, place: str) -> tuple[int, int]:
    descriptor = open_beneath(folder, place, os.O_RDONLY)
    opened = os.fstat(descriptor)
    key = (opened.st_dev, opened.st_ino)
    held = _held.setdefault(key, _Held())
    held.descriptors.append(descriptor)
    try:
        if not stat.S_ISREG(opened.st_mode):
            raise OSError(errno.ELOOP, "it is no file")
        _lock(descriptor)
    except BaseException:
        if not held.users:
            _close(key)
        raise
    return key


def _lock(descriptor: int) -> None:
    """Somebody who opens the database first holds it alone for a moment."""
    give_up = time.monotonic() + _PATIENCE
    wanted = struct.pack("hhqqi4x", fcntl.F_RDLCK, os.SEEK_SET, _IN_USE, 1, 0)
    while True:
        try:
            fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, wanted)
            return
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.EACCES) or time.monotonic() > give_up:
                raise
        time.sleep(0.002)


def _leave(key: tuple[int, int]) -> None:
    with _guard:
        _held[key].users -= 1
        if not _held[key].users:
            _close(key)


def _close(key: tuple[int, int]) -> None:
    for descriptor in _held.pop(key).descriptors:
        os.close(descriptor)
