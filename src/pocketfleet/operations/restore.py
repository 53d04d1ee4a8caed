"""Restoring an instance from a snapshot, a backup or an upload: back as it was if the result does not work."""

from __future__ import annotations

import asyncio
import sqlite3
from typing import Any

from pocketfleet.actions import copy_records, events
from pocketfleet.actions.releases import known_releases
from pocketfleet.domain.fitting import choose_release, range_for
from pocketfleet.domain.releases import Version
from pocketfleet.errors import RestoreFailed, SnapshotUnusable
from pocketfleet.operations import cutover, staging, superusers
from pocketfleet.operations.fetch import ensure_release
from pocketfleet.operations.plan import RESULT, Plan, PlanStep, Work
from pocketfleet.operations.rollback import loses_nothing
from pocketfleet.operations.snapshot import prune_snapshots, take_snapshot
from pocketfleet.operations.tools import Tools
from pocketfleet.operations.verify import verify
from pocketfleet.runtime import inspect
from pocketfleet.runtime.changes import changes_between

#: Seconds of the hold's budget that are kept for the way back, which is two renames and a start.
WAY_BACK = 5.0
_LATER = "has records or files that came after its snapshot"


async def _open(work: Work) -> dict[str, Any]:
    """1 the data aside: unpacked and checked, or a copy of the snapshot. Nothing live is touched."""
    return await staging.bring(work, work.instance_id)


async def _recognise(work: Work) -> dict[str, Any]:
    """2 how old the data is, and the release that runs it as it is: the instance's own, if it does."""
    tools: Tools = work.tools
    await tools.fleet.renew([work.instance_id])
    now = tools.fleet.facts(work.instance_id).release
    age = await staging.look_at(work)
    if age.superusers == 0:
        raise RestoreFailed(
            "This data has no superuser, so whoever comes first could claim it. Make one in it, then restore it."
        )
    known = [Version(text) for text in await tools.database.call(known_releases)]
    said = str(work.outputs["open"]["release"])
    release = choose_release(age.range, known, [now, said])
    await ensure_release(tools, str(release), work.progress)
    followed = await tools.database.call(copy_records.range_of, work.instance_id)
    folder = staging.new_data(tools.config, work.operation_id)
    counts = await asyncio.to_thread(inspect.counts, folder)
    return {
        "from": now,
        "to": str(release),
        "range": followed,
        "new_range": range_for(followed, release),
        "counts": counts,
    }


async def _snapshot(work: Work) -> dict[str, Any]:
    """3 the present state, to come back to. Data that is damaged cannot be copied, and may be why somebody restores:
    then the folder itself is kept."""
    try:
        manifest = await take_snapshot(work, "checkpoint")
    except SnapshotUnusable as error:
        return {"snapshot": None, "why": f"is damaged ({error.detail})"}
    return {"snapshot": manifest.snapshot_id}


async def _need_no_snapshot(work: Work) -> None:
    """Everything is as it was: the rule of retention decides about it now."""
    tools: Tools = work.tools
    await tools.database.call(copy_records.let_snapshots_go, work.operation_id)


async def _place(work: Work) -> None:
    """6 the old folder aside and the new one in its place, by rename, with its release."""
    tools: Tools = work.tools
    async with tools.supervisor.at_rest(work.instance_id):
        await staging.put_in_place(work, with_data_only=not work.outputs["open"]["full"])
        # before anything may start: no other release ever meets this data
        await cutover.choose_release(tools, work.instance_id, str(work.outputs["recognise"]["to"]))
        await superusers.weed(tools, work.instance_id)


async def _back(work: Work) -> None:
    """The old folder by rename, with its release; whatever runs is ended first."""
    tools: Tools = work.tools
    found = work.outputs["recognise"]
    async with tools.supervisor.at_rest(work.instance_id):
        await staging.put_old_back(work)
        await cutover.choose_release(tools, work.instance_id, str(found["from"]), str(found["range"]))
    tools.supervisor.forgive(work.instance_id)
    text = "What was to be restored did not work; data and release are as they were before."
    await _tell(work, "restore_failed", text, events.PROBLEM)


async def _start(work: Work) -> dict[str, Any]:
    """7 it starts, and nobody but us knows where."""
    starting = cutover.start_unpublished(work, str(work.outputs["recognise"]["to"]))
    return {"address": await cutover.within_budget(work, starting, WAY_BACK)}


async def _verify(work: Work) -> dict[str, Any]:
    """It answers, lets its superusers in, and has every record that was brought."""
    found = work.outputs["recognise"]
    checking = verify(work, str(work.outputs["start"]["address"]), str(found["to"]), found["counts"])
    return await cutover.within_budget(work, checking, WAY_BACK)


async def _commit(work: Work) -> dict[str, Any]:
    """8 recorded before the gate opens; past this nothing is undone."""
    tools: Tools = work.tools
    found, present = work.outputs["recognise"], work.outputs["snapshot"]
    await cutover.choose_release(tools, work.instance_id, str(found["to"]), str(found["new_range"]))
    result = {
        "from": found["from"],
        "release": found["to"],
        "range": found["new_range"],
        "snapshot": present["snapshot"],
        "left_out": work.outputs["open"]["left_out"],
    }
    await _tell(work, "restored", _said(result), events.INFO, **result)
    return {RESULT: result}


async def _tidy(work: Work) -> dict[str, Any]:
    """What was replaced goes; where no snapshot of it has everything, to quarantine."""
    tools: Tools = work.tools
    why = work.outputs["snapshot"].get("why") or await asyncio.to_thread(_written_since, work)
    kept = await staging.finish(work, keep_old=bool(why))
    if kept:
        await _tell(
            work, "kept_aside", f"The data that was replaced {why} and lies in {kept} for some days.", events.WARNING
        )
    await tools.database.call(copy_records.let_snapshots_go, work.operation_id)
    await prune_snapshots(tools, work.instance_id)
    return {}


def _written_since(work: Work) -> str:
    """Requests went on from the snapshot to the hold: what they wrote is in the replaced folder alone."""
    tools: Tools = work.tools
    old = staging.replaced_data(tools.config, work.operation_id)
    if not old.exists():
        return _LATER if staging.kept_aside(tools.config, work).exists() else ""
    try:
        changes = changes_between(tools.snapshots.path(work.instance_id, work.outputs["snapshot"]["snapshot"]), old)
    except (SnapshotUnusable, sqlite3.Error) as error:
        return f"could not be compared with its snapshot ({error})"
    return "" if loses_nothing(changes) else _LATER


async def _tell(work: Work, kind: str, text: str, weight: str, **detail: Any) -> None:
    tools: Tools = work.tools
    await tools.database.call(events.tell, work.instance_id, kind, text, weight, work.operation_id, **detail)


def _said(result: dict[str, Any]) -> str:
    text = f"Restored, on PocketBase {result['release']}"
    if result["release"] != result["from"]:
        text += f" (before on {result['from']}), since that is what this data fits; it follows {result['range']} now"
    return text + "."


PLAN = Plan(
    "restore",
    (
        PlanStep("open", _open, staging.throw_away),
        PlanStep("recognise", _recognise),
        PlanStep("snapshot", _snapshot, _need_no_snapshot),
        PlanStep("hold", cutover.hold_and_stop, cutover.open_again),
        PlanStep("place", _place, _back),
        PlanStep("start", _start),
        PlanStep("verify", _verify),
        PlanStep("commit", _commit),
        PlanStep("resume", cutover.open_again),
        PlanStep("tidy", _tidy),
    ),
    commit="commit",
    live="hold",
)
