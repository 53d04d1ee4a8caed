"""How a snapshot is taken: storage, databases, storage again, then read and counted before it may be believed."""

from __future__ import annotations

import sqlite3
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pocketfleet.errors import SnapshotUnusable
from pocketfleet.runtime import inspect
from pocketfleet.runtime.copying import Copied, copy_file, copy_tree, measure
from pocketfleet.runtime.databases import (
    check,
    copy_asleep,
    copy_awake,
    database_names,
    is_database,
    is_database_file,
)
from pocketfleet.runtime.errands import Errand
from pocketfleet.runtime.fingerprints import folder_fingerprint
from pocketfleet.runtime.ledgers import Ledger
from pocketfleet.runtime.manifest import Manifest

#: Names in `pb_data` that PocketBase leaves out of its own backups, too: its zips, and what it is about to delete.
PASSED_OVER = ("backups", ".pb_temp_to_delete")
_STORAGE = "pb_data/storage/"


@dataclass(frozen=True, slots=True)
class Request:
    """What to take a snapshot of."""

    instance_id: str
    snapshot_id: str
    release: str
    #: the instance's own folder
    live: Path
    awake: bool
    #: data of an earlier snapshot
    base: Path | None
    thorough: bool


@dataclass(frozen=True, slots=True)
class Prepared:
    """Files that were copied ahead: what they were then, and how many of them an earlier snapshot holds, too."""

    ledger: Ledger
    linked: int


def prepare(request: Request, target: Path, errand: Errand) -> Prepared:
    """Copy everything but the databases ahead, while everything goes on, for a `take` into the same folder. Not
    flushed. Raises DiskTrouble, OSError."""
    ledger = Ledger()
    copied = _files(request, target, errand, notes=ledger)
    return Prepared(ledger, copied.linked)


def take(request: Request, target: Path, errand: Errand, prepared: Prepared | None = None) -> Manifest:
    """Make the copy in the folder `target`: it is not there yet, or was prepared. Not flushed.

    With `prepared` only folders in which something came, went or changed since are written to; a target whose ledger
    was lost is compared file by file.
    Raises SnapshotUnusable, DiskTrouble, OSError.
    """
    began = time.monotonic()
    known = Ledger() if request.awake else None
    copied = again = _files(request, target, errand, notes=known, since=prepared.ledger if prepared else None)
    files_ms = _ms(began)
    taken_at = datetime.now(UTC)
    databases = _databases(request, target, errand)
    if request.awake:
        again = _files(request, target, errand, since=known, exact=False)
    counts = verified(target, errand, thorough=request.thorough)
    whole = Copied(databases.files + copied.files, databases.bytes + copied.bytes)
    if request.awake:
        # what went away since the first pass is in it: the databases may name it
        whole = measure(target)
    return Manifest(
        snapshot_id=request.snapshot_id,
        instance_id=request.instance_id,
        release=request.release,
        taken_at=taken_at,
        awake=request.awake,
        bytes=whole.bytes,
        files=whole.files,
        counts=counts,
        fingerprints=fingerprints(target),
        took_ms=_ms(began),
        files_ms=files_ms,
        linked=prepared.linked if prepared else copied.linked,
        thorough=request.thorough,
        left_out=again.left_out + _elsewhere(target),
    )


def verified(data: Path, errand: Errand, *, thorough: bool) -> dict[str, int]:
    """Open every database of a copy; rows by table of `data.db`. Raises SnapshotUnusable."""
    folder = data / "pb_data"
    for name in database_names(folder):
        errand.say(None, f"checking {name}")
        if is_database(folder / name):
            check(folder / name, thorough=thorough)
    return inspect.counts(data)


def fingerprints(data: Path, *, live: bool = False) -> dict[str, str]:
    """What must still be so at the switch: SHA-256 of hooks, migrations and schema. `live`: it may be written to."""
    return {**own_fingerprints(data), "schema": inspect.schema_fingerprint(data, live=live)}


def own_fingerprints(data: Path) -> dict[str, str]:
    """SHA-256 of the hooks and of the migrations, which are files of the instance's owner."""
    return {
        "hooks": folder_fingerprint(data / "pb_hooks"),
        "migrations": folder_fingerprint(data / "pb_migrations"),
    }


def is_passed_over(path: str) -> bool:
    """Whether a path in an instance's folder is in no snapshot."""
    return path.startswith("pb_data/") and path.removeprefix("pb_data/") in PASSED_OVER


def _elsewhere(data: Path) -> list[str]:
    """A word about files that no copy on this disk can hold."""
    s3 = (inspect.settings(data) or {}).get("s3")
    on = isinstance(s3, dict) and s3.get("enabled")
    return ["uploaded files: they are in S3, and stay as they are there"] if on else []


def _is_not_a_plain_file(path: str) -> bool:
    top, _, name = path.partition("/")
    return is_passed_over(path) or (top == "pb_data" and "/" not in name and is_database_file(name))


def _is_storage(path: str) -> bool:
    return path.startswith(_STORAGE)


def _files(
    request: Request,
    target: Path,
    errand: Errand,
    *,
    notes: Ledger | None = None,
    since: Ledger | None = None,
    exact: bool = True,
) -> Copied:
    """Everything but the databases; with `since` only what came, went or changed."""
    errand.say(None, "copying files")
    return copy_tree(
        request.live,
        target,
        errand,
        skip=_is_not_a_plain_file,
        base=request.base,
        linkable=_is_storage,
        exact=exact,
        notes=notes,
        since=since,
    )


def _databases(request: Request, target: Path, errand: Errand) -> Copied:
    live, folder = request.live / "pb_data", target / "pb_data"
    for path in folder.iterdir() if folder.is_dir() else ():
        if is_database_file(path.name):
            path.unlink()  # of a try that was broken off
    for name in database_names(live):
        errand.say(None, f"copying {name}")
        copy = copy_awake if request.awake else copy_asleep
        try:
            copy(live / name, request.live, folder / name, errand)
        except sqlite3.Error as error:
            if name == "data.db" or "not a database" not in str(error):
                raise SnapshotUnusable(f"The database {name} cannot be copied: {error}.", file=name) from error
            (folder / name).unlink(missing_ok=True)
            copy_file(live / name, folder / name, errand)
    if not (folder / "data.db").exists():
        raise SnapshotUnusable("The instance has no data.db, so there is nothing to take.", file="data.db")
    sizes = [path.stat().st_size for path in folder.iterdir() if is_database_file(path.name)]
    return Copied(len(sizes), sum(sizes))


def _ms(began: float) -> int:
    return round((time.monotonic() - began) * 1000)
