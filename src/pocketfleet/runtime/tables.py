"""Reading an instance's copied databases: opened without a trace, tables and their columns, what every part needs.

`data` is a folder that holds `pb_data`; more in inspect.py.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from pocketfleet.errors import SnapshotUnusable
from pocketfleet.runtime.databases import reading


@contextlib.contextmanager
def opened(data: Path, name: str = "data.db", *, live: bool = False) -> Iterator[sqlite3.Connection]:
    """One of its databases, to be read; rows answer to the names of their columns."""
    try:
        with reading(data / "pb_data" / name, below=data, live=live) as connection:
            connection.row_factory = sqlite3.Row
            yield connection
    except sqlite3.Error as error:
        raise SnapshotUnusable(f"The database {name} cannot be read: {error}.", file=name) from error


def tables(connection: sqlite3.Connection) -> list[str]:
    """Names of all tables but SQLite's own, in order."""
    rows = connection.execute(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"
    )
    return sorted(row[0] for row in rows)


def columns(connection: sqlite3.Connection, table: str) -> list[str]:
    """Names of a table's or view's columns, in its order."""
    return [row[1] for row in connection.execute(f"PRAGMA table_info({named(table)})")]


def named(name: str) -> str:
    """A name as it stands in a statement."""
    return '"' + name.replace('"', '""') + '"'


def raw_settings(data: Path, *, live: bool = False) -> str:
    """The settings as they are stored: JSON, or base64 where they are encrypted; "" where there are none."""
    with opened(data, live=live) as connection:
        return settings_in(connection)


def settings_in(connection: sqlite3.Connection) -> str:
    """The same, of a database that is open already."""
    column = "key" if "key" in columns(connection, "_params") else "id"
    row = connection.execute(f"SELECT value FROM _params WHERE {column} = 'settings'").fetchone()  # noqa: S608
    value = row[0] if row and row[0] is not None else ""
    return value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else str(value)


def migrations_applied(data: Path, *, live: bool = False) -> list[str]:
    """File names of all migrations, PocketBase's and the tenant's, as they were applied."""
    with opened(data, live=live) as connection:
        return [row[0] for row in connection.execute("SELECT file FROM _migrations ORDER BY applied, file")]
