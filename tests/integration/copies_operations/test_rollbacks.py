"""Going back: within the budget of the hold, back from that without room, and never with another release."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import pytest

from pocketfleet.actions import copies
from pocketfleet.actions.upgrades import rollback_instance, set_release
from pocketfleet.domain.hostnames import new_id
from pocketfleet.domain.states import OperationState
from pocketfleet.errors import DiskTrouble, StartFailed
from pocketfleet.models import Instance, Operation, Snapshot
from pocketfleet.operations import cutover, rollback, staging
from pocketfleet.runtime import inspect
from tests.integration.copies_operations.yard import PASSWORD, Yard


async def written_since(yard: Yard, version: str = "0.40.6") -> tuple[Instance, str]:
    """An instance with one post, a snapshot of it, and a second post."""
    instance = await yard.create(version=version)
    visitor = await yard.wake(instance)
    await visitor.make_posts()
    await visitor.post("one")
    made = await yard.ended(await yard.ask(copies.snapshot_instance, instance.id))
    await visitor.post("two")
    return instance, made.result["snapshot"]


async def purposes(yard: Yard, instance: Instance) -> list[str]:
    """Of its snapshots, the newest first."""
    return await yard.database.call(
        lambda: list(Snapshot.objects.filter(instance=instance).values_list("purpose", flat=True))
    )


async def gone_back(yard: Yard, instance: Instance, snapshot: str, state: OperationState) -> Operation:
    """Whatever is lost."""
    return await yard.ended(await yard.ask(rollback_instance, instance.id, snapshot, accept_loss=True), state)


async def test_without_room_for_the_older_data_nobody_waits(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    instance, snapshot = await written_since(yard)

    async def full(*_: object) -> None:
        raise DiskTrouble("The snapshot could not be copied: no space left.")

    monkeypatch.setattr(yard.workshop.tools.snapshots, "copy_to", full)
    after = await gone_back(yard, instance, snapshot, OperationState.FAILED)
    assert after.error["step"] == "stage"
    assert "not_undone" not in after.error
    assert await (await yard.wake(instance)).titles() == ["one", "two"]
    assert await purposes(yard, instance) == ["manual"]
    assert yard.incoming() == []


async def test_nothing_is_copied_in_the_hold_but_the_checkpoint(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    instance, snapshot = await written_since(yard)
    tools = yard.workshop.tools
    copied_held: list[bool] = []
    copy_to = tools.snapshots.copy_to

    async def watched(*arguments: Any) -> None:
        copied_held.append(yard.workshop.gate.holds(instance.id))
        await copy_to(*arguments)

    monkeypatch.setattr(tools.snapshots, "copy_to", watched)
    monkeypatch.delattr(type(tools.snapshots), "put_back")
    await gone_back(yard, instance, snapshot, OperationState.SUCCEEDED)
    assert copied_held == [False]
    assert await (await yard.wake(instance)).titles() == ["one"]
    assert await purposes(yard, instance) == ["checkpoint", "manual"]
    assert yard.incoming() == []


async def test_pocketbases_own_zips_stay(yard: Yard) -> None:
    instance, snapshot = await written_since(yard)
    zips = yard.folder(instance) / "pb_data" / "backups"
    zips.mkdir(exist_ok=True)
    (zips / "own.zip").write_bytes(b"zip")
    await gone_back(yard, instance, snapshot, OperationState.SUCCEEDED)
    assert (zips / "own.zip").read_bytes() == b"zip"


async def test_asking_leaves_no_copy_behind(yard: Yard) -> None:
    instance, snapshot = await written_since(yard)
    after = await yard.ended(await yard.ask(rollback_instance, instance.id, snapshot), OperationState.ASKING)
    assert after.result["lost"]["records"]["posts"]["created"] == 1
    assert await purposes(yard, instance) == ["manual"]
    assert yard.workshop.tools.snapshots.present(instance.id) == [snapshot]


async def test_the_way_back_takes_no_room(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    instance, snapshot = await written_since(yard)

    async def full(*_: object) -> None:
        raise DiskTrouble("The disk is full.")

    async def fails(*_: object) -> str:
        for name in ("put_back", "copy_to", "take"):
            monkeypatch.setattr(yard.workshop.tools.snapshots, name, full)
        raise StartFailed("the disk is full", 1)

    monkeypatch.setattr(cutover, "start_unpublished", fails)
    after = await gone_back(yard, instance, snapshot, OperationState.ROLLED_BACK)
    monkeypatch.undo()
    assert "not_undone" not in after.error
    assert await (await yard.wake(instance)).titles() == ["one", "two"]
    assert yard.incoming() == []


async def test_a_start_that_takes_too_long_is_taken_back(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    instance, snapshot = await written_since(yard)

    async def never(*_: object) -> str:
        await asyncio.Event().wait()
        return ""

    monkeypatch.setattr(cutover, "BUDGET", rollback.WAY_BACK + 5)
    monkeypatch.setattr(cutover, "start_unpublished", never)
    after = await gone_back(yard, instance, snapshot, OperationState.ROLLED_BACK)
    assert after.error["code"] == "hold_too_long"
    assert await (await yard.wake(instance)).titles() == ["one", "two"]


async def test_who_waits_for_it_meanwhile_wakes_the_older_release(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    instance, snapshot = await written_since(yard, "0.36.9")
    tools = yard.workshop.tools
    await yard.sleep(instance)
    await yard.database.call(set_release, instance.id, "0.40.6")
    await tools.fleet.renew([instance.id])
    waiting: list[asyncio.Task[str]] = []
    put_in_place = staging.put_in_place

    async def while_somebody_waits(*arguments: Any, **options: Any) -> None:
        waiting.append(asyncio.create_task(tools.supervisor.ensure(instance.id, cause="a request from before")))
        await asyncio.sleep(0)
        await put_in_place(*arguments, **options)

    monkeypatch.setattr(staging, "put_in_place", while_somebody_waits)
    await gone_back(yard, instance, snapshot, OperationState.SUCCEEDED)
    await asyncio.gather(*waiting)
    assert waiting
    assert tools.supervisor.release(instance.id) == "0.36.9"
    assert await (await yard.wake(instance)).titles() == ["one"]
    said = "".join(path.read_text() for path in (yard.config.logs / instance.id).iterdir() if path.is_file())
    assert "PocketBase 0.36.9" in said
    assert "PocketBase 0.40.6" not in said


async def test_it_goes_back_unasked_only_where_nobody_changed_anything(yard: Yard) -> None:
    instance = await yard.create()
    # before it runs: a changed hook makes PocketBase restart itself, and for a moment nobody listens
    for place in ("pb_hooks/util.js", "pb_public/index.html"):
        (yard.folder(instance) / place).write_text("before")
    visitor = await yard.wake(instance)
    await visitor.make_posts()

    async def unasked(change: Callable[[], Awaitable[Any]]) -> Operation:
        """A snapshot as the switch left it, a change since, and going back by itself."""
        snapshot = (await yard.ended(await yard.ask(copies.snapshot_instance, instance.id))).result["snapshot"]
        data = yard.workshop.tools.snapshots.path(instance.id, snapshot)
        made = {"schema": inspect.schema_fingerprint(data), "settings": inspect.settings_fingerprint(data)}
        await change()
        opened: Operation = await yard.ask(rollback_instance, instance.id, snapshot, by_itself=True, **made)
        return opened

    back = await unasked(lambda: visitor.settings(meta={"appName": "Another"}))
    asked = await yard.ended(back, OperationState.ASKING)
    assert (asked.result["lost"]["records"], asked.result["lost"]["own"]["changed"]) == ({}, 0)

    for place in ("pb_public/index.html", "pb_public/new.html"):
        back = await unasked(partial(asyncio.to_thread, (yard.folder(instance) / place).write_text, new_id()))
        asked = await yard.ended(back, OperationState.ASKING)
        own = asked.result["lost"]["own"]
        assert [*own["changed_ids"], *own["created_ids"]] == [place]

    body = {"email": "other@example.org", "password": PASSWORD, "passwordConfirm": PASSWORD}
    back = await unasked(lambda: visitor.client.post("/api/collections/_superusers/records", json=body))
    asked = await yard.ended(back, OperationState.ASKING)
    assert asked.result["lost"]["records"]["_superusers"]["created"] == 1

    back = await unasked(visitor.titles)
    assert (await yard.ended(back)).state == OperationState.SUCCEEDED

    # last: PocketBase restarts itself for it
    place = "pb_hooks/util.js"
    back = await unasked(partial(asyncio.to_thread, (yard.folder(instance) / place).write_text, new_id()))
    asked = await yard.ended(back, OperationState.ASKING)
    assert asked.result["lost"]["own"]["changed_ids"] == [place]
