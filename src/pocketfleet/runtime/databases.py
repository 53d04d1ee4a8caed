"""An instance's SQLite files: copied while PocketBase writes or while it sleeps, checked, and read.

FACTS.md, "Lost writes": a live database is opened with `mode=ro` alone, and under a lock (live_locks.py). A sleeping
one is not opened at all, since even a reader leaves `-wal` and `-shm` behind: its files are copied, the copy is opened.
SQLite opens by path, so all that a tenant may have a hand in is opened inside a fence (still_files.py, fences.py).
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

from pocketfleet.errors import SnapshotUnusable
from pocketfleet.runtime.copying import copy_file, keep_reserve
from pocketfleet.runtime.disk import flush, opened_folder
from pocketfleet.runtime.errands import Errand
from pocketfleet.runtime.journals import names_a_file
from pocketfleet.runtime.live_locks import in_use
from pocketfleet.runtime.still_files import Plain, connected, is_clean, plain, quoted

#: Names of files in `pb_data` that are databases; what lies beside them belongs to them.
SUFFIXES = (".db", ".sqlite", ".sqlite3")
_SIDES = ("-wal", "-shm", "-journal")
#: Pages between two looks at whether to go on; 16 MB at SQLite's usual size.
_STEP = 4096
_HEADER = b"SQLite format 3\0"
#: Seconds to wait for a lock; only the recovery of a write-ahead log takes one against a reader.
_PATIENCE = 20


def is_database_file(name: str) -> bool:
    """Whether a name in `pb_data` is a database, or lies beside one."""
    for side in _SIDES:
        name = name.removesuffix(side)
    return name.endswith(SUFFIXES)


def database_names(folder: Path) -> list[str]:
    """The databases in a `pb_data`, `data.db` last: what refers to it is never newer than it.

    Raises SnapshotUnusable where that folder is a link, OSError.
    """
    try:
        with opened_folder(folder) as opened:
            found = os.listdir(opened)  # noqa: PTH208 - an open folder
    except NotADirectoryError as error:
        raise SnapshotUnusable(f"{folder.name} is not a folder; put the folder itself there.") from error
    names = [name for name in found if name.endswith(SUFFIXES)]
    return sorted(names, key=lambda name: (name == "data.db", name))


def copy_awake(source: Path, below: Path, target: Path, errand: Errand) -> None:
    """Copy a database that PocketBase may be writing to; `target` is sound and flushed, and has no side files.

    One read transaction over all steps: everything acknowledged before it began is in, and since the database is in
    WAL mode nobody waits for us. Raises SnapshotUnusable where it is a link, or no database; sqlite3.Error.
    """
    with reading(source, below=below, live=True) as live, contextlib.closing(_connect(target, "mode=rwc")) as copy:
        copy.execute("PRAGMA journal_mode = OFF")
        copy.execute("PRAGMA synchronous = OFF")
        live.backup(copy, pages=_STEP, progress=_telling(errand, source, target))
    _dress_as(target, source, below)
    flush(target)


def copy_asleep(source: Path, below: Path, target: Path, errand: Errand) -> None:
    """Copy a database whose instance sleeps, under its lock: file and write-ahead log, folded in on the copy.

    Raises SnapshotUnusable, DiskTrouble, sqlite3.Error.
    """
    with _plain(source, below):
        copy_file(source, target, errand)
        for side in ("-wal", "-journal"):
            with contextlib.suppress(FileNotFoundError):
                copy_file(source.with_name(source.name + side), target.with_name(target.name + side), errand)
    settle(target)
    _dress_as(target, source, below)
    flush(target)


def settle(copy: Path) -> None:
    """Fold what waits beside our own copy of a database into it. Raises SnapshotUnusable, sqlite3.Error."""
    if names_a_file(copy):
        raise SnapshotUnusable(f"The journal of {copy.name} names another file, which opening it would delete.")
    if not is_clean(copy):
        with contextlib.closing(_connect(copy, "mode=rw")) as opened:
            opened.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            opened.execute("SELECT count(*) FROM sqlite_master").fetchone()
    for side in _SIDES:
        copy.with_name(copy.name + side).unlink(missing_ok=True)


def is_database(path: Path) -> bool:
    """Whether a file that nobody has open begins as a database does. An empty one is one to SQLite."""
    with path.open("rb") as opened:
        return opened.read(len(_HEADER)) in (_HEADER, b"")


def check(copy: Path, *, thorough: bool) -> None:
    """Open a copy of ours and, if `thorough`, read every page of it. Raises SnapshotUnusable with SQLite's words."""
    try:
        with reading(copy) as opened:
            found = "ok"
            if thorough:
                found = _integrity(opened)
            else:
                opened.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.Error as error:
        found = str(error)
    if found != "ok":
        raise SnapshotUnusable(f"The database {copy.name} is damaged: {found}.", file=copy.name)


@contextlib.contextmanager
def reading(path: Path, *, below: Path | None = None, live: bool = False) -> Iterator[sqlite3.Connection]:
    """Read a database, all of it as it was at one moment: a copy of ours without touching anything beside it; a live
    one with `mode=ro`. It is reached along no link from the folder `below`, its own where none is given.

    Raises SnapshotUnusable where it is missing, or a link of some kind; sqlite3.Error.
    """
    below = below or path.parent
    with in_use(path, below) if live else contextlib.nullcontext():
        mode = "mode=ro" if live or not is_clean(path) else "mode=ro&immutable=1"
        with _plain(path, below) as found, contextlib.closing(_begun(found, path, mode)) as opened:
            yield opened


def _integrity(opened: sqlite3.Connection) -> str:
    """SQLite's words, "ok" if all is well. An index of a custom build may need functions that we do not have."""
    try:
        rows = opened.execute("PRAGMA integrity_check(3)").fetchall()
    except sqlite3.OperationalError as error:
        if "no such" not in str(error):
            raise
        rows = opened.execute("PRAGMA quick_check(3)").fetchall()
    return "; ".join(str(row[0]) for row in rows)


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    uri = f"file:{quoted(path)}?{mode}"
    opened = sqlite3.connect(uri, uri=True, timeout=_PATIENCE, isolation_level=None, check_same_thread=False)
    opened.execute("PRAGMA trusted_schema = OFF")
    opened.text_factory = lambda raw: raw.decode("utf-8", "surrogateescape")
    return opened


def _telling(errand: Errand, source: Path, target: Path) -> Callable[[int, int, int], None]:
    def tell(status: int, remaining: int, total: int) -> None:
        keep_reserve(target.parent)
        errand.say((total - remaining) / total if total else None, f"copying {source.name}")

    return tell


def _begun(found: Plain, path: Path, mode: str) -> sqlite3.Connection:
    """Within one read transaction from the beginning on: no file beside it is looked for any more."""

    def connect() -> sqlite3.Connection:
        opened = _connect(path, mode)
        opened.execute("BEGIN")
        return opened

    try:
        return connected(found, path, connect)
    except OSError as error:
        raise SnapshotUnusable(f"{path.name} was replaced while it was opened; try again.", file=path.name) from error


@contextlib.contextmanager
def _plain(path: Path, below: Path) -> Iterator[Plain]:
    with contextlib.ExitStack() as opened:
        try:
            found = opened.enter_context(plain(path, below))
        except OSError as error:
            raise SnapshotUnusable(
                f"{path.name} is missing, or a link of some kind, so it cannot be read. Put the database itself there.",
                file=path.name,
            ) from error
        yield found


def _dress_as(copy: Path, source: Path, below: Path) -> None:
    with _plain(source, below) as found:
        known = found.known
    if os.geteuid() == 0:
        os.chown(copy, known.st_uid, known.st_gid, follow_symlinks=False)
    copy.chmod(known.st_mode & 0o777 | 0o600)
