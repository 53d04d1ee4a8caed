"""Changing an instance's release: rehearsed first, switched while its requests wait, and back as it was if it fails."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

from pocketfleet.actions import events, upgrades
from pocketfleet.actions.following import course_facts, has_system_migrations
from pocketfleet.domain.following import fingerprint as fingerprint_of
from pocketfleet.domain.policies import Course, Verdict, course_for, crosses_boundary
from pocketfleet.domain.refusals import Why
from pocketfleet.domain.releases import Version
from pocketfleet.domain.states import OperationState
from pocketfleet.errors import ChangedMeanwhile, DowngradeRefused, ReleaseBroken
from pocketfleet.operations import cutover
from pocketfleet.operations.accepting import news
from pocketfleet.operations.backup import BEFORE_UPGRADES, clear_away, make_backup
from pocketfleet.operations.fetch import ensure_release
from pocketfleet.operations.plan import RESULT, Plan, PlanStep, Work, ends
from pocketfleet.operations.rehearse import last_that_works, rehearse_release
from pocketfleet.operations.snapshot import drop_prepared, drop_rehearsed, prepare_checkpoint, take_snapshot
from pocketfleet.operations.tools import Tools
from pocketfleet.operations.verify import verify
from pocketfleet.runtime import inspect
from pocketfleet.runtime.ages import recognise

#: Seconds of the hold's budget that are kept for the way back: the old release's end, some renames and a start; and
#: twice what it took to look through the files once, since the way back compares two folders.
WAY_BACK = 5.0


async def _resolve(work: Work) -> dict[str, Any]:
    """1 the release, fetched and verified. One that it runs already needs no more than the new range."""
    tools: Tools = work.tools
    await tools.fleet.renew([work.instance_id])
    now, wanted = tools.fleet.facts(work.instance_id).release, str(work.params["release"])
    await ensure_release(work, now)
    await ensure_release(work, wanted)
    output = {"from": now, "to": wanted, RESULT: {"from": now, "to": wanted}}
    if now == wanted:
        if not work.params.get("rehearse_only"):
            await cutover.choose_release(tools, work.instance_id, now, str(work.params["range"]))
        return ends(OperationState.SUCCEEDED, output)
    return output


async def _snapshot(work: Work) -> dict[str, Any]:
    """2 a copy of the instance as it stands; integrity is checked here, where nobody waits."""
    manifest = await take_snapshot(work, "rehearsal", thorough=True)
    _refuse_downgrade(work, manifest.snapshot_id)
    return {"snapshot": manifest.snapshot_id, "fingerprints": manifest.fingerprints}


async def _rehearse(work: Work) -> dict[str, Any]:
    """3 old, new, old again, on clones; nothing live is touched."""
    found = work.outputs["resolve"]
    report = await rehearse_release(work, str(work.outputs["snapshot"]["snapshot"]), found["from"], found["to"])
    fingerprint = fingerprint_of(work.outputs["snapshot"]["fingerprints"], found["from"], found["to"])
    kept = await work.tools.database.call(
        upgrades.record_rehearsal, work.instance_id, work.operation_id, report.as_json(), fingerprint
    )
    return {
        "fingerprint": fingerprint,
        "system_migrations": has_system_migrations(report.as_json()),
        RESULT: {
            **found[RESULT],
            "verdict": str(report.verdict),
            "reasons": [reason.text for reason in report.reasons],
            "rehearsal": kept.id,
        },
    }


async def _decide(work: Work) -> dict[str, Any]:
    """4 go, ask, or stop; a broken release names the last one that works."""
    result: dict[str, Any] = dict(work.outputs["rehearse"][RESULT])
    verdict = Verdict(result["verdict"])
    if verdict is Verdict.BROKEN:
        result |= await last_that_works(work)
        if not work.params.get("rehearse_only"):
            await _refuse(work)
            raise ReleaseBroken(_broken(result), **result)
    if work.params.get("rehearse_only"):
        return await _end(work, OperationState.SUCCEEDED, result)
    if work.params.get("by_itself"):
        return await _decide_alone(work, verdict, result)
    if verdict is Verdict.CHANGED and (more := await _unseen(work, result)) is not None:
        return await _ask(work, result, more)
    return {RESULT: result}


async def _unseen(work: Work, result: dict[str, Any]) -> list[str] | None:
    """None where all that was found is accepted; else what is new to who accepted, which is nothing in particular
    where nobody did."""
    if not work.params.get("accept_changes"):
        return []
    accepted = str(work.params.get("accepted") or "")
    if not accepted:
        return None
    return await news(work, str(result["rehearsal"]), accepted) or None


async def _ask(work: Work, result: dict[str, Any], new_reasons: list[str]) -> dict[str, Any]:
    text = f"PocketBase {result['to']} would change something. Look at the report, then accept or leave it."
    if new_reasons:
        result["new_reasons"] = new_reasons
        text = f"PocketBase {result['to']} would change more than what was accepted: {new_reasons[0]} " + text
    await _tell(work, "asking", text, events.WARNING, result)
    return await _end(work, OperationState.ASKING, result)


async def _decide_alone(work: Work, verdict: Verdict, result: dict[str, Any]) -> dict[str, Any]:
    """Nobody asked: the policy, as it is by now, says how far it may go, and the window says when."""
    policy, window = await work.tools.database.call(course_facts, work.instance_id)
    ran = bool(work.outputs["rehearse"]["system_migrations"])
    boundary = crosses_boundary(Version(result["from"]), Version(result["to"]), system_migrations_ran=ran)
    course = course_for(policy, verdict, boundary=boundary)
    if course is Course.UPGRADE and (window is None or window.is_open(datetime.now(UTC))):
        return {RESULT: result}
    if course is Course.ASK:
        text = f"PocketBase {result['to']} is there, and its rehearsal says: {verdict}. "
        text += "It changes PocketBase's own tables. " if boundary else ""
        await _tell(work, "asking", text + "To switch to it: `pocketfleet upgrade`.", events.WARNING, result)
        return await _end(work, OperationState.ASKING, result)
    # following was switched off meanwhile, or the window has closed: the next one comes
    return await _end(work, OperationState.CANCELLED, result)


async def _end(work: Work, state: OperationState, result: dict[str, Any]) -> dict[str, Any]:
    """Nothing more to do: the copy that was rehearsed on goes."""
    await drop_rehearsed(work)
    return ends(state, {RESULT: result})


async def _backup(work: Work) -> dict[str, Any]:
    """A zip to keep and to take away, besides the checkpoint that we go back to."""
    return await make_backup(work, "upgrade", full=True, keep=BEFORE_UPGRADES)


async def _prepare(work: Work) -> None:
    """The files of the final copy, as far as that can be ahead of the hold."""
    await prepare_checkpoint(work, base=str(work.outputs["snapshot"]["snapshot"]))


async def _checkpoint(work: Work) -> dict[str, Any]:
    """7 the final copy, everything in it on the disk; and what was rehearsed must still be what is there."""
    rehearsed = work.outputs["snapshot"]
    taking = take_snapshot(work, "checkpoint", thorough=False, base=str(rehearsed["snapshot"]))
    manifest = await cutover.within_budget(work, taking, WAY_BACK)
    if manifest.fingerprints != rehearsed["fingerprints"]:
        raise ChangedMeanwhile(
            "Hooks, migrations or the schema changed after the rehearsal, so it says nothing any more. "
            "Nothing was changed by us; start the upgrade again."
        )
    way_back = WAY_BACK + 2 * manifest.files_ms / 1000
    return {"snapshot": manifest.snapshot_id, "counts": manifest.counts, "way_back": way_back}


def _way_back(work: Work) -> float:
    return float(work.outputs["checkpoint"].get("way_back", WAY_BACK))


async def _switch(work: Work) -> dict[str, Any]:
    """8 the new release starts on the data, and nobody but us knows where."""
    release = str(work.outputs["resolve"]["to"])
    await cutover.choose_release(work.tools, work.instance_id, release)
    address = await cutover.within_budget(work, cutover.start_unpublished(work, release), _way_back(work))
    return {"address": address}


async def _back(work: Work) -> None:
    """The old data by rename, with the old release; what the new one may have done to it is thrown away."""
    found = work.outputs["resolve"]
    await cutover.put_in_place(work, str(work.outputs["checkpoint"]["snapshot"]), str(found["from"]))
    await _refuse(work)
    text = f"The change to PocketBase {found['to']} did not work; data and release are as they were before."
    await _tell(work, "upgrade_failed", text, events.PROBLEM)


async def _verify(work: Work) -> dict[str, Any]:
    """9 health, sign-in, lists, built-in routes and the owner's safe probes."""
    found = work.outputs["resolve"]
    checking = verify(work, str(work.outputs["switch"]["address"]), found["to"], work.outputs["checkpoint"]["counts"])
    checked = await cutover.within_budget(work, checking, _way_back(work))
    # what the new release has made of the schema and the settings: whatever differs later is somebody's work
    folder = work.tools.config.instances / work.instance_id
    return {
        **checked,
        "schema": await asyncio.to_thread(inspect.schema_fingerprint, folder, live=True),
        "settings": await asyncio.to_thread(inspect.settings_fingerprint, folder, live=True),
    }


async def _commit(work: Work) -> dict[str, Any]:
    """10 recorded before the gate opens; past this nothing is undone."""
    found = work.outputs["resolve"]
    await cutover.choose_release(work.tools, work.instance_id, found["to"], str(work.params["range"]))
    text = f"Now on PocketBase {found['to']}, before on {found['from']}."
    await _tell(work, "upgraded", text, events.INFO, work.outputs["decide"][RESULT])
    return {RESULT: work.outputs["decide"][RESULT] | {"snapshot": work.outputs["checkpoint"]["snapshot"]}}


async def _open(work: Work) -> dict[str, Any]:
    output = await cutover.open_again(work)
    await drop_rehearsed(work)
    return {RESULT: work.outputs["commit"][RESULT] | output.get(RESULT, {})}


def _refuse_downgrade(work: Work, snapshot_id: str) -> None:
    """An older release on data that a newer one migrated says 200 and fails every sign-in and write (FACTS.md)."""
    found = work.outputs["resolve"]
    if Version(found["to"]) >= Version(found["from"]):
        return
    age = recognise(work.tools.snapshots.path(work.instance_id, snapshot_id))
    if Version(found["to"]) < Version(age.lowest):
        raise DowngradeRefused(
            f"This data has system migrations that PocketBase {found['to']} does not know: it needs {age.range}. "
            "To go back further, restore a snapshot of that age: `pocketfleet rollback`.",
            needs=age.range,
        )


async def _refuse(work: Work) -> None:
    """Not to be tried again by itself, as long as nothing that matters has changed."""
    if fingerprint := work.outputs.get("rehearse", {}).get("fingerprint"):
        release = str(work.outputs["resolve"]["to"])
        await work.tools.database.call(upgrades.refuse_release, work.instance_id, release, fingerprint, Why.FAILED)


async def _tell(work: Work, kind: str, text: str, weight: str, detail: dict[str, Any] | None = None) -> None:
    await work.tools.database.call(
        events.tell, work.instance_id, kind, text, weight, work.operation_id, **(detail or {})
    )


def _broken(result: dict[str, Any]) -> str:
    why = result["reasons"][0] if result["reasons"] else "the rehearsal failed"
    last = f" The last release that works is {result['last_that_works']}." if result.get("last_that_works") else ""
    return f"PocketBase {result['to']} does not work with this data: {why}{last}"


PLAN = Plan(
    "upgrade",
    (
        PlanStep("resolve", _resolve),
        PlanStep("snapshot", _snapshot, drop_rehearsed),
        PlanStep("rehearse", _rehearse),
        PlanStep("decide", _decide),
        PlanStep("backup", _backup, clear_away),
        PlanStep("prepare", _prepare, drop_prepared),
        PlanStep("hold", cutover.hold_and_stop, cutover.open_after_failure),
        PlanStep("checkpoint", _checkpoint),
        PlanStep("switch", _switch, _back),
        PlanStep("verify", _verify),
        PlanStep("commit", _commit),
        PlanStep("open", _open),
    ),
    commit="commit",
    live="hold",
)
