"""What was read out of one clone's files, for the comparisons that need no running PocketBase."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pocketfleet.domain.releases import Version
from pocketfleet.runtime import inspect
from pocketfleet.runtime.tables import columns, named, opened

#: How the length of a field's value is measured, by the field's type.
_LENGTHS = {"text": "length({})", "editor": "length(CAST({} AS BLOB))", "json": "length(CAST({} AS BLOB))"}


@dataclass(frozen=True, slots=True)
class Inspected:
    """All of it as `release` stores it; see runtime/inspect.py for each."""

    release: Version
    collections: Sequence[Mapping[str, Any]]
    #: None where they are encrypted or were never saved
    settings: Mapping[str, Any] | None
    #: rows by table
    counts: Mapping[str, int]
    #: SHA-256 by table and column
    digests: Mapping[str, Mapping[str, str]]
    #: rows of `sqlite_master`
    master: Sequence[Mapping[str, Any]]
    #: file names of all migrations, PocketBase's and the tenant's
    migrations: Sequence[str] = ()
    #: the longest value of every text (characters), editor and json field (bytes), by table and column
    longest: Mapping[str, Mapping[str, int]] = field(default_factory=dict)


def read_data(data: Path, release: Version) -> Inspected:
    """Read a folder that holds `pb_data` of a clone that nothing runs on; blocks. Raises SnapshotUnusable."""
    collections = inspect.collections(data)
    return Inspected(
        release=release,
        collections=collections,
        settings=inspect.settings(data),
        counts=inspect.counts(data),
        digests=inspect.digests(data),
        master=inspect.sqlite_master(data),
        migrations=inspect.migrations_applied(data),
        longest=_longest(data, collections),
    )


def _longest(data: Path, collections: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {}
    with opened(data) as connection:
        for collection in collections:
            fields = collection.get("fields") or collection.get("schema") or []
            there = set(columns(connection, collection["name"])) if collection["type"] != "view" else set()
            measures = {one["name"]: _LENGTHS[one["type"]] for one in fields if one["type"] in _LENGTHS}
            names = [name for name in measures if name in there]
            if names:
                asked = ", ".join(f"max({measures[name].format(named(name))})" for name in names)
                row = connection.execute(f"SELECT {asked} FROM {named(collection['name'])}").fetchone()  # noqa: S608
                found[collection["name"]] = {name: row[number] or 0 for number, name in enumerate(names)}
    return found
