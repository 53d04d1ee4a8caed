"""What lies between two copies of an instance: records and files created, changed and deleted, by collection.

Collections are matched by their ids, so one that was renamed is not all deleted and all created; one that was made
anew, by its name. Records are compared
in the columns that both have: another release may have added some. Views have no records of their own.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from pocketfleet.errors import SnapshotUnusable
from pocketfleet.runtime.beneath import open_beneath, open_file, stat_beneath, walk_below
from pocketfleet.runtime.disk import opened_folder
from pocketfleet.runtime.guest import FOLDERS
from pocketfleet.runtime.still_files import quoted
from pocketfleet.runtime.tables import named, opened, tables

#: Ids or paths that are listed of each kind; the numbers are always whole.
LISTED = 1000
_CHUNK = 1 << 20
#: Ids that one question to SQLite carries.
_AT_ONCE = 500
#: Kept beside the real ones by PocketBase: previews of images, and notes of its file store.
_MADE_FROM_OTHERS = "thumbs_"
_NOTES = ".attrs"
#: What lies beside the data, the tenant's own.
_OWN = tuple(name for name in FOLDERS if name != "pb_data")
#: Tables of 0.22 that are collections from 0.23 on, with the ids that they get then.
_TO_COLLECTIONS = {"_admins": ("pbc_3142635823", "auth"), "_externalAuths": ("pbc_2281828961", "base")}


@dataclass(frozen=True, slots=True)
class Changed:
    """Numbers, and the first ids (of files: paths below `storage`) of each kind."""

    created: int = 0
    changed: int = 0
    deleted: int = 0
    created_ids: list[str] = field(default_factory=list)
    changed_ids: list[str] = field(default_factory=list)
    deleted_ids: list[str] = field(default_factory=list)

    @property
    def total(self) -> int:
        """All kinds together."""
        return self.created + self.changed + self.deleted


@dataclass(frozen=True, slots=True)
class Changes:
    """What happened from the old copy to the new one; only collections where something did."""

    records: dict[str, Changed]
    #: of all collections together
    files: Changed
    #: by the name of their collection, or by the folder's where no collection has it for an id
    files_of: dict[str, Changed]
    #: paths of files that the tenant put beside the data, hooks, migrations and public ones: `pb_public/index.html`
    own: Changed
    #: collections that came, went, or have other fields, rules or indexes
    schema: list[str]

    @property
    def nothing(self) -> bool:
        """Whether going back would lose no record and no file; an upgrade alone changes the schema."""
        return not self.records and self.files.total == 0 and self.own.total == 0

    @property
    def besides(self) -> dict[str, Any]:
        """All but the records, as JSON."""
        by_collection = {name: asdict(changed) for name, changed in self.files_of.items()}
        return {
            "files": asdict(self.files),
            "files_by_collection": by_collection,
            "own": asdict(self.own),
            "schema": self.schema,
        }


def changes_between(old: Path, new: Path, *, listed: int | None = LISTED) -> Changes:
    """What going back from `new` to `old` would lose; both hold a `pb_data` that nobody writes to.

    `listed`: so many ids are named, of each kind; None for all. Raises SnapshotUnusable.
    """
    with opened(new) as connection:
        was, now = _attached(connection, old), _collections(connection, "main")
        names = {key: str(found["name"]) for key, found in (was | now).items()}
        records = {}
        for name, before, after in _pairs(was, now):
            found = _records(connection, before, after, listed)
            if found.total:
                records[name] = found
    schema = sorted(name for key, name in names.items() if was.get(key) != now.get(key))
    files, files_of = _files(old, new, names, listed)
    return Changes(records=records, files=files, files_of=files_of, own=_own(old, new, listed), schema=schema)


def records(data: Path, collection: str, ids: Iterable[str]) -> Iterator[dict[str, Any]]:
    """The records with these ids as their table holds them; bytes become text. Raises SnapshotUnusable."""
    wanted = list(ids)
    with opened(data) as connection:
        if collection not in tables(connection):
            return
        for start in range(0, len(wanted), _AT_ONCE):
            some = wanted[start : start + _AT_ONCE]
            marks = ", ".join("?" * len(some))
            query = f"SELECT * FROM {named(collection)} WHERE id IN ({marks}) ORDER BY id"  # noqa: S608
            for row in connection.execute(query, some):
                yield {key: _readable(row[key]) for key in row.keys()}  # noqa: SIM118 - a Row is no dict


def _attached(connection: sqlite3.Connection, old: Path) -> dict[str, dict[str, Any]]:
    path = old / "pb_data" / "data.db"
    try:
        connection.execute("ATTACH ? AS old", [f"file:{quoted(path)}?mode=ro&immutable=1"])
    except sqlite3.Error as error:
        raise SnapshotUnusable(f"The older copy cannot be read: {error}.") from error
    return _collections(connection, "old")


def _collections(connection: sqlite3.Connection, where: str) -> dict[str, dict[str, Any]]:
    """By id, without the stamps; 0.22's own tables are collections here, with the ids that they get in 0.23."""
    rows = connection.execute(f"SELECT * FROM {where}._collections").fetchall()  # noqa: S608
    found = {
        row["id"]: {key: row[key] for key in row.keys() if key not in ("created", "updated")}  # noqa: SIM118
        for row in rows
    }
    there = {row["name"] for row in connection.execute(f"SELECT name FROM {where}.sqlite_master")}  # noqa: S608
    if "_admins" in there:
        for name, (key, kind) in _TO_COLLECTIONS.items():
            found[key] = {"name": name, "type": kind}
    return found


def _pairs(
    was: dict[str, dict[str, Any]], now: dict[str, dict[str, Any]]
) -> list[tuple[str, dict[str, Any] | None, dict[str, Any] | None]]:
    """Name, and collection before and after. One that was made anew under its old name is the same."""
    anew = {str(one["name"]): key for key, one in now.items() if key not in was}
    pairs: dict[str, tuple[dict[str, Any] | None, dict[str, Any] | None]]
    pairs = {key: (was.get(key), one) for key, one in now.items()}
    for key, one in was.items():
        if key not in now:
            same = anew.get(str(one["name"]))
            pairs[same or key] = (one, now[same] if same else None)
    named_pairs = [(str((after or before or {})["name"]), before, after) for before, after in pairs.values()]
    return sorted(named_pairs, key=lambda pair: pair[0])


def _records(
    connection: sqlite3.Connection, was: dict[str, Any] | None, now: dict[str, Any] | None, listed: int | None
) -> Changed:
    before = _table(connection, "old", was)
    after = _table(connection, "main", now)
    created = _ids(connection, after, before)
    deleted = _ids(connection, before, after)
    changed = _different(connection, before, after) if before and after else []
    return _numbered(created, changed, deleted, listed)


def _table(connection: sqlite3.Connection, where: str, collection: dict[str, Any] | None) -> str:
    """How a collection's table is named in a statement; "" where it has none with ids."""
    if collection is None or collection["type"] == "view":
        return ""
    name = str(collection["name"])
    present = connection.execute("SELECT 1 FROM pragma_table_info(?, ?) WHERE name = 'id'", [name, where])
    return f"{where}.{named(name)}" if present.fetchone() else ""


def _ids(connection: sqlite3.Connection, table: str, other: str) -> list[str]:
    if not table:
        return []
    without = f" WHERE id NOT IN (SELECT id FROM {other})" if other else ""  # noqa: S608
    return [str(row[0]) for row in connection.execute(f"SELECT id FROM {table}{without} ORDER BY id")]  # noqa: S608


def _different(connection: sqlite3.Connection, before: str, after: str) -> list[str]:
    both = set(_columns(connection, before)) & set(_columns(connection, after))
    unlike = " OR ".join(f"was.{named(name)} IS NOT now.{named(name)}" for name in sorted(both - {"id"}))
    if not unlike:
        return []
    query = f"SELECT now.id FROM {after} AS now JOIN {before} AS was ON was.id = now.id WHERE {unlike}"  # noqa: S608
    return [str(row[0]) for row in connection.execute(f"{query} ORDER BY now.id")]


def _columns(connection: sqlite3.Connection, table: str) -> list[str]:
    return [item[0] for item in connection.execute(f"SELECT * FROM {table} LIMIT 0").description]  # noqa: S608


def _files(old: Path, new: Path, names: Mapping[str, str], listed: int | None) -> tuple[Changed, dict[str, Changed]]:
    """All together, and by collection; `names` of those by their ids, which are names of folders in storage."""
    before, after = _stored(old, "pb_data/storage"), _stored(new, "pb_data/storage")
    kinds = (
        sorted(after.keys() - before.keys()),
        sorted(path for path in before.keys() & after.keys() if before[path] != after[path]),
        sorted(before.keys() - after.keys()),
    )
    of: dict[str, tuple[list[str], list[str], list[str]]] = {}
    for number, paths in enumerate(kinds):
        for path in paths:
            folder = path.partition("/")[0]
            of.setdefault(names.get(folder, folder), ([], [], []))[number].append(path)
    return _numbered(*kinds, listed), {name: _numbered(*of[name], listed) for name in sorted(of)}


def _own(old: Path, new: Path, listed: int | None) -> Changed:
    """Touching a file is no work: where times alone differ, contents are compared."""
    before: dict[str, tuple[int, int]] = {}
    after: dict[str, tuple[int, int]] = {}
    for name in _OWN:
        before |= {f"{name}/{path}": known for path, known in _stored(old, name).items()}
        after |= {f"{name}/{path}": known for path, known in _stored(new, name).items()}
    unlike = [path for path in before.keys() & after.keys() if before[path] != after[path]]
    changed = sorted(path for path in unlike if not _same_content(old, new, path))
    return _numbered(sorted(after.keys() - before.keys()), changed, sorted(before.keys() - after.keys()), listed)


def _numbered(created: list[str], changed: list[str], deleted: list[str], listed: int | None) -> Changed:
    return Changed(len(created), len(changed), len(deleted), created[:listed], changed[:listed], deleted[:listed])


def _same_content(old: Path, new: Path, path: str) -> bool:
    with contextlib.suppress(OSError), opened_folder(old) as one, opened_folder(new) as other:
        links = _link(one, path), _link(other, path)
        if None not in links:
            return links[0] == links[1]
        with open_file(one, path) as was, open_file(other, path) as now:
            while (piece := was.read(_CHUNK)) == now.read(_CHUNK):
                if not piece:
                    return True
    return False


def _link(folder: int, path: str) -> str | None:
    """Where a link leads; None of what is none."""
    place = PurePosixPath(path)
    if not stat.S_ISLNK(stat_beneath(folder, place).st_mode):
        return None
    parent = open_beneath(folder, str(place.parent), os.O_PATH | os.O_DIRECTORY)
    try:
        return os.readlink(place.name, dir_fd=parent)
    finally:
        os.close(parent)


def _stored(root: Path, name: str) -> dict[str, tuple[int, int]]:
    """Size and time of every file below a folder, by path below it; previews and notes are made anew by themselves."""

    def is_own(folder: PurePosixPath) -> bool:
        return not folder.name.startswith(_MADE_FROM_OTHERS)

    return {
        str(entry.path): (entry.known.st_size, entry.known.st_mtime_ns)
        for entry in walk_below(root, name, is_own)
        if not entry.path.name.endswith(_NOTES)
    }


def _readable(value: Any) -> Any:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
