"""The moment in which an instance changes: requests wait, it stops, is checked, opens again; and the way back."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable
from typing import Any, TypeVar

from pocketfleet.actions import events
from pocketfleet.actions.copy_records import forget_snapshot
from pocketfleet.actions.upgrades import set_hold, set_release
from pocketfleet.errors import DiskTrouble, HoldTooLong, InstanceBusy
from pocketfleet.operations import staging, superusers
from pocketfleet.operations.plan import RESULT, Work
from pocketfleet.operations.tools import Tools

T = TypeVar("T")

log = logging.getLogger(__name__)

#: Seconds that what is in flight gets to end while new requests wait; an upload that takes longer is let through.
DRAIN = 5.0
#: How often that is tried, and the seconds between two tries, in which everything goes on as usual.
TRIES = 5
PAUSE = 10.0
#: Seconds from SIGTERM to SIGKILL in a hold: a sound PocketBase takes a tenth of one. On the way back what it still
#: writes is thrown away.
GRACE = 5.0
GRACE_BACK = 1.0
#: Seconds that requests may wait for a cutover, the way back included; protocol.HOLD_TIMEOUT is longer than that.
BUDGET = 30.0


async def hold_and_stop(work: Work) -> dict[str, Any]:
    """1 hold new requests, 2 let what is in flight end, 3 stop; nobody's request is cut off.

    Where something stays in flight the gate opens again, and it is tried later. Answers when the hold began
    (seconds since 1970). Raises InstanceBusy when no try found a quiet moment.
    """
    tools: Tools = work.tools
    for attempt in range(TRIES):
        if attempt:
            await work.progress(None, "a request takes long; everything goes on, another try follows")
            await asyncio.sleep(PAUSE)
        began = time.time()
        await hold(tools, work.instance_id, work.operation_id)
        cause = f"{work.kind} {work.operation_id}"
        if await tools.supervisor.halt(work.instance_id, cause=cause, drain=DRAIN, grace=min(GRACE, BUDGET / 6)):
            return {"held_at": began}
        await let_go(tools, work.instance_id)
    raise InstanceBusy(
        f"For {TRIES} tries there was always a request that took longer than {DRAIN:.0f} s (an upload, say). "
        "Nothing was changed; try again at a quieter time.",
        instance=work.instance_id,
    )


async def open_again(work: Work) -> dict[str, Any]:
    """The end of the hold, after success and after failure alike: answers how long requests waited, and what they
    reach now: the `old` data and release, or the `new`; never some of each."""
    tools: Tools = work.tools
    stands, release = _stands(work), tools.fleet.facts(work.instance_id).release
    await let_go(tools, work.instance_id)
    held_at = work.outputs.get("hold", {}).get("held_at")
    held = {} if held_at is None else {"held_ms": max(0, round((time.time() - held_at) * 1000))}
    try:
        await tools.snapshots.forget_given(work.instance_id)
    except DiskTrouble as error:  # the next hold tries again
        log.warning("%s", error.detail, extra={"instance": work.instance_id})
    return {RESULT: {**held, "stands": stands, "now": release}}


async def open_after_failure(work: Work) -> dict[str, Any]:
    """As `open_again`; where the way back failed, too, its owner is told what is there now."""
    output = await open_again(work)
    now = output[RESULT]
    if now["stands"] == "new":
        text = (
            f"The {work.kind} failed, and could not be taken back either: the instance is wholly on the new data, with "
            f"PocketBase {now['now']}. Look at it; `pocketfleet snapshots` shows what you can go back to."
        )
        await work.tools.database.insist(
            events.tell, work.instance_id, f"{work.kind}_failed", text, events.PROBLEM, work.operation_id, **now
        )
    return output


def _stands(work: Work) -> str:
    """What was moved aside tells; where nothing was, the release, which changes back after the data."""
    tools: Tools = work.tools
    if staging.replaced_data(tools.config, work.operation_id).exists():
        return "new"
    switched = work.outputs.get("resolve", {}).get("to") if work.kind == "upgrade" else None
    return "new" if tools.fleet.facts(work.instance_id).release == switched else "old"


async def hold(tools: Tools, instance_id: str, operation_id: str) -> None:
    """Requests wait from now on, and after a crash of node still do."""
    await tools.database.insist(set_hold, instance_id, operation_id)
    tools.gate.hold(instance_id)
    await tools.fleet.renew([instance_id])


async def let_go(tools: Tools, instance_id: str) -> None:
    """Requests go through; a guest that runs is published again, unless its instance is switched off or suspended:
    then it was started to be looked at only, and ends."""
    await tools.database.insist(set_hold, instance_id, "")
    await tools.fleet.renew([instance_id])
    tools.gate.resume(instance_id)
    if tools.fleet.may_run(instance_id):
        await tools.supervisor.publish(instance_id)
    else:
        await tools.supervisor.sleep(instance_id, cause="switched off", drain=DRAIN, quiet_only=False)


async def start_unpublished(work: Work, release: str) -> str:
    """The address of this release, running on what lies in the instance's folder; only we know it so far.

    Another release that still runs (adopted after a crash), or that a request from before the hold has just woken, is
    ended first. Raises StartFailed.
    """
    tools: Tools = work.tools
    tools.supervisor.forgive(work.instance_id)
    while True:
        if tools.supervisor.release(work.instance_id) not in (None, release):
            await end_guest(work, "another release")
        address = await tools.supervisor.ensure(work.instance_id, cause=f"{work.kind} {work.operation_id}")
        if tools.supervisor.release(work.instance_id) in (None, release):
            return address


async def end_guest(work: Work, cause: str) -> None:
    """Whatever runs or starts is ended, within what is left of the budget; its failures are forgotten, since they were
    another release's."""
    tools: Tools = work.tools
    grace = max(0.1, min(GRACE_BACK, seconds_left(work) / 2))
    await tools.supervisor.sleep(work.instance_id, cause=cause, drain=0, quiet_only=False, grace=grace)
    tools.supervisor.forgive(work.instance_id)


async def put_in_place(work: Work, snapshot_id: str, release: str) -> None:
    """The instance's folder becomes what the snapshot holds, and this its release; the snapshot is used up by that.

    By rename: it takes neither room nor much time. The release is chosen before anything may start: no other one ever
    meets this data.
    """
    tools: Tools = work.tools
    await end_guest(work, work.kind)
    async with tools.supervisor.at_rest(work.instance_id):
        try:
            await tools.snapshots.hand_over(work.instance_id, snapshot_id)
        except DiskTrouble as error:
            # not on the same disk, say
            log.warning("copied, since it cannot be renamed: %s", error, extra={"instance": work.instance_id})
            await tools.snapshots.put_back(work.instance_id, snapshot_id)
        else:
            await tools.database.insist(forget_snapshot, snapshot_id)
        await choose_release(tools, work.instance_id, release)


async def place_staged(work: Work, release: str, *, with_data_only: bool) -> None:
    """What was brought aside becomes the instance's folder, by rename, and this its release; the old one is kept.

    The release is chosen before anything may start: no other one ever meets this data.
    """
    tools: Tools = work.tools
    async with tools.supervisor.at_rest(work.instance_id):
        await staging.put_in_place(work, with_data_only=with_data_only)
        await choose_release(tools, work.instance_id, release)
        # it is older than the hold, or from elsewhere: people may have lost access since
        await superusers.weed(tools, work.instance_id)


async def unplace_staged(work: Work, release: str, version_range: str | None = None) -> None:
    """The old folder by rename, which takes no room on the disk, with its release; whatever runs is ended first."""
    tools: Tools = work.tools
    await end_guest(work, work.kind)
    async with tools.supervisor.at_rest(work.instance_id):
        await staging.put_old_back(work)
        await choose_release(tools, work.instance_id, release, version_range)


async def choose_release(tools: Tools, instance_id: str, release: str, version_range: str | None = None) -> None:
    """What starts next is this release."""
    await tools.database.insist(set_release, instance_id, release, version_range)
    await tools.fleet.renew([instance_id])


async def within_budget(work: Work, doing: Awaitable[T], reserve: float) -> T:
    """What `doing` answers, if it ends while `reserve` seconds of the hold's budget are left.

    Raises HoldTooLong, which starts the way back.
    """
    try:
        async with asyncio.timeout(max(0.0, seconds_left(work) - reserve)):
            return await doing
    except TimeoutError:
        raise HoldTooLong(
            f"Requests would have waited longer than {BUDGET:.0f} s, so everything was put back as it was. "
            "Try again at a quieter time.",
        ) from None


def seconds_left(work: Work) -> float:
    """What the hold's budget has left; less than nothing where it is overrun.

    By the wall clock, since the hold may have begun in an earlier life of node; one that was set back gives no more
    than there was.
    """
    return min(BUDGET, BUDGET - (time.time() - float(work.outputs["hold"]["held_at"])))
