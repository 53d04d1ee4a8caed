"""PocketBase's own request log, kept from slowing its start: an index, made while the instance sleeps.

Every start deletes old rows, `DELETE FROM _logs WHERE created <= ? OR level < ?`, without an index on `created`: 25 ms
with 10,000 rows, 90 ms and 62 MB with 100,000 (FACTS.md). Deleting rows ourselves would not help: those that make it
slow are inside the retention.
"""

from __future__ import annotations

import logging
import sqlite3
import time
from pathlib import Path

from pocketfleet.errors import PocketfleetError
from pocketfleet.runtime.still_files import is_clean, is_plain, open_at_rest, peek

INDEX = "pocketfleet_logs_created"
#: 0.23 and later, and 0.22.
FILES = ("auxiliary.db", "logs.db")
#: Seconds after which making the index is given up: somebody may be waiting for the instance.
_LONGEST = 10.0

_log = logging.getLogger(__name__)


def put_in_order(folder: Path) -> None:
    """Make the index where it is missing; some hundred microseconds where it is there. Never raises.

    `folder` is the instance's. The caller holds its lock, and it sleeps.
    """
    for name in FILES:
        path = folder / "pb_data" / name
        try:
            if is_plain(path, folder) and _needs_index(path, folder):
                _make_index(path, folder)
        except (sqlite3.Error, OSError, PocketfleetError) as error:
            _log.warning("request log without index: %s", error, extra={"instance": folder.name})


def _needs_index(path: Path, folder: Path) -> bool:
    if not is_clean(path):
        return True
    with peek(path, folder) as connection:
        names = connection.execute("SELECT name FROM sqlite_master WHERE tbl_name = '_logs'").fetchall()
    return ("_logs",) in names and (INDEX,) not in names


def _make_index(path: Path, folder: Path) -> None:
    give_up = time.monotonic() + _LONGEST
    with open_at_rest(path, folder) as connection:
        connection.set_progress_handler(lambda: time.monotonic() > give_up, 100_000)
        if connection.execute("SELECT 1 FROM sqlite_master WHERE name = '_logs' AND type = 'table'").fetchone():
            connection.execute(f"CREATE INDEX IF NOT EXISTS {INDEX} ON _logs (created)")
