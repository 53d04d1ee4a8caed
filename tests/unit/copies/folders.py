"""What the tests of copies need everywhere: an errand, and a small PocketBase without PocketBase."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

from pocketfleet.runtime.errands import Errand


def errand() -> Errand:
    """One that nobody calls off."""
    return Errand()


def small_data(folder: Path, *, migrations: list[str] | None = None, settings: str = "{}") -> Path:
    """A `pb_data` below `folder` with the tables that a PocketBase is recognised by, and a collection `notes`."""
    data = folder / "pb_data"
    data.mkdir(parents=True, exist_ok=True)
    opened = sqlite3.connect(data / "data.db", isolation_level=None)
    opened.execute("CREATE TABLE _migrations (file TEXT PRIMARY KEY, applied INTEGER)")
    opened.execute("CREATE TABLE _collections (id TEXT, name TEXT, type TEXT, fields JSON, created TEXT, updated TEXT)")
    opened.execute("CREATE TABLE _params (id TEXT, value JSON)")
    opened.execute("CREATE TABLE _superusers (id TEXT)")
    opened.execute("CREATE TABLE notes (id TEXT PRIMARY KEY, word TEXT)")
    opened.execute(
        "INSERT INTO _collections VALUES ('c1', 'notes', 'base', ?, '', '')", [json.dumps([{"name": "word"}])]
    )
    opened.execute("INSERT INTO _params VALUES ('settings', ?)", [settings])
    rows = [(name, number) for number, name in enumerate(migrations or ["1640988000_init.go"])]
    opened.executemany("INSERT INTO _migrations VALUES (?, ?)", rows)
    opened.close()
    return data
