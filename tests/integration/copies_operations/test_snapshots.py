"""Snapshots: taken of awake and sleeping instances, written down, pruned by rule."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from pocketfleet.actions import copies, copy_records
from pocketfleet.actions.instances import change_settings
from pocketfleet.domain.states import OperationState
from pocketfleet.errors import Conflict, OperationOpen, SnapshotNotFound
from pocketfleet.models import Snapshot
from pocketfleet.operations.snapshot import prune_snapshots
from pocketfleet.runtime.manifest import Manifest
from pocketfleet.runtime.snapshots import SnapshotStore
from tests.integration.copies_operations.yard import Yard


@pytest.mark.parametrize("awake", [True, False])
async def test_a_snapshot_neither_stops_nor_wakes_it(yard: Yard, awake: bool) -> None:
    instance = await yard.create()
    visitor = await yard.wake(instance)
    await visitor.make_posts()
    await visitor.post("one", b"content")
    if not awake:
        await yard.sleep(instance)
    operation = await yard.ask(copies.snapshot_instance, instance.id, note="before the sale")
    after = await yard.ended(operation)
    assert (instance.id in yard.workshop.supervisor.awake()) is awake
    row = await yard.database.call(Snapshot.objects.get, instance_id=instance.id)
    assert (row.id, row.purpose, row.release) == (after.result["snapshot"], "manual", instance.release)
    assert row.note == "before the sale"
    assert row.manifest["counts"]["posts"] == 1
    assert row.manifest["awake"] is awake
    assert row.size == after.result["bytes"] > 100_000
    assert yard.workshop.tools.snapshots.present(instance.id) == [row.id]
    if awake:
        assert await visitor.titles() == ["one"]


async def test_a_copy_of_a_sleeping_one_gives_way_to_a_request(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    instance = await yard.create()
    copying = asyncio.Event()
    take = SnapshotStore.take

    async def slow(store: SnapshotStore, *arguments: Any, awake: bool, **options: Any) -> Manifest:
        if not awake:
            copying.set()
            await asyncio.Event().wait()
        return await take(store, *arguments, awake=awake, **options)

    monkeypatch.setattr(SnapshotStore, "take", slow)
    operation = await yard.ask(copies.snapshot_instance, instance.id)
    yard.engine.notice()
    await asyncio.wait_for(copying.wait(), 20)
    visitor = await asyncio.wait_for(yard.wake(instance), 20)
    await yard.ended(operation)
    row = await yard.database.call(Snapshot.objects.get)
    assert row.manifest["awake"] is True
    assert (await visitor.settings())["meta"]


async def test_only_one_thing_at_a_time(yard: Yard) -> None:
    instance = await yard.create()
    await yard.engine.stop()
    first = await yard.ask(copies.snapshot_instance, instance.id)
    with pytest.raises(OperationOpen):
        await yard.ask(copies.back_up_instance, instance.id)
    await yard.engine.resume()
    await yard.ended(first)
    await yard.ended(await yard.ask(copies.back_up_instance, instance.id))


async def test_the_rule_of_the_instance_outweighs_the_server_s_and_a_way_back_is_kept(yard: Yard) -> None:
    instance = await yard.create()
    taken = []
    for _ in range(4):
        taken.append((await yard.ended(await yard.ask(copies.snapshot_instance, instance.id))).result["snapshot"])
    await yard.database.call(Snapshot.objects.filter(id=taken[0]).update, kept_for="someoperation01")
    await yard.ask(change_settings, instance.id, {"retention": {"last": 1}})
    tools = replace(yard.workshop.tools, config=replace(yard.config, snapshots_last=2))
    assert await prune_snapshots(tools, instance.id) == taken[1:3]
    assert sorted(tools.snapshots.present(instance.id)) == sorted([taken[0], taken[3]])
    await yard.database.call(copy_records.let_snapshots_go, "someoperation01")
    assert await prune_snapshots(tools, instance.id) == taken[:1]
    assert await prune_snapshots(tools, instance.id) == []


async def test_a_snapshot_is_deleted_unless_it_is_a_way_back(yard: Yard) -> None:
    instance = await yard.create()
    taken = (await yard.ended(await yard.ask(copies.snapshot_instance, instance.id))).result["snapshot"]
    row = yard.database.call
    await row(Snapshot.objects.filter(id=taken).update, kept_for="someoperation01")
    with pytest.raises(Conflict, match="way back"):
        await yard.ask(copies.delete_snapshot, instance.id, taken)
    await row(copy_records.let_snapshots_go, "someoperation01")
    await yard.ended(await yard.ask(copies.delete_snapshot, instance.id, taken))
    assert yard.workshop.tools.snapshots.present(instance.id) == []
    with pytest.raises(SnapshotNotFound):
        await yard.ask(copies.delete_snapshot, instance.id, taken)


async def test_damaged_data_makes_no_snapshot_and_says_so(yard: Yard) -> None:
    instance = await yard.create()
    path = yard.folder(instance) / "pb_data" / "data.db"
    content = bytearray(path.read_bytes())
    content[8192:40960] = b"\x5a" * (40960 - 8192)
    path.write_bytes(content)
    after = await yard.ended(await yard.ask(copies.snapshot_instance, instance.id), OperationState.FAILED)
    assert after.error["code"] == "snapshot_unusable"
    assert yard.workshop.tools.snapshots.present(instance.id) == []
    assert not await yard.database.call(Snapshot.objects.exists)
