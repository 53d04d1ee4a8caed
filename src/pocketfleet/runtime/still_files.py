"""Opening an instance's databases without being led elsewhere by what its tenant put there, or puts there right now."""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pocketfleet.errors import DiskTrouble
from pocketfleet.runtime.beneath import open_beneath, stat_beneath
from pocketfleet.runtime.disk import opened_folder
from pocketfleet.runtime.fences import fenced
from pocketfleet.runtime.journals import names_a_file
from pocketfleet.runtime.owners import as_owner

_SIDES = ("-wal", "-shm", "-journal")


@dataclass(frozen=True, slots=True)
class Plain:
    """A database that was found to be the tenant's own, while it lasts: the folder that it lies below, and the file."""

    #: the open folder `below`
    folder: int
    known: os.stat_result
    #: where the file itself is held, so that its number means no other
    held: int

    def check(self, name: str) -> None:
        """What SQLite has opened is what was looked at. Raises OSError(ELOOP)."""
        for descriptor in Path("/proc/self/fd").iterdir():
            number = int(descriptor.name)
            if number != self.held:
                with contextlib.suppress(OSError):
                    if os.path.samestat(os.fstat(number), self.known):
                        return
        raise OSError(errno.ELOOP, "replaced while it was opened", name)


@contextlib.contextmanager
def plain(path: Path, below: Path) -> Iterator[Plain]:
    """A database: it and everything on the way from the folder `below` is the tenant's own.

    Folders that are folders, files with one name: no symbolic links, no hard links, nothing special, beside it neither.
    Raises OSError: ELOOP where one is, FileNotFoundError where it is missing.
    """
    place = path.relative_to(below)
    with opened_folder(below) as folder:
        held = open_beneath(folder, str(place), os.O_PATH)
        try:
            known = os.fstat(held)
            _check_single(known, path.name)
            for side in _SIDES:
                with contextlib.suppress(FileNotFoundError):
                    _check_single(stat_beneath(folder, f"{place}{side}"), path.name + side)
            yield Plain(folder, known, held)
        finally:
            os.close(held)


def is_plain(path: Path, below: Path) -> bool:
    """Whether a database is there, and `plain`. True is for now: a tenant's process may change it, if one runs."""
    try:
        with plain(path, below):
            return True
    except OSError:
        return False


def is_clean(path: Path) -> bool:
    """Whether the database was closed in order: nothing waits in a write-ahead log or a journal."""
    return all(_size(path.with_name(path.name + suffix)) == 0 for suffix in ("-wal", "-journal"))


@contextlib.contextmanager
def open_at_rest(path: Path, below: Path) -> Iterator[sqlite3.Connection]:
    """Read and write, autocommit; leaves no `-wal` or `-shm` behind. The caller holds the instance's lock.

    As the user who owns the folder `below`, in whose thread alone this happens, so without an `await` within.
    Raises DiskTrouble where the file is not plain, or its journal a trap; sqlite3.Error as it comes.
    """
    if not is_plain(path, below):
        raise _not_plain(path)
    if names_a_file(path):
        raise DiskTrouble(f"The journal of {path} names another file, which opening it would delete.", path=str(path))
    with as_owner(below), _opened(path, below, "mode=rw") as connection:
        yield connection


@contextlib.contextmanager
def peek(path: Path, below: Path) -> Iterator[sqlite3.Connection]:
    """Read a clean database without touching anything beside it. The caller has checked `is_clean`. Raises as above."""
    with _opened(path, below, "mode=ro&immutable=1") as connection:
        yield connection


def connected(found: Plain, path: Path, connect: Callable[[], sqlite3.Connection]) -> sqlite3.Connection:
    """What `connect` opens, in a thread that reaches nothing but the folder of `found`; files beside it are open, too.

    Raises OSError where something was put in its place meanwhile; sqlite3.Error.
    """

    def begin() -> sqlite3.Connection:
        connection = connect()
        try:
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        except BaseException:
            connection.close()
            raise
        return connection

    connection = fenced(found.folder, begin)
    try:
        found.check(path.name)
    except BaseException:
        connection.close()
        raise
    return connection


def quoted(path: Path) -> str:
    """A path as it stands in a `file:` address of SQLite."""
    return str(path).replace("%", "%25").replace("?", "%3f").replace("#", "%23")


@contextlib.contextmanager
def _opened(path: Path, below: Path, mode: str) -> Iterator[sqlite3.Connection]:
    def connect() -> sqlite3.Connection:
        uri = f"file:{quoted(path)}?{mode}"
        return sqlite3.connect(uri, uri=True, timeout=5, isolation_level=None, check_same_thread=False)

    try:
        with plain(path, below) as found:
            connection = connected(found, path, connect)
    except OSError as error:
        raise _not_plain(path) from error
    with contextlib.closing(connection):
        yield connection


def _check_single(known: os.stat_result, name: str) -> None:
    if not stat.S_ISREG(known.st_mode) or known.st_nlink != 1:
        raise OSError(errno.ELOOP, "no plain file with one name", name)


def _size(path: Path) -> int:
    try:
        return path.lstat().st_size
    except FileNotFoundError:
        return 0


def _not_plain(path: Path) -> DiskTrouble:
    return DiskTrouble(f"{path} is missing, or a link of some kind; put the database itself there.", path=str(path))
