"""Going back: an earlier snapshot with its release takes the place of what is there, after saying what is lost."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pocketfleet.actions import events
from pocketfleet.actions.copy_records import range_of, record_backup
from pocketfleet.actions.upgrades import refuse_release
from pocketfleet.domain.following import fingerprint
from pocketfleet.domain.ids import derived_id
from pocketfleet.domain.ranges import matches
from pocketfleet.domain.refusals import Why
from pocketfleet.domain.releases import Version
from pocketfleet.domain.states import OperationState
from pocketfleet.errors import ChangedMeanwhile
from pocketfleet.operations import cutover, staging, superusers
from pocketfleet.operations.fetch import ensure_release
from pocketfleet.operations.plan import RESULT, Plan, PlanStep, Work, ends
from pocketfleet.operations.snapshot import drop_prepared, drop_rehearsed, prepare_checkpoint, take_snapshot
from pocketfleet.operations.tools import Tools
from pocketfleet.operations.verify import verify
from pocketfleet.runtime import inspect
from pocketfleet.runtime.changes import Changes, changes_between
from pocketfleet.runtime.exports import write_losses

#: Collections whose records come and go with each sign-in.
PASSING = {"_authOrigins", "_mfas", "_otps"}
#: Seconds of the hold's budget that are kept for the way back, which is two renames and a start.
WAY_BACK = 5.0


async def _resolve(work: Work) -> dict[str, Any]:
    """1 the snapshot is sound, and its release is here."""
    tools: Tools = work.tools
    await tools.fleet.renew([work.instance_id])
    manifest = await tools.snapshots.verify(work.instance_id, str(work.params["snapshot"]))
    now = tools.fleet.facts(work.instance_id).release
    await ensure_release(work, manifest.release)
    await ensure_release(work, now)
    result = {"from": now, "to": manifest.release, "snapshot": manifest.snapshot_id}
    facts = {"counts": manifest.counts, "fingerprints": manifest.fingerprints}
    return {"from": now, "to": manifest.release, **facts, RESULT: result}


async def _losses(work: Work) -> dict[str, Any]:
    """2 what was created, changed and deleted since; without consent to losing it, it ends here by asking."""
    tools: Tools = work.tools
    present = await take_snapshot(work, "rehearsal", thorough=False)
    old = tools.snapshots.path(work.instance_id, str(work.params["snapshot"]))
    new = tools.snapshots.path(work.instance_id, present.snapshot_id)
    found = await asyncio.to_thread(changes_between, old, new)
    changes = await superusers.without_ours(tools, work.instance_id, found)
    result = {**work.outputs["resolve"][RESULT], "lost": losses(changes)}
    if work.params.get("export") and not changes.nothing:
        result["export"] = await _export(work, old, new)
    output = {"present": present.snapshot_id, RESULT: result}
    as_switched = await _as_switched(work, present.snapshot_id)
    if work.params.get("accept_loss") or (loses_nothing(changes) and as_switched):
        return output
    what = "what was written since" if as_switched else "changes to collections or settings since"
    why = f"PocketBase {result['from']} fails since the upgrade. " if work.params.get("by_itself") else ""
    text = f"{why}Going back would lose {what}. Look at the list, then go back (`pocketfleet rollback`) or leave it."
    await tools.database.call(
        events.tell, work.instance_id, "asking", text, events.WARNING, work.operation_id, **result
    )
    await drop_rehearsed(work)
    return ends(OperationState.ASKING, output)


async def _export(work: Work, old: Path, new: Path) -> str:
    """What would be lost as a zip among the backups, to be downloaded and removed like those; answers its name."""
    tools: Tools = work.tools
    name, found = f"lost-{work.operation_id}.zip", work.outputs["resolve"]
    target = tools.config.backups / work.instance_id / name
    facts = {"from": found["from"], "to": found["to"], "snapshot": str(work.params["snapshot"])}
    written = await write_losses(old, new, target, facts, work.progress)
    await tools.database.call(
        record_backup,
        work.instance_id,
        derived_id(work.operation_id, "export"),
        name=name,
        purpose="lost",
        release=found["from"],
        full=False,
        size=written.size,
        sha256=written.sha256,
    )
    return name


async def _stage(work: Work) -> None:
    """3 the older data aside, while nobody waits yet: in the hold it is renamed, not copied."""
    await staging.bring(work, work.instance_id)


async def _prepare(work: Work) -> None:
    """4 the files of the checkpoint, as far as that can be ahead of the hold."""
    await prepare_checkpoint(work, base=str(work.outputs["losses"]["present"]))


async def _checkpoint(work: Work) -> dict[str, Any]:
    """6 what is there now, kept, so that going back can be gone back on."""
    taking = take_snapshot(work, "checkpoint", thorough=False, base=str(work.outputs["losses"]["present"]))
    manifest = await cutover.within_budget(work, taking, reserve=WAY_BACK)
    if not work.params.get("accept_loss"):
        await cutover.within_budget(work, _check_nothing_came(work, manifest.snapshot_id), reserve=WAY_BACK)
    return {"snapshot": manifest.snapshot_id}


async def _check_nothing_came(work: Work, snapshot_id: str) -> None:
    """Requests went on until the hold: what they wrote since the list was made was agreed to by nobody."""
    path = work.tools.snapshots.path
    old, new = path(work.instance_id, str(work.params["snapshot"])), path(work.instance_id, snapshot_id)
    found = await asyncio.to_thread(changes_between, old, new)
    changes = await superusers.without_ours(work.tools, work.instance_id, found)
    if not (loses_nothing(changes) and await _as_switched(work, snapshot_id)):
        raise ChangedMeanwhile(
            "Something was written while this was under way, and would have been lost. Nothing was changed; "
            "ask again to see what it is.",
            lost=losses(changes),
        )


async def _put(work: Work) -> None:
    """7 the present folder aside and the older one in its place, by rename, and its release."""
    await cutover.place_staged(work, str(work.outputs["resolve"]["to"]), with_data_only=False)


async def _take_back(work: Work) -> None:
    await cutover.unplace_staged(work, str(work.outputs["resolve"]["from"]))


async def _start(work: Work) -> dict[str, Any]:
    """8 the older release starts on it, and nobody but us knows where."""
    starting = cutover.start_unpublished(work, str(work.outputs["resolve"]["to"]))
    return {"address": await cutover.within_budget(work, starting, reserve=WAY_BACK)}


async def _verify(work: Work) -> dict[str, Any]:
    """9 it answers as it must."""
    found = work.outputs["resolve"]
    checking = verify(work, str(work.outputs["start"]["address"]), found["to"], found["counts"])
    return await cutover.within_budget(work, checking, reserve=WAY_BACK)


async def _commit(work: Work) -> dict[str, Any]:
    """10 recorded before the gate opens. It does not move to that release again by itself: that one is refused; and
    where its range does not take the old one, it follows the old one exactly."""
    found = work.outputs["resolve"]
    wanted = await work.tools.database.call(range_of, work.instance_id)
    kept = wanted if matches(wanted, Version(found["to"])) else found["to"]
    await cutover.choose_release(work.tools, work.instance_id, found["to"], kept)
    if Version(found["from"]) > Version(found["to"]):
        judged = fingerprint(found["fingerprints"], found["to"], found["from"])
        await work.tools.database.call(refuse_release, work.instance_id, found["from"], judged, Why.TAKEN_BACK)
    text = f"Back on PocketBase {found['to']} with the data of snapshot {work.params['snapshot']}."
    result = work.outputs["losses"][RESULT]
    await work.tools.database.call(
        events.tell, work.instance_id, "rolled_back", text, events.WARNING, work.operation_id, **result
    )
    return {RESULT: {**result, "checkpoint": work.outputs["checkpoint"]["snapshot"]}}


async def _open(work: Work) -> dict[str, Any]:
    output = await cutover.open_again(work)
    return {RESULT: work.outputs["commit"][RESULT] | output.get(RESULT, {})}


async def _tidy(work: Work) -> None:
    """What was replaced goes: the checkpoint holds all of it."""
    await staging.finish(work, keep_old=False)
    await drop_rehearsed(work)


async def _as_switched(work: Work, snapshot_id: str) -> bool:
    """Whether collections and settings are what the switch made of them; where that is not known, they count as such.
    Only who goes back without being asked need know: a person sees the list."""
    if not work.params.get("by_itself"):
        return True
    data = work.tools.snapshots.path(work.instance_id, snapshot_id)
    for part, read in (("schema", inspect.schema_fingerprint), ("settings", inspect.settings_fingerprint)):
        judged = work.params.get(part)
        if judged and await asyncio.to_thread(read, data) != judged:
            return False
    return True


def loses_nothing(changes: Changes) -> bool:
    """Whether nobody would miss anything: signing in leaves rows in tables of PocketBase's own, and is no work."""
    return not changes.records.keys() - PASSING and changes.files.total == 0 and changes.own.total == 0


def losses(changes: Changes) -> dict[str, Any]:
    """What going back loses, as data: numbers and the first ids, by collection."""
    return {
        "records": {name: asdict(changed) for name, changed in changes.records.items()},
        **changes.besides,
    }


PLAN = Plan(
    "rollback",
    (
        PlanStep("resolve", _resolve),
        PlanStep("losses", _losses, drop_rehearsed),
        PlanStep("stage", _stage, staging.throw_away),
        PlanStep("prepare", _prepare, drop_prepared),
        PlanStep("hold", cutover.hold_and_stop, cutover.open_after_failure),
        PlanStep("checkpoint", _checkpoint),
        PlanStep("put", _put, _take_back),
        PlanStep("start", _start),
        PlanStep("verify", _verify),
        PlanStep("commit", _commit),
        PlanStep("open", _open),
        PlanStep("tidy", _tidy),
    ),
    commit="commit",
    live="hold",
)
