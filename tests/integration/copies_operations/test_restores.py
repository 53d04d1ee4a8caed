"""Restores: from snapshots, backups and uploads; the release that fits; and the way back."""

from __future__ import annotations

import asyncio
import sqlite3
import zipfile
from pathlib import Path
from typing import Any

import pytest

from pocketfleet.actions import copies
from pocketfleet.actions.copies import Origin, Rehearsing
from pocketfleet.domain.states import OperationState
from pocketfleet.errors import SnapshotNotFound, UploadNotFound, WrongUsage
from pocketfleet.models import Backup, Event, Instance, Snapshot
from pocketfleet.operations import cutover, restore
from tests.integration.copies_operations.yard import HOOK, Visitor, Yard

#: What rehearsals find is told by test_rehearsed_restores.py; these are about what comes after.
AT_ONCE = Rehearsing(rehearse=False)


async def with_posts(yard: Yard, version: str) -> tuple[Instance, Visitor]:
    """A record and a file."""
    instance = await yard.create(version=version)
    visitor = await yard.wake(instance)
    await visitor.make_posts()
    await visitor.post("one", b"content of one")
    return instance, visitor


@pytest.mark.parametrize("version, kind", [("0.22.27", "snapshot"), ("0.40.6", "backup"), ("0.23.12", "upload")])
async def test_what_was_there_is_there_again(yard: Yard, version: str, kind: str) -> None:
    instance, _ = await with_posts(yard, version)
    hook = await yard.put_hook(instance, HOOK)
    origin = await copied(yard, instance, kind)
    await yard.put_hook(instance, HOOK.replace("/hello", "/later"))
    await (await yard.wake(instance)).post("two")
    after = await yard.ended(await yard.ask(copies.restore_instance, instance.id, origin, AT_ONCE))
    assert after.result["release"] == version
    assert after.result["held_ms"] > 0
    visitor = await yard.wake(instance)
    assert await visitor.titles() == ["one"]
    # a snapshot has the hooks, too; a zip without them leaves them as they are
    assert hook.read_text() == (HOOK if kind == "snapshot" else HOOK.replace("/hello", "/later"))
    row = await yard.row(instance)
    assert (row.hold, row.release, row.range) == ("", version, version)
    kept = await yard.database.call(Snapshot.objects.get, id=after.result["snapshot"])
    assert (kept.purpose, kept.kept_for, kept.manifest["counts"]["posts"]) == ("checkpoint", "", 2)
    assert yard.incoming() == []
    # and back again
    back = Origin(snapshot=kept.id)
    await yard.ended(await yard.ask(copies.restore_instance, instance.id, back))
    assert await (await yard.wake(instance)).titles() == ["one", "two"]


async def copied(yard: Yard, instance: Instance, kind: str) -> Origin:
    """A copy of this kind."""
    if kind == "snapshot":
        made = await yard.ended(await yard.ask(copies.snapshot_instance, instance.id))
        return Origin(snapshot=made.result["snapshot"])
    made = await yard.ended(await yard.ask(copies.back_up_instance, instance.id))
    if kind == "backup":
        return Origin(backup=made.result["name"])
    return Origin(upload=yard.upload(yard.config.backups / instance.id / made.result["name"]))


async def test_a_full_backup_brings_its_hooks_back(yard: Yard) -> None:
    instance, _ = await with_posts(yard, "0.40.6")
    hook = await yard.put_hook(instance, HOOK)
    made = await yard.ended(await yard.ask(copies.back_up_instance, instance.id, full=True))
    hook.unlink()
    await yard.ended(await yard.ask(copies.restore_instance, instance.id, Origin(backup=made.result["name"])))
    assert hook.read_text() == HOOK
    assert await (await yard.wake(instance)).status("/hello") == 200


@pytest.mark.parametrize("old, new", [("0.22.27", "0.40.6"), ("0.40.6", "0.22.27")])
async def test_the_release_is_chosen_to_fit_the_data(yard: Yard, old: str, new: str) -> None:
    source, visitor = await with_posts(yard, old)
    made = await yard.ended(await yard.ask(copies.back_up_instance, source.id))
    upload = yard.upload(yard.config.backups / source.id / made.result["name"])
    target = await yard.create("other", new)
    after = await yard.ended(await yard.ask(copies.restore_instance, target.id, Origin(upload=upload), AT_ONCE))
    row = await yard.row(target)
    assert (after.result["from"], after.result["release"], row.release) == (new, old, old)
    assert row.range == after.result["range"] == f"~{old}"
    event = await yard.database.call(Event.objects.get, kind="restored")
    assert old in event.text
    assert new in event.text
    restored = await yard.wake(target)
    assert await restored.titles() == ["one"]
    assert restored.old == visitor.old


async def test_its_own_release_stays_where_it_fits(yard: Yard) -> None:
    source, _ = await with_posts(yard, "0.23.12")
    made = await yard.ended(await yard.ask(copies.back_up_instance, source.id))
    upload = yard.upload(yard.config.backups / source.id / made.result["name"])
    target = await yard.create("other", "0.30.4")
    await yard.ended(await yard.ask(copies.restore_instance, target.id, Origin(upload=upload), AT_ONCE))
    row = await yard.row(target)
    assert (row.release, row.range) == ("0.30.4", "0.30.4")


async def test_pocketbase_s_own_zips_stay(yard: Yard) -> None:
    instance, visitor = await with_posts(yard, "0.40.6")
    origin = await copied(yard, instance, "snapshot")
    assert (await visitor.client.post("/api/backups", json={"name": "own.zip"})).status_code == 204
    await yard.ended(await yard.ask(copies.restore_instance, instance.id, origin, AT_ONCE))
    assert (yard.folder(instance) / "pb_data" / "backups" / "own.zip").exists()


async def test_a_zip_of_pocketbase_s_own_is_restored(yard: Yard) -> None:
    instance, visitor = await with_posts(yard, "0.36.9")
    assert (await visitor.client.post("/api/backups", json={"name": "own.zip"})).status_code == 204
    upload = yard.upload(yard.folder(instance) / "pb_data" / "backups" / "own.zip")
    await visitor.post("two")
    await yard.ended(await yard.ask(copies.restore_instance, instance.id, Origin(upload=upload), AT_ONCE))
    assert await (await yard.wake(instance)).titles() == ["one"]


async def test_what_does_not_start_goes_back(yard: Yard) -> None:
    instance, visitor = await with_posts(yard, "0.40.6")
    made = await yard.ended(await yard.ask(copies.back_up_instance, instance.id))
    broken = yard.config.home / "broken.zip"
    with_a_broken_collection(yard.config.backups / instance.id / made.result["name"], broken)
    await visitor.post("two")
    operation = await yard.ask(copies.restore_instance, instance.id, Origin(upload=yard.upload(broken)), AT_ONCE)
    after = await yard.ended(operation, OperationState.ROLLED_BACK)
    assert after.error["step"] in ("start", "verify"), after.error
    visitor = await yard.wake(instance)
    assert await visitor.titles() == ["one", "two"]
    row = await yard.row(instance)
    assert (row.hold, row.release, row.range) == ("", "0.40.6", "0.40.6")
    assert (await yard.database.call(Snapshot.objects.get, purpose="checkpoint")).kept_for == ""
    events = await yard.database.call(lambda: list(Event.objects.values_list("kind", "weight")))
    assert events == [("restore_failed", "problem")]
    # the upload stays for a while, what was unpacked of it does not
    assert [name.partition(".")[2] for name in yard.incoming()] == ["zip"]


def with_a_broken_collection(archive: Path, target: Path) -> None:
    """The same zip, but a table of its collection is missing: sound for SQLite, and nothing works."""
    database = target.with_suffix(".db")
    with zipfile.ZipFile(archive) as source, zipfile.ZipFile(target, "w") as packed:
        database.write_bytes(source.read("data.db"))
        connection = sqlite3.connect(database, isolation_level=None)
        connection.execute("PRAGMA journal_mode = DELETE")
        connection.execute("DROP TABLE posts")
        connection.close()
        for name in source.namelist():
            packed.writestr(name, database.read_bytes() if name == "data.db" else source.read(name))


async def test_a_hostile_upload_changes_nothing_and_is_refused_in_plain_words(yard: Yard, home: Path) -> None:
    instance, _ = await with_posts(yard, "0.40.6")
    hostile = home / "hostile.zip"
    with zipfile.ZipFile(hostile, "w") as packed:
        packed.writestr("../../outside.txt", "x")
        packed.writestr("data.db", "x")
    operation = await yard.ask(copies.restore_instance, instance.id, Origin(upload=yard.upload(hostile)))
    after = await yard.ended(operation, OperationState.FAILED)
    assert after.error["code"] == "archive_refused"
    assert list(yard.workshop.supervisor.awake()) == [instance.id]
    assert not (home / "outside.txt").exists()
    assert await (await yard.wake(instance)).titles() == ["one"]


async def test_damaged_data_is_replaced_and_kept_aside(yard: Yard) -> None:
    instance, _ = await with_posts(yard, "0.40.6")
    origin = await copied(yard, instance, "backup")
    await yard.sleep(instance)
    path = yard.folder(instance) / "pb_data" / "data.db"
    path.write_bytes(b"SQLite format 3\0" + b"\xff" * 9000)
    after = await yard.ended(await yard.ask(copies.restore_instance, instance.id, origin, AT_ONCE))
    assert after.result["snapshot"] is None
    assert await (await yard.wake(instance)).titles() == ["one"]
    kept = yard.config.quarantine_folder / f"{instance.id}-{after.id}"
    assert (kept / "pb_data" / "data.db").read_bytes().endswith(b"\xff" * 9000)
    event = await yard.database.call(Event.objects.get, kind="kept_aside")
    assert str(kept) in event.text


async def test_what_was_written_after_the_snapshot_is_kept_aside(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    instance, visitor = await with_posts(yard, "0.40.6")
    origin = await copied(yard, instance, "snapshot")
    take = restore.take_snapshot  # type: ignore[attr-defined]

    async def and_then_somebody_writes(*arguments: Any, **options: Any) -> object:
        manifest = await take(*arguments, **options)
        await visitor.post("acknowledged")
        return manifest

    monkeypatch.setattr(restore, "take_snapshot", and_then_somebody_writes)
    await yard.ended(await yard.ask(copies.restore_instance, instance.id, origin, AT_ONCE))
    assert await (await yard.wake(instance)).titles() == ["one"]
    (kept,) = yard.config.quarantine_folder.iterdir()
    with sqlite3.connect(kept / "pb_data" / "data.db") as database:
        assert database.execute("SELECT title FROM posts ORDER BY title").fetchall() == [("acknowledged",), ("one",)]
    told = await yard.database.call(Event.objects.get, instance_id=instance.id, kind="kept_aside")
    assert "after its snapshot" in told.text
    assert yard.incoming() == []


async def test_data_without_a_superuser_is_refused(yard: Yard, home: Path) -> None:
    instance, _ = await with_posts(yard, "0.22.27")
    made = await yard.ended(await yard.ask(copies.back_up_instance, instance.id))
    source, target = yard.config.backups / instance.id / made.result["name"], home / "ownerless.zip"
    database = home / "ownerless.db"
    with zipfile.ZipFile(source) as opened, zipfile.ZipFile(target, "w") as packed:
        database.write_bytes(opened.read("data.db"))
        connection = sqlite3.connect(database, isolation_level=None)
        connection.execute("DELETE FROM _admins")
        connection.close()
        packed.write(database, "data.db")
    operation = await yard.ask(copies.restore_instance, instance.id, Origin(upload=yard.upload(target)), AT_ONCE)
    after = await yard.ended(operation, OperationState.FAILED)
    assert "superuser" in after.error["detail"]


async def test_requests_wait_while_it_is_replaced(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    instance, _ = await with_posts(yard, "0.40.6")
    origin = await copied(yard, instance, "snapshot")
    reached, go_on = asyncio.Event(), asyncio.Event()
    verify = restore.verify  # type: ignore[attr-defined]

    async def slow(*arguments: object) -> object:
        reached.set()
        await go_on.wait()
        return await verify(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(restore, "verify", slow)
    operation = await yard.ask(copies.restore_instance, instance.id, origin, AT_ONCE)
    yard.engine.notice()
    await asyncio.wait_for(reached.wait(), 30)
    assert yard.workshop.gate.holds(instance.id)
    assert (await yard.row(instance)).hold == operation.id
    # it runs, and nobody but us knows where
    assert instance.id in yard.workshop.supervisor.awake()
    assert instance.id not in (yard.config.edge / "upstreams.map").read_text()
    go_on.set()
    await yard.ended(operation)
    assert not yard.workshop.gate.holds(instance.id)
    assert instance.id in (yard.config.edge / "upstreams.map").read_text()


async def test_one_that_takes_too_long_goes_back(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    instance, visitor = await with_posts(yard, "0.40.6")
    origin = await copied(yard, instance, "snapshot")
    await visitor.post("two")
    monkeypatch.setattr(cutover, "BUDGET", restore.WAY_BACK)
    operation = await yard.ask(copies.restore_instance, instance.id, origin, AT_ONCE)
    after = await yard.ended(operation, OperationState.ROLLED_BACK)
    assert after.error["code"] == "hold_too_long"
    assert await (await yard.wake(instance)).titles() == ["one", "two"]


async def test_a_sleeping_one_that_is_switched_off_is_restored_and_stays_off(yard: Yard) -> None:
    instance, _ = await with_posts(yard, "0.40.6")
    origin = await copied(yard, instance, "backup")
    await yard.sleep(instance)
    await yard.database.call(Instance.objects.filter(id=instance.id).update, power="off")
    await yard.ended(await yard.ask(copies.restore_instance, instance.id, origin, AT_ONCE))
    assert (await yard.row(instance)).power == "off"
    # it was started to be looked at, and for nobody else
    assert instance.id not in yard.workshop.supervisor.awake()
    assert instance.id not in (yard.config.edge / "upstreams.map").read_text()


async def test_what_is_not_there_is_refused_at_once(yard: Yard) -> None:
    instance = await yard.create()
    for origin in (Origin(), Origin(snapshot="a", backup="b")):
        with pytest.raises(WrongUsage):
            await yard.ask(copies.restore_instance, instance.id, origin, AT_ONCE)
    with pytest.raises(SnapshotNotFound):
        await yard.ask(copies.restore_instance, instance.id, Origin(snapshot="000000000000000"))
    with pytest.raises(UploadNotFound):
        await yard.ask(copies.restore_instance, instance.id, Origin(upload="../../etc/passwd"))
    operation = await yard.ask(copies.restore_instance, instance.id, Origin(upload="000000000000000"))
    after = await yard.ended(operation, OperationState.FAILED)
    assert after.error["code"] == "upload_not_found"
    assert not await yard.database.call(Backup.objects.exists)
