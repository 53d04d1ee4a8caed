"""Snapshots: taken without stopping anybody, written down once they are verified, and pruned by rule."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from pocketfleet.actions import copy_records
from pocketfleet.domain.ids import derived_id
from pocketfleet.domain.retention import Retention
from pocketfleet.errors import DiskTrouble, PocketfleetError
from pocketfleet.operations.plan import RESULT, Plan, PlanStep, Work
from pocketfleet.operations.tools import Tools
from pocketfleet.runtime.keeper import Peace
from pocketfleet.runtime.manifest import Manifest

log = logging.getLogger(__name__)

#: How often a copy of a sleeping instance gives way to somebody who wants to wake it.
GIVES_WAY = 3


async def take_snapshot(
    work: Work, purpose: str, *, thorough: bool = True, base: str | None = None, note: str = ""
) -> Manifest:
    """A snapshot of the work's instance as it stands, verified and then written down.

    One per operation and purpose: done twice, the first one is the answer. A `checkpoint` is its operation's way back,
    and never pruned for as long as it is the newest such. Raises SnapshotUnusable, DiskTrouble, InstanceInUse.
    """
    tools: Tools = work.tools
    manifest = await copy_instance(
        tools, work.instance_id, derived_id(work.operation_id, purpose), work=work, thorough=thorough, base=base
    )
    await tools.database.call(
        copy_records.record_snapshot,
        work.instance_id,
        manifest.snapshot_id,
        purpose=purpose,
        release=manifest.release,
        manifest=manifest.as_json(),
        kept_for=work.operation_id if purpose == "checkpoint" else "",
        note=note,
    )
    return manifest


async def prepare_checkpoint(work: Work, base: str) -> None:
    """The files of the operation's checkpoint are copied ahead, while everything goes on: in the hold only what came,
    went or changed since is left to copy. `base`: a snapshot that it shares files with. Raises DiskTrouble."""
    tools: Tools = work.tools
    snapshot_id = derived_id(work.operation_id, "checkpoint")
    if snapshot_id not in tools.snapshots.present(work.instance_id):
        await _check_room(tools, work.instance_id)
        await tools.snapshots.prepare(work.instance_id, snapshot_id, base=base, progress=work.progress)


async def drop_prepared(work: Work) -> None:
    """What was prepared for a checkpoint that was not taken goes."""
    tools: Tools = work.tools
    await tools.snapshots.drop_prepared(work.instance_id, derived_id(work.operation_id, "checkpoint"))


async def copy_instance(
    tools: Tools, instance_id: str, snapshot_id: str, *, work: Work, thorough: bool = True, base: str | None = None
) -> Manifest:
    """The files of a snapshot, of any instance, not written down.

    Asleep, it gives way to a request: the half-made copy is thrown away and made anew of the awake instance.
    """
    if base is None:
        base = await tools.database.call(copy_records.newest_snapshot, instance_id)
    if snapshot_id not in tools.snapshots.present(instance_id):
        await _check_room(tools, instance_id, snapshot_id)
    for attempt in range(GIVES_WAY + 1):
        async with tools.supervisor.peace(instance_id) as peace:
            await tools.fleet.renew([instance_id])
            taking = asyncio.ensure_future(
                tools.snapshots.take(
                    instance_id,
                    snapshot_id,
                    release=tools.fleet.facts(instance_id).release,
                    awake=peace.awake,
                    base=base,
                    progress=work.progress,
                    thorough=thorough,
                )
            )
            manifest = await _unless_wanted(taking, peace if attempt < GIVES_WAY else None)
        if manifest is not None:
            return manifest
    raise AssertionError("the last attempt gives way to nobody")


async def drop_rehearsed(work: Work) -> None:
    """The copy with the purpose `rehearsal`, which the operation rehearsed on or compared with, has served."""
    await drop_snapshot(work.tools, work.instance_id, derived_id(work.operation_id, "rehearsal"))


async def drop_snapshot(tools: Tools, instance_id: str, snapshot_id: str) -> None:
    """Forget it, then remove its files; or it was never there."""
    await tools.database.call(copy_records.forget_snapshot, snapshot_id)
    await tools.snapshots.remove(instance_id, snapshot_id)


async def prune_snapshots(tools: Tools, instance_id: str) -> list[str]:
    """Remove what the rule of retention does not keep; answers its ids.

    A copy too many harms nobody, so one that cannot be removed is left with a warning.
    """
    config = tools.config
    rule = Retention(config.snapshots_last, config.snapshots_daily, config.snapshots_weekly)
    doomed = await tools.database.call(copy_records.snapshots_to_remove, instance_id, rule)
    for snapshot_id in doomed:
        try:
            await drop_snapshot(tools, instance_id, snapshot_id)
        except PocketfleetError as error:
            log.warning("snapshot %s not removed: %s", snapshot_id, error.detail, extra={"instance": instance_id})
    return doomed


async def _unless_wanted(taking: asyncio.Future[Manifest], peace: Peace | None) -> Manifest | None:
    """What it answers, or None once a request waits for the instance: then nothing of it goes on."""
    wanted = asyncio.ensure_future(peace.wanted.wait()) if peace is not None and not peace.awake else None
    waited: set[asyncio.Future[Any]] = {taking} if wanted is None else {taking, wanted}
    try:
        await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
        return taking.result() if taking.done() else None
    finally:
        for task in waited:
            task.cancel()
        await asyncio.gather(*waited, return_exceptions=True)


async def _check_room(tools: Tools, instance_id: str, prepared: str = "") -> None:
    needed, free = (await tools.snapshots.estimate(instance_id, prepared)).bytes, tools.snapshots.free_bytes()
    if needed > free:
        raise DiskTrouble(
            f"A copy takes up to {needed / 1e6:.0f} MB, and {free / 1e6:.0f} MB are free. Make room on the disk, or "
            "remove snapshots and backups that nobody needs.",
            needed=needed,
            free=free,
        )


async def _take(work: Work) -> dict[str, Any]:
    manifest = await take_snapshot(work, str(work.params["purpose"]), note=str(work.params.get("note", "")))
    found = {
        "snapshot": manifest.snapshot_id,
        "release": manifest.release,
        "bytes": manifest.bytes,
        "files": manifest.files,
        "took_ms": manifest.took_ms,
        "left_out": manifest.left_out,
    }
    return {RESULT: found}


async def _prune(work: Work) -> dict[str, Any]:
    pruned = await prune_snapshots(work.tools, work.instance_id)
    return {RESULT: {**work.outputs["take"][RESULT], "pruned": pruned}}


async def _drop(work: Work) -> None:
    await drop_snapshot(work.tools, work.instance_id, str(work.params["snapshot"]))


PLAN = Plan("snapshot", (PlanStep("take", _take), PlanStep("prune", _prune)), commit="take")
DELETE = Plan("delete_snapshot", (PlanStep("remove", _drop),))
