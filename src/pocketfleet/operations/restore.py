"""Restoring an instance from a snapshot, a backup or an upload: rehearsed where that is wanted, and back as it was if
the result does not work."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Mapping
from typing import Any

from pocketfleet.actions import copies, copy_records, events, upgrades
from pocketfleet.actions.releases import known_releases
from pocketfleet.domain.fitting import choose_release, range_for
from pocketfleet.domain.policies import Verdict
from pocketfleet.domain.releases import Version
from pocketfleet.domain.states import OperationState
from pocketfleet.errors import ChangedMeanwhile, PocketfleetError, RestoreFailed, RestoreRefused, SnapshotUnusable
from pocketfleet.operations import cutover, staging
from pocketfleet.operations.accepting import news
from pocketfleet.operations.fetch import ensure_release
from pocketfleet.operations.plan import RESULT, Plan, PlanStep, Work, ends
from pocketfleet.operations.rehearse import rehearse_restore
from pocketfleet.operations.rollback import loses_nothing
from pocketfleet.operations.snapshot import drop_rehearsed, prune_snapshots, take_snapshot
from pocketfleet.operations.tools import Tools
from pocketfleet.operations.verify import verify
from pocketfleet.runtime import inspect
from pocketfleet.runtime.changes import changes_between
from pocketfleet.runtime.taking import own_fingerprints

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
    await ensure_release(work, str(release))
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


async def _copy(work: Work) -> dict[str, Any]:
    """3 where it is rehearsed: the present state, to compare with. Whatever stands in the way of that is told, and is
    no reason not to restore."""
    if not work.params.get("rehearse"):
        return {}
    tools: Tools = work.tools
    # before they are copied: a change in between is found in the hold, as any later one is
    own = await _own_fingerprints(work)
    if own is not None:
        await staging.complete(work)
    try:
        manifest = await take_snapshot(work, "rehearsal")
    except SnapshotUnusable as error:
        return {"own": own, "snapshot": None, "why": f"it is damaged ({error.detail})"}
    try:
        await ensure_release(work, tools.fleet.facts(work.instance_id).release)
    except PocketfleetError as error:
        why = f"its release cannot be run ({error.detail})"
        return {"own": own, "snapshot": manifest.snapshot_id, "why": why}
    return {"own": own, "snapshot": manifest.snapshot_id, "why": ""}


async def _rehearse(work: Work) -> dict[str, Any]:
    """4 now, what is brought, and now again, on clones; nothing live is touched."""
    if not work.params.get("rehearse"):
        return {}
    found, compared = work.outputs["recognise"], work.outputs["copy"]
    now = str(found["from"] or found["to"])
    report = await rehearse_restore(work, compared["snapshot"], compared["why"], now, str(found["to"]))
    origin = await staging.origin_of(work)
    # what could not be started is still what it ran
    told = {**report.as_json(), "from": found["from"]}
    kept = await work.tools.database.call(
        upgrades.record_rehearsal, work.instance_id, work.operation_id, told, "", origin=origin
    )
    return {
        "origin": origin,
        RESULT: {
            "from": found["from"],
            "to": found["to"],
            "release": found["to"],
            "verdict": str(report.verdict),
            "reasons": [reason.text for reason in report.reasons],
            "rehearsal": kept.id,
        },
    }


async def _decide(work: Work) -> dict[str, Any]:
    """5 go, ask, or stop."""
    if not work.params.get("rehearse"):
        return {}
    result: dict[str, Any] = dict(work.outputs["rehearse"][RESULT])
    verdict = Verdict(result["verdict"])
    if work.params.get("rehearse_only"):
        return await _end(work, OperationState.SUCCEEDED, result)
    if verdict is Verdict.BROKEN:
        await staging.keep_upload(work)
        why = result["reasons"][0] if result["reasons"] else "the rehearsal failed"
        raise RestoreRefused(f"This does not work, so nothing was touched: {why}", **result)
    if verdict is Verdict.CHANGED and (more := await _unseen(work, result)) is not None:
        return await _ask(work, result, more)
    return {RESULT: result}


async def _unseen(work: Work, result: dict[str, Any]) -> list[str] | None:
    """None where all that was found is accepted; else what is new to who accepted: nothing in particular where nobody
    did, and all of it where that report was about something else."""
    if not work.params.get("accept_changes"):
        return []
    accepted = await work.tools.database.call(
        copies.accepted_restore, work.operation_id, str(work.outputs["rehearse"]["origin"]), str(result["from"])
    )
    if accepted is None:
        return None
    return await news(work, str(result["rehearsal"]), accepted) or None


async def _ask(work: Work, result: dict[str, Any], new_reasons: list[str]) -> dict[str, Any]:
    text = "What is to be restored would change something. Look at the report, then accept or leave it."
    if new_reasons:
        result["new_reasons"] = new_reasons
        text = f"A restore would change more than what was accepted: {new_reasons[0]} " + text
    await _tell(work, "asking", text, events.WARNING, **result)
    return await _end(work, OperationState.ASKING, result)


async def _end(work: Work, state: OperationState, result: dict[str, Any]) -> dict[str, Any]:
    """Nothing more to do: both copies go, and the upload stays for another day."""
    await drop_rehearsed(work)
    await staging.throw_away(work)
    await staging.keep_upload(work)
    return ends(state, {RESULT: result})


async def _snapshot(work: Work) -> dict[str, Any]:
    """6 the present state, to come back to. Data that is damaged cannot be copied, and may be why somebody restores:
    then the folder itself is kept."""
    try:
        base = work.outputs.get("copy", {}).get("snapshot")
        manifest = await take_snapshot(work, "checkpoint", base=base)
    except SnapshotUnusable as error:
        return {"snapshot": None, "why": f"is damaged ({error.detail})"}
    return {"snapshot": manifest.snapshot_id}


async def _need_no_snapshot(work: Work) -> None:
    """Everything is as it was: the rule of retention decides about it now."""
    tools: Tools = work.tools
    await tools.database.call(copy_records.let_snapshots_go, work.operation_id)


async def _compare(work: Work) -> None:
    """8 data that is brought alone runs the instance's own hooks: they must be those that it was rehearsed with."""
    rehearsed = work.outputs.get("copy", {}).get("own")
    if rehearsed is None:
        return
    if await cutover.within_budget(work, _own_fingerprints(work), WAY_BACK) != rehearsed:
        raise ChangedMeanwhile(
            "Hooks or migrations changed after the rehearsal, so it says nothing any more. "
            "Nothing was changed by us; start the restore again."
        )


async def _own_fingerprints(work: Work) -> dict[str, str] | None:
    """Of the instance's hooks and migrations as they are now; None where it gets others with its data."""
    if work.outputs["open"]["full"]:
        return None
    return await asyncio.to_thread(own_fingerprints, work.tools.config.instances / work.instance_id)


async def _place(work: Work) -> None:
    """9 the old folder aside and the new one in its place, by rename, with its release."""
    release = str(work.outputs["recognise"]["to"])
    await cutover.place_staged(work, release, with_data_only=not work.outputs["open"]["full"])


async def _back(work: Work) -> None:
    """The old folder by rename, with its release; whatever runs is ended first."""
    found = work.outputs["recognise"]
    await cutover.unplace_staged(work, str(found["from"]), str(found["range"]))
    text = "What was to be restored did not work; data and release are as they were before."
    await _tell(work, "restore_failed", text, events.PROBLEM)


async def _start(work: Work) -> dict[str, Any]:
    """10 it starts, and nobody but us knows where."""
    starting = cutover.start_unpublished(work, str(work.outputs["recognise"]["to"]))
    return {"address": await cutover.within_budget(work, starting, WAY_BACK)}


async def _verify(work: Work) -> dict[str, Any]:
    """It answers, lets its superusers in, and has every record that was brought."""
    found = work.outputs["recognise"]
    checking = verify(work, str(work.outputs["start"]["address"]), str(found["to"]), found["counts"])
    return await cutover.within_budget(work, checking, WAY_BACK)


async def _commit(work: Work) -> dict[str, Any]:
    """11 recorded before the gate opens; past this nothing is undone."""
    tools: Tools = work.tools
    found, present = work.outputs["recognise"], work.outputs["snapshot"]
    await cutover.choose_release(tools, work.instance_id, str(found["to"]), str(found["new_range"]))
    result = {
        **work.outputs.get("rehearse", {}).get(RESULT, {}),
        "from": found["from"],
        "release": found["to"],
        "range": found["new_range"],
        "snapshot": present["snapshot"],
        "left_out": work.outputs["open"]["left_out"],
        "off": not tools.fleet.may_run(work.instance_id),
    }
    await _tell(work, "restored", _said(work.params, result), events.INFO, **result)
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
    await drop_rehearsed(work)
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


def _said(origin: Mapping[str, Any], result: dict[str, Any]) -> str:
    source = f"the snapshot {origin['snapshot']}" if origin.get("snapshot") else "a backup"
    text = f"Restored from {'an uploaded file' if origin.get('upload') else source}, on PocketBase {result['release']}"
    if result["release"] != result["from"]:
        text += f" (before on {result['from']}), since that is what this data fits; it follows {result['range']} now"
    return text + "."


PLAN = Plan(
    "restore",
    (
        PlanStep("open", _open, staging.throw_away),
        PlanStep("recognise", _recognise),
        PlanStep("copy", _copy, drop_rehearsed),
        PlanStep("rehearse", _rehearse),
        PlanStep("decide", _decide),
        PlanStep("snapshot", _snapshot, _need_no_snapshot),
        PlanStep("hold", cutover.hold_and_stop, cutover.open_after_failure),
        PlanStep("compare", _compare),
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
