"""What somebody asks for wins over an upgrade that nobody asked for, as long as nobody feels that one."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from pocketfleet.actions import copies, copy_records
from pocketfleet.actions.following import follow
from pocketfleet.actions.operations import OperationOver, move_step
from pocketfleet.actions.upgrades import upgrade_instance
from pocketfleet.domain.policies import Verdict
from pocketfleet.domain.states import OperationState, StepState
from pocketfleet.errors import OperationOpen
from pocketfleet.models import Instance, Operation, Snapshot, User
from pocketfleet.operations import upgrade
from pocketfleet.rehearsal.report import Report
from tests.integration.copies_operations.yard import Yard

OLD, NEW = "0.36.9", "0.40.6"


class Rehearsing:
    """A rehearsal that goes on until it is told to end."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.go_on = asyncio.Event()
        self.dropped = False

    async def __call__(self, work: Any, snapshot_id: str, old: str, new: str) -> Report:
        self.begun.set()
        try:
            await self.go_on.wait()
        except asyncio.CancelledError:
            self.dropped = True
            raise
        return Report(old, new, Verdict.SAFE, (), {})


@pytest.fixture
def rehearsing(monkeypatch: pytest.MonkeyPatch) -> Rehearsing:
    """In place of the real one."""
    made = Rehearsing()
    monkeypatch.setattr(upgrade, "rehearse_release", made)
    return made


async def following(yard: Yard, rehearsing: Rehearsing) -> tuple[Instance, Operation, User]:
    """An instance in the middle of a rehearsal that nobody asked for, and its owner."""
    instance = await yard.create(version=OLD)
    await yard.database.call(Instance.objects.filter(id=instance.id).update, range="*", policy="auto")
    owner = await yard.database.call(User.objects.create, username="owner")
    operation_id = await yard.database.call(follow, instance.id)
    assert operation_id is not None
    yard.engine.notice()
    async with asyncio.timeout(60):
        await rehearsing.begun.wait()
    return instance, await yard.database.call(Operation.objects.get, id=operation_id), owner


async def test_an_owners_operation_wins_at_once_and_the_other_resumes_later(yard: Yard, rehearsing: Rehearsing) -> None:
    instance, unasked, owner = await following(yard, rehearsing)
    asked = await yard.database.call(copies.snapshot_instance, instance.id, acting_user=owner)
    await yard.ended(asked)
    assert rehearsing.dropped
    after = await yard.ended(unasked, OperationState.CANCELLED)
    assert after.result["gave_way_to"] == "snapshot"
    left = await yard.database.call(lambda: list(Snapshot.objects.values_list("purpose", flat=True)))
    assert left == ["manual"]
    assert len(yard.workshop.tools.snapshots.present(instance.id)) == 1
    rehearsing.go_on.set()
    again = await yard.database.call(follow, instance.id)
    assert again is not None
    done = await yard.ended(await yard.database.call(Operation.objects.get, id=again))
    assert done.result["now"] == NEW


async def test_nothing_of_it_begins_any_more(yard: Yard, rehearsing: Rehearsing) -> None:
    instance, unasked, owner = await following(yard, rehearsing)
    await yard.engine.stop()
    await yard.database.call(copies.snapshot_instance, instance.id, acting_user=owner)
    with pytest.raises(OperationOver):
        await yard.database.call(move_step, unasked.id, "hold", StepState.RUNNING)
    # killed right then, node finds what is left when it clears away
    strays = await yard.database.call(copy_records.stray_rehearsals)
    assert [item[0] for item in strays] == [instance.id]


async def test_once_it_is_felt_or_was_asked_for_it_goes_on(yard: Yard, rehearsing: Rehearsing) -> None:
    instance, unasked, owner = await following(yard, rehearsing)
    await yard.engine.stop()
    await yard.database.call(move_step, unasked.id, "hold", StepState.RUNNING)
    with pytest.raises(OperationOpen):
        await yard.database.call(copies.snapshot_instance, instance.id, acting_user=owner)
    other = await yard.database.call(
        Instance.objects.create, id="a" * 15, name="other", number=9999, release=OLD, range=OLD, ready=True
    )
    mine = await yard.database.call(upgrade_instance, other.id, NEW, acting_user=owner)
    with pytest.raises(OperationOpen):
        await yard.database.call(copies.snapshot_instance, other.id, acting_user=owner)
    assert (await yard.read(mine)).state == OperationState.PENDING
    assert (await yard.read(unasked)).state == OperationState.RUNNING


async def test_a_scheduled_backup_does_not_disturb_it(yard: Yard, rehearsing: Rehearsing) -> None:
    instance, unasked, _ = await following(yard, rehearsing)
    with pytest.raises(OperationOpen):
        await yard.ask(copies.back_up_instance, instance.id)
    assert (await yard.read(unasked)).state == OperationState.RUNNING
    rehearsing.go_on.set()
    await yard.ended(unasked)
