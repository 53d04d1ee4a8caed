"""What can be read out of an instance's data: schema, counts, settings, request log. Read-only throughout.

`data` is a folder that holds `pb_data`, as a snapshot's is. What is read is a copy of ours that nobody writes to; with
`live=True` it may be an awake instance's own (`mode=ro`). A sleeping instance's own is never opened: take a snapshot.
All of these block; call them in a thread. They raise SnapshotUnusable with SQLite's words.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pocketfleet.runtime.ages import Age as Age
from pocketfleet.runtime.ages import recognise as recognise
from pocketfleet.runtime.beneath import exists
from pocketfleet.runtime.changes import Changes as Changes
from pocketfleet.runtime.changes import changes_between as changes_between
from pocketfleet.runtime.changes import records as records
from pocketfleet.runtime.tables import columns, named, opened, raw_settings, tables
from pocketfleet.runtime.tables import migrations_applied as migrations_applied

#: Rows that are digested at a time.
_ROWS = 1000
#: Columns of tables that no two runs write alike, left out of schema fingerprints.
_STAMPS = ("created", "updated")


def counts(data: Path, *, live: bool = False) -> dict[str, int]:
    """Rows by table of `data.db`."""
    with opened(data, live=live) as connection:
        return {
            table: connection.execute(f"SELECT count(*) FROM {named(table)}").fetchone()[0]  # noqa: S608
            for table in tables(connection)
        }


def collections(data: Path, *, live: bool = False) -> list[dict[str, Any]]:
    """`_collections` as the release stores them: `schema` or `fields`, `indexes` and `options` decoded, by name."""
    with opened(data, live=live) as connection:
        rows = connection.execute("SELECT * FROM _collections ORDER BY name").fetchall()
    return [{key: _decoded(key, row[key]) for key in row.keys()} for row in rows]  # noqa: SIM118 - a Row is no dict


def settings(data: Path, *, live: bool = False) -> dict[str, Any] | None:
    """PocketBase's settings, or None where they are encrypted or were never saved."""
    found = _loaded(raw_settings(data, live=live))
    return found if isinstance(found, dict) else None


def sqlite_master(data: Path, *, live: bool = False) -> list[dict[str, Any]]:
    """Tables, views, indexes and triggers with the statements that made them: type, name, tbl_name, sql."""
    query = "SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY type, name"
    with opened(data, live=live) as connection:
        return [dict(row) for row in connection.execute(query)]


def digests(data: Path) -> dict[str, dict[str, str]]:
    """SHA-256 of every column of every table of `data.db`, rows in the order of their ids."""
    with opened(data) as connection:
        return {table: _digest(connection, table) for table in tables(connection)}


def request_log(data: Path, *, newest_first: bool = True, live: bool = False) -> Iterator[dict[str, Any]]:
    """PocketBase's own log, row by row: id, created, level, message, and what its `data` holds (method, url, ...).

    0.22 keeps it in `logs.db`, later releases in `auxiliary.db`. Nothing where there is none.
    """
    names = [name for name in ("auxiliary.db", "logs.db") if exists(data, f"pb_data/{name}")]
    direction = "DESC" if newest_first else "ASC"
    for name in names[:1]:
        with opened(data, name, live=live) as connection:
            if "_logs" not in tables(connection):
                return
            query = f"SELECT id, created, level, message, data FROM _logs ORDER BY created {direction}"  # noqa: S608
            for row in connection.execute(query):
                more = _loaded(row["data"])
                own = {key: row[key] for key in ("id", "created", "level", "message")}
                yield {**(more if isinstance(more, dict) else {}), **own}


def schema_fingerprint(data: Path, *, live: bool = False) -> str:
    """SHA-256 of the collections and of what SQLite knows of them; the same schema saved anew has the same."""
    parts = [
        [{key: value for key, value in item.items() if key not in _STAMPS} for item in collections(data, live=live)],
        [item["sql"] for item in sqlite_master(data, live=live) if item["tbl_name"] not in ("_logs", "_requests")],
    ]
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


def settings_fingerprint(data: Path, *, live: bool = False) -> str:
    """SHA-256 of PocketBase's settings as they are stored, encrypted or not; saving them unchanged may change it."""
    return hashlib.sha256(raw_settings(data, live=live).encode("utf-8", "surrogateescape")).hexdigest()


def _digest(connection: sqlite3.Connection, table: str) -> dict[str, str]:
    names = columns(connection, table)
    digests = [hashlib.sha256() for _ in names]
    order = "id, rowid" if "id" in names else ", ".join(named(name) for name in names)
    rows = connection.execute(f"SELECT * FROM {named(table)} ORDER BY {order}")  # noqa: S608
    while some := rows.fetchmany(_ROWS):
        for digest, values in zip(digests, zip(*some, strict=True), strict=True):
            digest.update(repr(values).encode("utf-8", "surrogateescape"))
    return {name: digest.hexdigest() for name, digest in zip(names, digests, strict=True)}


def _decoded(key: str, value: Any) -> Any:
    if key not in ("schema", "fields", "indexes", "options"):
        return value
    loaded = _loaded(value)
    return value if loaded is None else loaded


def _loaded(value: Any) -> Any:
    if isinstance(value, bytes):
        value = value.decode("utf-8", "surrogateescape")
    try:
        return json.loads(value) if value else None
    except ValueError:
        return None
