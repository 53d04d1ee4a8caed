"""Manifests, ages and changes: what is read out of copies."""

from __future__ import annotations

import json
import os
import sqlite3
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pocketfleet.config import Config
from pocketfleet.domain.releases import SCHEMA_BOUNDARIES
from pocketfleet.domain.system_migrations import SYSTEM_MIGRATIONS
from pocketfleet.errors import SnapshotNotFound, SnapshotUnusable
from pocketfleet.runtime import inspect
from pocketfleet.runtime.manifest import Manifest
from pocketfleet.runtime.snapshots import SnapshotStore
from pocketfleet.runtime.taking import fingerprints
from tests.unit.copies.folders import small_data

MANIFEST = Manifest(
    snapshot_id="one",
    instance_id="aaaaaaaaaaaaaaa",
    release="0.40.6",
    taken_at=datetime(2026, 11, 23, 8, 3, tzinfo=UTC),
    awake=True,
    bytes=1,
    files=1,
    counts={"notes": 3},
    fingerprints={"hooks": "a", "migrations": "b", "schema": "c"},
    took_ms=5,
    left_out=["x: a link"],
)


def test_a_manifest_survives_json() -> None:
    assert Manifest.from_json(json.loads(json.dumps(MANIFEST.as_json()))) == MANIFEST


@pytest.mark.parametrize(
    "value", [None, [], {}, {"version": "1"}, {"version": 1}, {**MANIFEST.as_json(), "version": 2}]
)
def test_what_is_no_manifest(value: object) -> None:
    with pytest.raises(SnapshotUnusable):
        Manifest.from_json(value)


def test_every_boundary_has_a_migration_that_tells_it_but_the_one_that_made_everything_anew() -> None:
    assert {*SYSTEM_MIGRATIONS.values()} == {boundary for boundary in SCHEMA_BOUNDARIES if str(boundary) != "0.8.0"}


@pytest.mark.parametrize(
    "migrations, expected",
    [
        (["1640988000_init.go"], ">=0.23.0 <0.33.0"),
        (["1763020353_update_default_auth_alert_templates.go"], ">=0.33.0 <0.38.1"),
        (["1778828400_normalize_indexes.go", "1718706525_add_login_alert_column.go"], ">=0.38.1"),
    ],
)
def test_ages(tmp_path: Path, migrations: list[str], expected: str) -> None:
    small_data(tmp_path, migrations=migrations)
    age = inspect.recognise(tmp_path)
    assert age.range == expected
    assert not age.old
    assert not age.unknown


def test_an_old_one_and_one_from_the_future(tmp_path: Path) -> None:
    data = small_data(
        tmp_path, migrations=["1718706525_add_login_alert_column.go", "1999999999_future.go"], settings="aGV4"
    )
    with sqlite3.connect(data / "data.db") as opened:
        opened.execute("ALTER TABLE _superusers RENAME TO _admins")
    opened.close()
    age = inspect.recognise(tmp_path)
    assert (age.range, age.old, age.encrypted) == (">=0.22.14 <0.23.0", True, True)
    assert age.unknown == ("1999999999_future.go",)
    assert inspect.settings(tmp_path) is None


def test_what_is_no_pocketbase(tmp_path: Path) -> None:
    with pytest.raises(SnapshotUnusable, match="cannot be read"):
        inspect.recognise(tmp_path)
    (tmp_path / "pb_data").mkdir()
    (tmp_path / "pb_data" / "data.db").touch()
    with pytest.raises(SnapshotUnusable, match="no collections"):
        inspect.recognise(tmp_path)


def _changed(folder: Path, *statements: str) -> Path:
    with sqlite3.connect(small_data(folder) / "data.db") as opened:
        for statement in statements:
            opened.execute(statement)
    opened.close()
    return folder


def test_files_beside_the_data_count_by_what_is_in_them(tmp_path: Path) -> None:
    old, new = (_changed(tmp_path / name, "SELECT 1") for name in ("old", "new"))
    for folder, files in (
        (old, {"pb_hooks/same.pb.js": "1", "pb_public/gone.html": "1", "pb_migrations/1.js": "1"}),
        (new, {"pb_hooks/same.pb.js": "1", "pb_public/a/new.html": "1", "pb_migrations/1.js": "2"}),
    ):
        for name, content in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(content)
    os.utime(new / "pb_hooks" / "same.pb.js", (1, 1))
    found = inspect.changes_between(old, new)
    own = (found.own.created_ids, found.own.changed_ids, found.own.deleted_ids)
    assert own == (["pb_public/a/new.html"], ["pb_migrations/1.js"], ["pb_public/gone.html"])
    assert not found.nothing


def test_changes_between_two_copies(tmp_path: Path) -> None:
    old = _changed(tmp_path / "old", "INSERT INTO notes VALUES ('a', '1'), ('b', '2'), ('c', '3')")
    new = _changed(
        tmp_path / "new",
        "INSERT INTO notes VALUES ('b', 'two'), ('c', '3'), ('d', '4')",
        "ALTER TABLE notes ADD COLUMN more TEXT DEFAULT 'of the new release'",
        "ALTER TABLE notes RENAME TO papers",
        "UPDATE _collections SET name = 'papers'",
        "INSERT INTO _collections VALUES ('c2', 'seen', 'view', '[]', '', '')",
        "CREATE VIEW seen AS SELECT * FROM papers",
    )
    for folder, files in (
        (old, {"c1/a/x": "1", "c1/b/y": "2", "gone/e/v": "5"}),
        (new, {"c1/b/y": "22", "c1/d/z": "4", "c1/d/thumbs_z/s": "4", "c1/d/z.attrs": "{}"}),
    ):
        for name, content in files.items():
            path = folder / "pb_data" / "storage" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
    found = inspect.changes_between(old, new)
    assert set(found.records) == {"papers"}
    notes = found.records["papers"]
    assert (notes.created_ids, notes.changed_ids, notes.deleted_ids) == (["d"], ["b"], ["a"])
    assert (found.files.created_ids, found.files.changed_ids, found.files.deleted_ids) == (
        ["c1/d/z"],
        ["c1/b/y"],
        ["c1/a/x", "gone/e/v"],
    )
    of = {name: (one.created_ids, one.changed_ids, one.deleted_ids) for name, one in found.files_of.items()}
    assert of == {"papers": (["c1/d/z"], ["c1/b/y"], ["c1/a/x"]), "gone": ([], [], ["gone/e/v"])}
    assert found.besides["files_by_collection"]["papers"]["created"] == 1
    assert found.schema == ["papers", "seen"]
    assert found.own.total == 0
    assert not found.nothing
    assert [row["word"] for row in inspect.records(new, "papers", notes.created_ids)] == ["4"]
    assert inspect.changes_between(new, new).nothing
    for path in [*old.rglob("*"), *new.rglob("*")]:
        assert not path.name.endswith(("-wal", "-shm"))


def test_digests_see_one_changed_value(tmp_path: Path) -> None:
    rows = ", ".join(f"('{number:05}', 'word {number}')" for number in range(2500))
    one = inspect.digests(_changed(tmp_path / "one", f"INSERT INTO notes VALUES {rows}"))
    same = inspect.digests(_changed(tmp_path / "same", f"INSERT INTO notes VALUES {rows}"))
    other = inspect.digests(
        _changed(
            tmp_path / "other", f"INSERT INTO notes VALUES {rows}", "UPDATE notes SET word = 'x' WHERE id = '02499'"
        )
    )
    assert one == same
    assert one["notes"]["id"] == other["notes"]["id"]
    assert one["notes"]["word"] != other["notes"]["word"]


async def test_a_folder_and_its_copy_have_the_same_fingerprints_whatever_lies_in_it(home: Path) -> None:
    live = home / "instances" / "aaaaaaaaaaaaaaa"
    small_data(live)
    for name in ("pb_hooks", "pb_migrations"):
        (live / name / "lib").mkdir(parents=True)
        (live / name / "lib" / "a.js").write_text(name)
        (live / name / "inside.js").symlink_to("lib/a.js")
        (live / name / "outside.js").symlink_to("/etc/hostname")
        os.mkfifo(live / name / "fifo")
    manifest = await SnapshotStore(Config(home=home)).take("aaaaaaaaaaaaaaa", "one", release="0.40.6", awake=False)
    assert fingerprints(live) == manifest.fingerprints
    assert len(manifest.left_out) == 4
    (live / "pb_hooks" / "inside.js").unlink()
    assert fingerprints(live)["hooks"] != manifest.fingerprints["hooks"]


async def test_what_the_store_says_of_what_is_not_sound(home: Path) -> None:
    store = SnapshotStore(Config(home=home))
    live = home / "instances" / "aaaaaaaaaaaaaaa"
    small_data(live)
    for name in ("pb_hooks", "pb_migrations"):
        (live / name).mkdir()
    with pytest.raises(SnapshotNotFound):
        store.manifest("aaaaaaaaaaaaaaa", "one")
    with pytest.raises(SnapshotNotFound):
        await store.put_back("aaaaaaaaaaaaaaa", "one")
    await store.take("aaaaaaaaaaaaaaa", "one", release="0.40.6", awake=False)
    await store.verify("aaaaaaaaaaaaaaa", "one")
    held = store.path("aaaaaaaaaaaaaaa", "one") / "pb_data" / "data.db"
    raw = bytearray(held.read_bytes())
    raw[8192:] = b"\xff" * (len(raw) - 8192)
    held.write_bytes(raw)
    with pytest.raises(SnapshotUnusable, match="damaged"):
        await store.verify("aaaaaaaaaaaaaaa", "one")
    held.write_bytes(raw[:4096])
    with pytest.raises(SnapshotUnusable, match="does not hold any more"):
        await store.put_back("aaaaaaaaaaaaaaa", "one")
    assert (live / "pb_data" / "data.db").stat().st_size > 4096


@pytest.mark.parametrize("how", ["link", "folder", "hard", "missing", "fifo"])
@pytest.mark.parametrize("awake", [True, False])
async def test_a_database_that_is_a_trap_is_refused(home: Path, how: str, awake: bool) -> None:
    store = SnapshotStore(Config(home=home))
    live, other = home / "instances" / "aaaaaaaaaaaaaaa", home / "other"
    small_data(other)
    (live / "pb_data").mkdir(parents=True)
    trap, secret = live / "pb_data" / "data.db", other / "pb_data" / "data.db"
    if how == "link":
        trap.symlink_to(secret)
    elif how == "hard":
        trap.hardlink_to(secret)
    elif how == "fifo":
        os.mkfifo(trap)
    elif how == "folder":
        trap.parent.rmdir()
        trap.parent.symlink_to(secret.parent)
    with pytest.raises(SnapshotUnusable):
        await store.take("aaaaaaaaaaaaaaa", "one", release="0.40.6", awake=awake)
    assert store.present("aaaaaaaaaaaaaaa") == []
    assert not list((home / "snapshots" / "aaaaaaaaaaaaaaa").iterdir())
    assert [path.name for path in (other / "pb_data").iterdir()] == ["data.db"]
