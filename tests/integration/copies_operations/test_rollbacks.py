"""Going back: within the budget of the hold, with room for its own way back, and never with another release."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from pocketfleet.actions import copies
from pocketfleet.actions.upgrades import rollback_instance, set_release
from pocketfleet.domain.states import OperationState
from pocketfleet.models import Instance, Operation
from pocketfleet.operations import cutover, rollback
from tests.integration.copies_operations.yard import Yard


async def written_since(yard: Yard, version: str = "0.40.6") -> tuple[Instance, str]:
    """An instance with one post, a snapshot of it, and a second post."""
    instance = await yard.create(version=version)
    visitor = await yard.wake(instance)
    await visitor.make_posts()
    await visitor.post("one")
    made = await yard.ended(await yard.ask(copies.snapshot_instance, instance.id))
    await visitor.post("two")
    return instance, made.result["snapshot"]


async def gone_back(yard: Yard, instance: Instance, snapshot: str, state: OperationState) -> Operation:
    """Whatever is lost."""
    return await yard.ended(await yard.ask(rollback_instance, instance.id, snapshot, accept_loss=True), state)


async def test_without_room_for_its_way_back_nothing_is_changed(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    instance, snapshot = await written_since(yard)
    take = rollback.take_snapshot  # type: ignore[attr-defined]

    async def and_then_the_disk_is_full(work: Any, purpose: str, **options: Any) -> Any:
        manifest = await take(work, purpose, **options)
        if purpose == "checkpoint":
            monkeypatch.setattr(work.tools.snapshots, "free_bytes", lambda: manifest.bytes - 1)
        return manifest

    monkeypatch.setattr(rollback, "take_snapshot", and_then_the_disk_is_full)
    after = await gone_back(yard, instance, snapshot, OperationState.ROLLED_BACK)
    assert "Make room" in after.error["detail"]
    assert "not_undone" not in after.error
    assert await (await yard.wake(instance)).titles() == ["one", "two"]
    assert (await yard.row(instance)).hold == ""


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
    put_back = tools.snapshots.put_back

    async def while_somebody_waits(*arguments: Any) -> None:
        waiting.append(asyncio.create_task(tools.supervisor.ensure(instance.id, cause="a request from before")))
        await asyncio.sleep(0)
        await put_back(*arguments)

    monkeypatch.setattr(tools.snapshots, "put_back", while_somebody_waits)
    await gone_back(yard, instance, snapshot, OperationState.SUCCEEDED)
    await asyncio.gather(*waiting)
    assert waiting
    assert tools.supervisor.release(instance.id) == "0.36.9"
    assert await (await yard.wake(instance)).titles() == ["one"]
    said = "".join(path.read_text() for path in (yard.config.logs / instance.id).iterdir() if path.is_file())
    assert "PocketBase 0.36.9" in said
    assert "PocketBase 0.40.6" not in said
