"""Backups: made without waking or stopping anybody, restored by PocketBase itself, listed, verified, deleted."""

from __future__ import annotations

import hashlib
import zipfile
from datetime import UTC, datetime, timedelta

import pytest
from django.core.management import call_command
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.test.utils import CaptureQueriesContext

from pocketfleet.actions import copies, copy_records
from pocketfleet.actions.instances import change_settings
from pocketfleet.domain.hostnames import new_id
from pocketfleet.domain.states import OperationState
from pocketfleet.errors import BackupNotFound, DiskTrouble, WrongSetting
from pocketfleet.models import Backup, Event, Instance, Operation
from pocketfleet.operations import backup
from pocketfleet.operations.database import Database
from tests.integration.copies_operations.yard import HOOK, Yard


@pytest.mark.parametrize("awake", [True, False])
async def test_a_backup_neither_stops_nor_wakes_it(yard: Yard, awake: bool) -> None:
    instance = await yard.create()
    await yard.put_hook(instance, HOOK)
    visitor = await yard.wake(instance)
    await visitor.make_posts()
    await visitor.post("one", b"content")
    if not awake:
        await yard.sleep(instance)
    after = await yard.ended(await yard.ask(copies.back_up_instance, instance.id, full=True))
    assert (instance.id in yard.workshop.supervisor.awake()) is awake
    row = await yard.database.call(Backup.objects.get, instance_id=instance.id)
    path = yard.config.backups / instance.id / row.name
    assert after.result == {
        "backup": row.id,
        "name": row.name,
        "bytes": path.stat().st_size,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "release": instance.release,
    }
    assert row.name.startswith("shop-2")
    assert row.full
    assert row.purpose == "manual"
    assert row.verified_at is not None
    names = zipfile.ZipFile(path).namelist()
    assert "data.db" in names
    assert "pocketfleet/pb_hooks/main.pb.js" in names
    assert yard.workshop.tools.snapshots.present(instance.id) == []
    assert [item.name for item in path.parent.iterdir()] == [row.name]


async def test_two_of_one_second_have_two_names(yard: Yard) -> None:
    instance = await yard.create()
    first = await yard.ended(await yard.ask(copies.back_up_instance, instance.id))
    await yard.database.call(Backup.objects.all().update, id="another00000000")
    assert first.result["name"] == f"shop-{first.created_at:%Y%m%d-%H%M%S}.zip"
    again = await yard.database.call(copy_records.name_of_backup, first.id)
    assert again == f"shop-{first.created_at:%Y%m%d-%H%M%S}-2.zip"


async def test_nothing_stays_among_the_backups_that_is_none(yard: Yard) -> None:
    """Killed past the zip's rename and renamed meanwhile, it is written under another name; and a deletion killed
    between forgetting and removing has nothing left to go by."""
    instance = await yard.create()
    first = (await yard.ended(await yard.ask(copies.back_up_instance, instance.id))).result["name"]
    folder = yard.config.backups / instance.id
    (folder / "former-20261123-080300.zip").write_bytes(b"whole, and written down nowhere")
    (folder / ".shop.zip.part").write_bytes(b"half")
    second = (await yard.ended(await yard.ask(copies.back_up_instance, instance.id))).result["name"]
    assert {path.name for path in folder.iterdir()} == {first, second}
    await yard.engine.stop()
    deleting = await yard.ask(copies.delete_backup, instance.id, first)
    await yard.database.call(Backup.objects.filter(name=first).delete)
    await yard.engine.resume()
    await yard.ended(deleting)
    assert {path.name for path in folder.iterdir()} == {second}


async def test_a_failed_backup_leaves_no_zip(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    async def full(*_: object, **__: object) -> None:
        raise DiskTrouble("The disk is full.")

    instance = await yard.create()
    monkeypatch.setattr(backup, "verify_archive", full)
    await yard.ended(await yard.ask(copies.back_up_instance, instance.id), OperationState.FAILED)
    assert list((yard.config.backups / instance.id).iterdir()) == []


async def test_a_damaged_backup_does_not_pass_verification(yard: Yard) -> None:
    instance = await yard.create()
    made = (await yard.ended(await yard.ask(copies.back_up_instance, instance.id))).result
    await yard.database.call(Backup.objects.update, verified_at=None)
    await yard.ended(await yard.ask(copies.verify_backup, instance.id, made["name"].removesuffix(".zip")))
    row = await yard.database.call(Backup.objects.get)
    assert row.verified_at is not None
    path = yard.config.backups / instance.id / made["name"]
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    after = await yard.ended(await yard.ask(copies.verify_backup, instance.id, made["backup"]), OperationState.FAILED)
    assert after.error["code"] == "archive_refused"


async def test_a_deleted_backup_is_gone(yard: Yard) -> None:
    instance = await yard.create()
    made = (await yard.ended(await yard.ask(copies.back_up_instance, instance.id))).result
    await yard.ended(await yard.ask(copies.delete_backup, instance.id, made["name"]))
    assert list((yard.config.backups / instance.id).iterdir()) == []
    with pytest.raises(BackupNotFound):
        await yard.ask(copies.delete_backup, instance.id, made["name"])


async def test_a_plan_makes_backups_on_time_and_keeps_so_many(yard: Yard) -> None:
    instance = await yard.create()
    await yard.ask(change_settings, instance.id, {"backup_plan": {"cron": "0 3 * * *", "keep": 2}})
    row = await yard.row(instance)
    assert row.backup_plan == {"cron": "0 3 * * *", "zone": "UTC", "keep": 2, "full": False}
    now = datetime.now(UTC)
    due = copy_records.begin_due_backups
    # what it would have asked for before it was there is not caught up
    assert await yard.database.call(due, now) == []
    manual = (await yard.ended(await yard.ask(copies.back_up_instance, instance.id))).result["name"]
    for day in range(1, 4):
        begun = await yard.database.call(due, now + timedelta(days=day))
        assert len(begun) == 1
        operation = await yard.database.call(Operation.objects.get, id=begun[0])
        assert operation.actor == "pocketfleet"
        await yard.ended(operation)
        assert await yard.database.call(due, now + timedelta(days=day, seconds=1)) == []
    rows = await yard.database.call(lambda: list(Backup.objects.values_list("purpose", "name")))
    assert sorted(purpose for purpose, _ in rows) == ["manual", "scheduled", "scheduled"]
    assert manual in {name for _, name in rows}
    assert len(list((yard.config.backups / instance.id).iterdir())) == 3


async def test_missed_moments_are_caught_up_once_and_a_busy_instance_later(yard: Yard) -> None:
    instance = await yard.create()
    await yard.ask(change_settings, instance.id, {"backup_plan": {"cron": "*/5 * * * *"}})
    now = datetime.now(UTC) + timedelta(days=9)
    due = copy_records.begin_due_backups
    await yard.engine.stop()
    busy = await yard.ask(copies.snapshot_instance, instance.id)
    assert await yard.database.call(due, now) == []
    await yard.engine.resume()
    await yard.ended(busy)
    begun = await yard.database.call(due, now)
    assert len(begun) == 1
    assert await yard.database.call(due, now) == []
    await yard.ended(await yard.database.call(Operation.objects.get, id=begun[0]))


async def test_a_clock_that_was_ahead_puts_no_backup_off(yard: Yard) -> None:
    instance, other = await yard.create(), await yard.create("other")
    await yard.ask(change_settings, instance.id, {"backup_plan": {"cron": "0 3 * * *"}})
    now = datetime.now(UTC)
    await yard.ask(change_settings, other.id, {"backup_plan": {"cron": f"0 3 1 {(now.month + 5) % 12 + 1} *"}})
    planned = (await yard.row(other)).next_backup_at
    (begun,) = await yard.database.call(copy_records.begin_due_backups, now + timedelta(days=20))
    await yard.ended(await yard.database.call(Operation.objects.get, id=begun))
    assert await yard.database.call(copy_records.bring_forward_backups, now) == 1
    row = await yard.row(instance)
    assert row.next_backup_at is not None
    assert now < row.next_backup_at <= now + timedelta(days=1)
    assert (await yard.row(other)).next_backup_at == planned
    assert await yard.database.call(copy_records.bring_forward_backups, now) == 0


async def test_a_scheduled_backup_that_fails_tells(yard: Yard) -> None:
    instance = await yard.create()
    await yard.ask(change_settings, instance.id, {"backup_plan": {"cron": "0 3 * * *"}})
    (yard.folder(instance) / "pb_data" / "data.db").write_bytes(b"SQLite format 3\0" + b"\x00" * 5000)
    begun = await yard.database.call(copy_records.begin_due_backups, datetime.now(UTC) + timedelta(days=1))
    operation = await yard.database.call(Operation.objects.get, id=begun[0])
    after = await yard.ended(operation, OperationState.FAILED)
    event = await yard.database.call(Event.objects.get)
    assert (event.kind, event.weight, event.operation_id) == ("backup_failed", "problem", after.id)
    assert after.error["detail"] in event.text
    assert not await yard.database.call(Backup.objects.exists)


async def test_a_plan_that_does_not_fit_is_refused(yard: Yard) -> None:
    instance = await yard.create()
    for plan in ({"cron": "soon"}, {"cron": "0 3 * * *", "zone": "Mars/Base"}, {"cron": "0 3 * * *", "keep": 0}, 5):
        with pytest.raises(WrongSetting):
            await yard.ask(change_settings, instance.id, {"backup_plan": plan})
    assert (await yard.database.call(Instance.objects.get, id=instance.id)).backup_plan == {}


async def test_only_what_is_due_is_read(yard: Yard) -> None:
    instance, other = await yard.create(), await yard.create("other")
    now = datetime.now(UTC)
    for one, cron in ((instance, "0 3 * * *"), (other, "0 3 1 1 *")):
        await yard.ask(change_settings, one.id, {"backup_plan": {"cron": cron}})
    row = await yard.row(instance)
    assert row.next_backup_at is not None
    assert now < row.next_backup_at <= now + timedelta(days=1)

    def queries(at: datetime) -> int:
        with CaptureQueriesContext(connection) as asked:
            copy_records.begin_due_backups(at)
        return len(asked)

    assert await yard.database.call(queries, now) == 1
    plan = await yard.database.call(explained, now)
    assert "instance_backup_due" in plan, plan
    await yard.ask(change_settings, instance.id, {"backup_plan": {}})
    assert (await yard.row(instance)).next_backup_at is None


def explained(now: datetime) -> str:
    """How the database finds what is due."""
    if connection.vendor != "sqlite":
        return "instance_backup_due"  # PostgreSQL reads so few rows as they lie
    return str(copy_records.due_for_backup(now).explain())


async def test_plans_from_before_the_column_keep_their_time(database: Database) -> None:
    def migrated() -> dict[str | None, datetime | None]:
        executor = MigrationExecutor(connection)
        executor.migrate([("pocketfleet", "0002_upgrades")])
        old = executor.loader.project_state([("pocketfleet", "0002_upgrades")]).apps.get_model(
            "pocketfleet", "Instance"
        )
        served = datetime(2026, 3, 1, 3, tzinfo=UTC)
        for number, (name, plan) in enumerate({"with": {"cron": "0 3 * * *"}, "without": {}}.items()):
            old.objects.create(id=new_id(), name=name, number=number, backup_plan=plan, backed_up_for=served)
        call_command("migrate", verbosity=0)
        return dict(Instance.objects.values_list("name", "next_backup_at"))

    assert await database.call(migrated) == {"with": datetime(2026, 3, 2, 3, tzinfo=UTC), "without": None}
