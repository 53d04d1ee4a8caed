"""The moment in which an instance changes: requests wait, it stops, is checked, opens again; and the way back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable
from typing import Any, TypeVar

from pocketfleet.actions.upgrades import set_hold, set_release
from pocketfleet.errors import DiskTrouble, HoldTooLong, InstanceBusy
from pocketfleet.operations import superusers
from pocketfleet.operations.plan import RESULT, Work
from pocketfleet.operations.tools import Tools

T = TypeVar("T")

#: Seconds that what is in flight gets to end while new requests wait; an upload that takes longer is let through.
DRAIN = 5.0
#: How often that is tried, and the seconds between two tries, in which everything goes on as usual.
TRIES = 5
PAUSE = 10.0
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
        if await tools.supervisor.halt(work.instance_id, cause=f"{work.kind} {work.operation_id}", drain=DRAIN):
            return {"held_at": began}
        await let_go(tools, work.instance_id)
    raise InstanceBusy(
        f"For {TRIES} tries there was always a request that took longer than {DRAIN:.0f} s (an upload, say). "
        "Nothing was changed; try again at a quieter time.",
        instance=work.instance_id,
    )


async def open_again(work: Work) -> dict[str, Any]:
    """The end of the hold, after success and after failure alike: answers how long requests waited."""
    tools: Tools = work.tools
    await let_go(tools, work.instance_id)
    held_at = work.outputs.get("hold", {}).get("held_at")
    if held_at is None:
        return {}
    return {RESULT: {"held_ms": round((time.time() - held_at) * 1000)}}


async def hold(tools: Tools, instance_id: str, operation_id: str) -> None:
    """Requests wait from now on, and after a crash of node still do."""
    await tools.database.call(set_hold, instance_id, operation_id)
    tools.gate.hold(instance_id)
    await tools.fleet.renew([instance_id])


async def let_go(tools: Tools, instance_id: str) -> None:
    """Requests go through; a guest that runs is published again, unless its instance is switched off or suspended:
    then it was started to be looked at only, and ends."""
    await tools.database.call(set_hold, instance_id, "")
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
            await tools.supervisor.sleep(work.instance_id, cause="another release", drain=0, quiet_only=False)
        address = await tools.supervisor.ensure(work.instance_id, cause=f"{work.kind} {work.operation_id}")
        if tools.supervisor.release(work.instance_id) in (None, release):
            return address


async def put_in_place(work: Work, snapshot_id: str, release: str, *, from_before: bool) -> None:
    """The instance's folder becomes what the snapshot holds, by rename, and this its release.

    `from_before`: the snapshot is older than the hold, so people may have lost access since.

    Whatever runs is ended first; its failures are forgotten, since they were another release's. The release is chosen
    before anything may start: no other one ever meets this data.
    """
    tools: Tools = work.tools
    await tools.supervisor.sleep(work.instance_id, cause=work.kind, drain=0, quiet_only=False)
    tools.supervisor.forgive(work.instance_id)
    async with tools.supervisor.at_rest(work.instance_id):
        await tools.snapshots.put_back(work.instance_id, snapshot_id)
        await choose_release(tools, work.instance_id, release)
        if from_before:
            await superusers.weed(tools, work.instance_id)


def check_room_for_way_back(tools: Tools, needed: int) -> None:
    """Going back copies the checkpoint, so its bytes must be free before anything is changed. Raises DiskTrouble."""
    free = tools.snapshots.free_bytes()
    if needed > free:
        raise DiskTrouble(
            f"Going back would take {needed / 1e6:.0f} MB, and {free / 1e6:.0f} MB are free, so nothing was changed. "
            "Make room on the disk, then start again.",
            needed=needed,
            free=free,
        )


async def choose_release(tools: Tools, instance_id: str, release: str, version_range: str | None = None) -> None:
    """What starts next is this release."""
    await tools.database.call(set_release, instance_id, release, version_range)
    await tools.fleet.renew([instance_id])


async def within_budget(work: Work, doing: Awaitable[T], reserve: float) -> T:
    """What `doing` answers, if it ends while `reserve` seconds of the hold's budget are left.

    Raises HoldTooLong, which starts the way back.
    """
    held_at = float(work.outputs["hold"]["held_at"])
    left = BUDGET - reserve - (time.time() - held_at)
    try:
        async with asyncio.timeout(max(0.0, left)):
            return await doing
    except TimeoutError:
        raise HoldTooLong(
            f"Requests would have waited longer than {BUDGET:.0f} s, so everything was put back as it was. "
            "Try again at a quieter time.",
        ) from None
