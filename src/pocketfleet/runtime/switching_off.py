"""Switching off, in data at rest, what would let a clone reach the world in its original's name: mail and S3."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pocketfleet.errors import SnapshotUnusable
from pocketfleet.runtime import tables
from pocketfleet.runtime.databases import settle
from pocketfleet.runtime.still_files import open_at_rest


@dataclass(frozen=True, slots=True)
class SwitchedOff:
    """What had been on, and is off now."""

    mail: bool = False
    #: files of records; those that lie there are in no copy of ours
    s3: bool = False
    #: PocketBase's own backups
    backups_s3: bool = False


def switch_off(settings: dict[str, Any], *, mail: bool, s3: bool) -> SwitchedOff:
    """In these settings, as 0.22 and later have them; everything else in them stays."""
    return SwitchedOff(
        mail and _switch(settings, "smtp"),
        s3 and _switch(settings, "s3"),
        s3 and _switch(settings, "backups", "s3"),
    )


def write_settings(folder: Path, text: str) -> None:
    """As the settings of the `pb_data` below `folder`, an instance's that sleeps or a copy of ours, are stored.

    Blocks. Raises SnapshotUnusable, DiskTrouble.
    """
    path = folder / "pb_data" / "data.db"
    try:
        with open_at_rest(path, folder) as connection:
            column = "key" if "key" in tables.columns(connection, "_params") else "id"
            connection.execute(
                f"UPDATE _params SET value = ? WHERE {column} = 'settings'",  # noqa: S608 - one of two names
                [text],
            )
        settle(path)
    except sqlite3.Error as error:
        raise SnapshotUnusable(f"The settings cannot be written: {error}.", file="data.db") from error


def _switch(settings: dict[str, Any], *path: str) -> bool:
    """Whether it was on."""
    part: Any = settings
    for name in path:
        part = part.get(name) if isinstance(part, dict) else None
    if not isinstance(part, dict) or not part.get("enabled"):
        return False
    part["enabled"] = False
    return True
