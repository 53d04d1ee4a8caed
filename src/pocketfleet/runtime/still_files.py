"""Opening a sleeping instance's databases without being led elsewhere by what its tenant put there."""

from __future__ import annotations

import contextlib
import sqlite3
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from pocketfleet.errors import DiskTrouble
from pocketfleet.runtime.owners import as_owner

_SIDE_FILES = ("", "-wal", "-shm", "-journal")


def is_plain(path: Path, below: Path) -> bool:
    """Whether a file is there, and it and everything on the way from `below` is the tenant's own.

    Folders that are folders, files with one name: no symbolic links, no hard links, nothing special. Under the
    instance's lock and asleep nothing of the tenant's runs that could change it between this look and the opening.
    """
    for folder in [below, *(parent for parent in path.parents if parent.is_relative_to(below))]:
        if not _is(folder, stat.S_ISDIR):
            return False
    beside = [path.with_name(path.name + suffix) for suffix in _SIDE_FILES]
    return _is_single_file(path) and all(_is_single_file(side) or not _exists(side) for side in beside)


def is_clean(path: Path) -> bool:
    """Whether the database was closed in order: nothing waits in a write-ahead log or a journal."""
    sides = [path.with_name(path.name + suffix) for suffix in ("-wal", "-journal")]
    return all(not _exists(side) or side.stat().st_size == 0 for side in sides)


@contextlib.contextmanager
def open_at_rest(path: Path, below: Path) -> Iterator[sqlite3.Connection]:
    """Read and write, autocommit; leaves no `-wal` or `-shm` behind. The caller holds the instance's lock.

    As the user who owns the folder `below`, in whose thread alone this happens, so without an `await` within.
    Raises DiskTrouble where the file is not plain; sqlite3.Error as it comes.
    """
    if not is_plain(path, below):
        raise DiskTrouble(f"{path} is missing, or a link of some kind; put the database itself there.", path=str(path))
    with as_owner(below):
        connection = sqlite3.connect(f"file:{quoted(path)}?mode=rw", uri=True, timeout=5, isolation_level=None)
        try:
            yield connection
        finally:
            connection.close()


@contextlib.contextmanager
def peek(path: Path) -> Iterator[sqlite3.Connection]:
    """Read a clean database without touching anything beside it. The caller has checked `is_plain` and `is_clean`."""
    connection = sqlite3.connect(f"file:{quoted(path)}?mode=ro&immutable=1", uri=True)
    try:
        yield connection
    finally:
        connection.close()


def quoted(path: Path) -> str:
    """A path as it stands in a `file:` address of SQLite."""
    return str(path).replace("%", "%25").replace("?", "%3f").replace("#", "%23")


def _is(path: Path, kind: Callable[[int], bool]) -> bool:
    try:
        return kind(path.lstat().st_mode)
    except FileNotFoundError:
        return False


def _is_single_file(path: Path) -> bool:
    return _is(path, stat.S_ISREG) and path.lstat().st_nlink == 1


def _exists(path: Path) -> bool:
    try:
        path.lstat()
    except FileNotFoundError:
        return False
    return True
