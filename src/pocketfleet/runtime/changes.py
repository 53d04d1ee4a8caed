"""What lies between two copies of an instance: records and files created, changed and deleted, by collection.

Collections are matched by their ids, so one that was renamed is not all deleted and all created; one that was made
anew, by its name. Records are compared
in the columns that both have: another release may have added some. Views have no records of their own.
"""

from __future__ import annotations

import contextlib
import filecmp
import os
import sqlite3
from collections.abc import Collection, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pocketfleet.errors import SnapshotUnusable
from pocketfleet.runtime.guest import FOLDERS
from pocketfleet.runtime.still_files import quoted
from pocketfleet.runtime.tables import named, opened, tables

#: Ids or paths that are listed of each kind; the numbers are always whole.
LISTED = 1000
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
    files: Changed
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
        return {"files": asdict(self.files), "own": asdict(self.own), "schema": self.schema}


def changes_between(old: Path, new: Path, *, listed: int | None = LISTED) -> Changes:
    """What going back from `new` to `old` would lose; both hold a `pb_data` that nobody writes to.

    `listed`: so many ids are named, of each kind; None for all. Raises SnapshotUnusable.
    """
    with opened(new) as connection:
        was, now = _attached(connection, old), _collections(connection, "main")
        records = {}
        for name, before, after in _pairs(was, now):
            found = _records(connection, before, after, listed)
            if found.total:
                records[name] = found
    schema = sorted(
        str((now.get(key) or was[key])["name"]) for key in was.keys() | now.keys() if was.get(key) != now.get(key)
    )
    files = _files(old / "pb_data" / "storage", new / "pb_data" / "storage", listed)
    return Changes(records=records, files=files, own=_own(old, new, listed), schema=schema)


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
    return Changed(len(created), len(changed), len(deleted), created[:listed], changed[:listed], deleted[:listed])


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


def _files(old: Path, new: Path, listed: int | None) -> Changed:
    before, after = _stored(old, old), _stored(new, new)
    return _changed(
        before, after, [path for path in before.keys() & after.keys() if before[path] != after[path]], listed
    )


def _own(old: Path, new: Path, listed: int | None) -> Changed:
    """Touching a file is no work: where times alone differ, contents are compared."""
    before: dict[str, tuple[int, int]] = {}
    after: dict[str, tuple[int, int]] = {}
    for name in _OWN:
        before |= _stored(old / name, old)
        after |= _stored(new / name, new)
    unlike = [path for path in before.keys() & after.keys() if before[path] != after[path]]
    return _changed(before, after, [path for path in unlike if not _same_content(old / path, new / path)], listed)


def _changed(before: Collection[str], after: Collection[str], unlike: Iterable[str], listed: int | None) -> Changed:
    created, changed, deleted = sorted({*after} - {*before}), sorted(unlike), sorted({*before} - {*after})
    return Changed(len(created), len(changed), len(deleted), created[:listed], changed[:listed], deleted[:listed])


def _same_content(one: Path, other: Path) -> bool:
    with contextlib.suppress(OSError):
        if one.is_symlink() or other.is_symlink():
            return one.is_symlink() and other.is_symlink() and one.readlink() == other.readlink()
        return filecmp.cmp(one, other, shallow=False)
    return False


def _stored(top: Path, root: Path) -> dict[str, tuple[int, int]]:
    """Size and time of every file below `top`, by path below `root`; previews and notes are made anew by themselves."""
    found = {}
    for folder, inner, names in os.walk(top):
        inner[:] = [name for name in inner if not name.startswith(_MADE_FROM_OTHERS)]
        for name in names:
            path = Path(folder) / name
            with contextlib.suppress(OSError):
                known = path.lstat()
                if not name.endswith(_NOTES):
                    found[str(path.relative_to(root))] = (known.st_size, known.st_mtime_ns)
    return found


def _readable(value: Any) -> Any:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
