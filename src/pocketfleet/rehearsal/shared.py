"""What two copies of data have in common, to choose requests from: a restore is judged by what is asked of records that
are there before and after it.
"""

from __future__ import annotations

import contextlib
import re
import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import Path

from pocketfleet.errors import SnapshotUnusable
from pocketfleet.rehearsal.requests import Ask
from pocketfleet.runtime import inspect
from pocketfleet.runtime.copying import copy_tree
from pocketfleet.runtime.errands import Errand
from pocketfleet.runtime.still_files import quoted
from pocketfleet.runtime.tables import columns, named, opened, tables

_ID = re.compile(r"\b[a-z0-9]{15}\b")
#: Ids that one question to SQLite carries.
_AT_ONCE = 500


def share(now: Path, then: Path, target: Path, errand: Errand) -> None:
    """`target` becomes a copy of the databases in `now`, without the records that `then` does not hold.

    Collections that are in `now` alone keep theirs: that nobody answers for them any more is worth a request. Blocks.
    Raises SnapshotUnusable, DiskTrouble.
    """
    copy_tree(now, target, errand, skip=_is_no_database, ours=True)
    try:
        path = quoted(target / "pb_data" / "data.db")
        opening = sqlite3.connect(f"file:{path}?mode=rw", uri=True, isolation_level=None)
        with contextlib.closing(opening) as connection:
            connection.execute("PRAGMA synchronous = OFF")
            _keep_common(connection, then)
    except sqlite3.Error as error:
        raise SnapshotUnusable(f"What both hold cannot be found out: {error}.") from error


def without_missing(asks: Sequence[Ask], now: Path, then: Path) -> tuple[list[Ask], int]:
    """The requests without those of the log that are about records which `then` does not hold; and how many those are.

    Blocks. Raises SnapshotUnusable.
    """
    wanted = {ask.path: set(_ID.findall(ask.path)) for ask in asks if ask.about == "log"}
    missing = _only_in(now, then, set().union(*wanted.values()))
    kept = [ask for ask in asks if not wanted.get(ask.path, set()) & missing]
    return kept, len(asks) - len(kept)


def _is_no_database(path: str) -> bool:
    top, _, inner = path.partition("/")
    return top != "pb_data" or (bool(inner) and not inner.partition("/")[0].endswith(".db"))


def _keep_common(connection: sqlite3.Connection, then: Path) -> None:
    path = quoted(then / "pb_data" / "data.db")
    connection.execute("ATTACH ? AS other", [f"file:{path}?mode=ro&immutable=1"])
    names = {row[0] for row in connection.execute("SELECT name FROM main._collections WHERE type <> 'view'")}
    there = {row[0] for row in connection.execute("SELECT name FROM other._collections WHERE type <> 'view'")}
    # a tenant's own trigger might write elsewhere when something goes
    for (trigger,) in connection.execute("SELECT name FROM main.sqlite_master WHERE type = 'trigger'").fetchall():
        connection.execute(f"DROP TRIGGER main.{named(trigger)}")
    for name in sorted(names & there):
        table = named(name)
        connection.execute(
            f"DELETE FROM main.{table} WHERE id NOT IN (SELECT id FROM other.{table})"  # noqa: S608 - names, quoted
        )


def _only_in(now: Path, then: Path, ids: Iterable[str]) -> set[str]:
    """Those of the ids that are records in the one and in the other are none."""
    wanted = sorted(ids)
    found = _records(now, wanted)
    return found - _records(then, sorted(found))


def _records(data: Path, ids: Sequence[str]) -> set[str]:
    found: set[str] = set()
    names = {item["name"] for item in inspect.collections(data) if item["type"] != "view"}
    with opened(data) as connection:
        for table in sorted(names & set(tables(connection))):
            if "id" in columns(connection, table):
                for start in range(0, len(ids), _AT_ONCE):
                    some = ids[start : start + _AT_ONCE]
                    marks = ", ".join("?" * len(some))
                    query = f"SELECT id FROM {named(table)} WHERE id IN ({marks})"  # noqa: S608 - a name, quoted
                    found |= {str(row[0]) for row in connection.execute(query, some)}
    return found
