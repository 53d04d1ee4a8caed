"""What was read out of one clone's files, for the comparisons that need no running PocketBase."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pocketfleet.domain.releases import Version
from pocketfleet.runtime import inspect


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


def read_data(data: Path, release: Version) -> Inspected:
    """Read a folder that holds `pb_data` of a clone that nothing runs on; blocks. Raises SnapshotUnusable."""
    return Inspected(
        release=release,
        collections=inspect.collections(data),
        settings=inspect.settings(data),
        counts=inspect.counts(data),
        digests=inspect.digests(data),
        master=inspect.sqlite_master(data),
        migrations=inspect.migrations_applied(data),
    )
