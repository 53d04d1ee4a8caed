"""The way back of an upgrade: without room, within the budget whatever hangs, and what is said where there is none."""

from __future__ import annotations

import os
import signal
from typing import Any

import pytest

from pocketfleet.actions import copies
from pocketfleet.actions.upgrades import upgrade_instance
from pocketfleet.domain.policies import Verdict
from pocketfleet.domain.states import OperationState
from pocketfleet.errors import DiskTrouble, StartFailed
from pocketfleet.models import Event, Instance, Operation, Snapshot
from pocketfleet.operations import cutover, upgrade
from pocketfleet.rehearsal.report import Report
from pocketfleet.runtime import probe
from tests.integration.copies_operations.yard import Visitor, Yard

OLD, NEW = "0.36.9", "0.40.6"


@pytest.fixture(autouse=True)
def rehearsed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A rehearsal finds nothing, at once: here it is about what comes after."""

    async def safe(work: Any, snapshot_id: str, old: str, new: str) -> Report:
        return Report(old, new, Verdict.SAFE, (), {})

    monkeypatch.setattr(upgrade, "rehearse_release", safe)


async def with_posts(yard: Yard) -> tuple[Instance, Visitor, dict[str, Any], str]:
    """An instance with a record that has a file, and a snapshot of it from which later ones take that file."""
    instance = await yard.create(version=OLD)
    visitor = await yard.wake(instance)
    await visitor.make_posts()
    record = await visitor.post("one", b"content")
    made = await yard.ended(await yard.ask(copies.snapshot_instance, instance.id))
    await visitor.post("two")
    return instance, visitor, record, made.result["snapshot"]


async def upgraded(yard: Yard, instance: Instance, state: OperationState) -> Operation:
    """To the new release."""
    return await yard.ended(await yard.ask(upgrade_instance, instance.id, NEW), state)


def full_from_now_on(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing can be copied any more."""

    async def full(*_: object, **__: object) -> None:
        raise DiskTrouble("The disk is full.")

    for name in ("put_back", "copy_to", "take"):
        monkeypatch.setattr(yard.workshop.tools.snapshots, name, full)


async def test_a_disk_that_fills_up_meanwhile_does_not_stop_it(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    instance, _, record, snapshot = await with_posts(yard)

    async def fails(*_: object) -> str:
        full_from_now_on(yard, monkeypatch)
        raise StartFailed("the disk is full", 1)

    monkeypatch.setattr(cutover, "start_unpublished", fails)
    after = await upgraded(yard, instance, OperationState.ROLLED_BACK)
    monkeypatch.undo()
    assert "not_undone" not in after.error
    assert (after.result["stands"], after.result["now"]) == ("old", OLD)
    visitor = await yard.wake(instance)
    assert await visitor.titles() == ["one", "two"]
    assert await visitor.file(record) == b"content"
    # nothing of the live data is shared with a snapshot, and the snapshot it came from is used up
    stored = [path for path in (yard.folder(instance) / "pb_data" / "storage").rglob("*") if path.is_file()]
    assert stored
    assert all(path.stat().st_nlink == 1 for path in stored)
    store = yard.workshop.tools.snapshots
    assert store.present(instance.id) == [snapshot]
    assert await yard.database.call(lambda: list(Snapshot.objects.values_list("id", flat=True))) == [snapshot]
    await store.verify(instance.id, snapshot)
    assert sorted(path.name for path in (yard.config.snapshots / instance.id).iterdir()) == [snapshot]


async def test_without_any_way_back_it_is_wholly_new_and_says_so(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    instance, _, record, _ = await with_posts(yard)

    async def refuses(*_: object) -> None:
        raise DiskTrouble("The disk refuses.")

    async def wrong(*_: object) -> None:
        full_from_now_on(yard, monkeypatch)
        monkeypatch.setattr(yard.workshop.tools.snapshots, "hand_over", refuses)
        raise StartFailed("wrong", 1)

    monkeypatch.setattr(upgrade, "verify", wrong)
    after = await upgraded(yard, instance, OperationState.FAILED)
    assert after.error["not_undone"] == ["switch"]
    assert (after.result["stands"], after.result["now"]) == ("new", NEW)
    row = await yard.row(instance)
    assert (row.release, row.hold) == (NEW, "")
    told = await yard.database.call(lambda: list(Event.objects.filter(kind="upgrade_failed")))
    assert "wholly on the new data" in told[-1].text
    visitor = await yard.wake(instance)
    assert await visitor.titles() == ["one", "two"]
    assert await visitor.file(record) == b"content"
    assert await yard.database.call(Snapshot.objects.filter(purpose="checkpoint").count) == 1


async def test_a_release_that_ignores_sigterm_is_killed_within_the_budget(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    instance, _, _, _ = await with_posts(yard)
    monkeypatch.setattr(cutover, "GRACE", 0.3)
    deaf(yard, instance, monkeypatch)
    after = await upgraded(yard, instance, OperationState.SUCCEEDED)
    assert after.result["now"] == NEW
    assert await (await yard.wake(instance)).titles() == ["one", "two"]
    said = "".join(path.read_text() for path in (yard.config.logs / instance.id).iterdir() if path.is_file())
    assert "killed after 0.3 s" in said


async def test_a_new_release_that_never_answers_does_not_hold_up_the_way_back(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    instance, visitor, _, _ = await with_posts(yard)
    old = str(visitor.client.base_url.netloc, "ascii")
    monkeypatch.setattr(cutover, "BUDGET", upgrade.WAY_BACK + 5.0)
    # the start would be waited for for ever
    monkeypatch.setattr(probe, "accepts", lambda address: not yard.workshop.gate.holds(instance.id))
    object.__setattr__(yard.config, "start_timeout", 3600.0)
    after = await upgraded(yard, instance, OperationState.ROLLED_BACK)
    assert after.error["code"] == "hold_too_long"
    assert (after.result["stands"], after.result["now"]) == ("old", OLD)
    monkeypatch.undo()
    again = await yard.wake(instance)
    assert str(again.client.base_url.netloc, "ascii") == old
    assert await again.titles() == ["one", "two"]


def deaf(yard: Yard, instance: Instance, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its process is stopped right before it gets SIGTERM: only SIGKILL ends it."""
    runner = yard.workshop.supervisor._runner
    send = runner.signal

    def stopped_before(running: Any, number: signal.Signals) -> None:
        if number == signal.SIGTERM and running.release == OLD:
            os.kill(running.pid, signal.SIGSTOP)
        send(running, number)

    monkeypatch.setattr(runner, "signal", stopped_before)
