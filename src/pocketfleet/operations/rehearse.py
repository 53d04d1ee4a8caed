"""Rehearsals as operations need them: one release, the search for the last one that works, data to be restored."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

from pocketfleet.actions.releases import known_releases
from pocketfleet.actions.superusers import made_here
from pocketfleet.actions.upgrades import probes_of
from pocketfleet.domain.policies import Verdict
from pocketfleet.domain.releases import Version
from pocketfleet.operations import staging
from pocketfleet.operations.fetch import ensure_release
from pocketfleet.operations.plan import Work
from pocketfleet.operations.tools import Tools
from pocketfleet.rehearsal.clone import Release
from pocketfleet.rehearsal.replaced import Brought
from pocketfleet.rehearsal.report import Report
from pocketfleet.rehearsal.run import Request, rehearse
from pocketfleet.runtime.changes import Changes, changes_between, records
from pocketfleet.runtime.removing import remove_quietly

#: Rehearsals that the search for the last release that works takes at most; six halve a hundred releases to one.
_MOST_TRIES = 7
#: Tables of superusers, from 0.23 on and before.
_PEOPLE = ("_superusers", "_admins")


async def rehearse_release(work: Work, snapshot_id: str, old: str, new: str) -> Report:
    """The report on `new` for the data of a snapshot. Both executables are here. Leaves nothing on the disk."""
    return await _rehearse(work, work.tools.snapshots.path(work.instance_id, snapshot_id), old, new)


async def rehearse_restore(work: Work, snapshot_id: str | None, why_alone: str, old: str, new: str) -> Report:
    """The report on what was brought aside, with the release `new`, in place of the present data: a snapshot of it,
    with the release `old`; None where there is none, for this reason. Leaves nothing on the disk."""
    tools: Tools = work.tools
    folder = staging.new_data(tools.config, work.operation_id)
    if snapshot_id is None:
        return await _rehearse(work, folder, new, new, Brought(folder, why_alone=why_alone))
    now = tools.snapshots.path(work.instance_id, snapshot_id)
    changes = await asyncio.to_thread(changes_between, now, folder)
    gone = await _gone_superusers(work, now, changes)
    return await _rehearse(work, now, old, new, Brought(folder, changes, gone, why_alone))


async def _gone_superusers(work: Work, now: Path, changes: Changes) -> list[str]:
    """Addresses of superusers that are there now and not in what is brought; those that pocketfleet made come again
    by themselves."""
    ids = [one for name in _PEOPLE if name in changes.records for one in changes.records[name].deleted_ids]
    ours = await work.tools.database.call(made_here, work.instance_id, ids)
    others = [one for one in ids if one not in ours]

    def read() -> list[str]:
        # the table that is there now may have the other name
        return sorted(str(row["email"]) for name in _PEOPLE for row in records(now, name, others))

    return await asyncio.to_thread(read)


async def _rehearse(work: Work, data: Path, old: str, new: str, brought: Brought | None = None) -> Report:
    tools: Tools = work.tools
    guest = tools.fleet.guest(work.instance_id)
    folder = tools.config.home / "rehearsals" / f"{work.operation_id}-{new}"
    await asyncio.to_thread(remove_quietly, folder)
    request = Request(
        storage=tools.fleet.storage(work.instance_id),
        snapshot=data,
        work=folder,
        old=Release(old, tools.store.path(old)),
        new=Release(new, tools.store.path(new)),
        secrets=guest.secrets,
        dev=guest.dev,
        probes=await tools.database.call(probes_of, work.instance_id),
        encryption_env=guest.encryption_env,
        brought=brought,
    )
    try:
        async with tools.commander.confined(f"rehearsal-{work.operation_id}", guest) as confines:
            return await rehearse(replace(request, confines=confines), work.progress)
    finally:
        await asyncio.to_thread(remove_quietly, folder)


async def last_that_works(work: Work) -> dict[str, Any]:
    """The newest release before the broken one that is not, and what stops the next; halving what lies between."""
    tools: Tools = work.tools
    found = work.outputs["resolve"]
    low, high = Version(found["from"]), Version(found["to"])
    known = sorted(Version(text) for text in await tools.database.call(known_releases))
    between = [version for version in known if low < version < high and not version.is_prerelease]
    answer: dict[str, Any] = {"last_that_works": None, "first_that_fails": high.text}
    tries = 0
    while between and tries < _MOST_TRIES:
        tries += 1
        middle = between[len(between) // 2]
        await work.progress(tries / _MOST_TRIES, f"looking for the last release that works: {middle}")
        await ensure_release(work, middle.text)
        report = await rehearse_release(work, str(work.outputs["snapshot"]["snapshot"]), low.text, middle.text)
        if report.verdict is Verdict.BROKEN:
            answer |= {"first_that_fails": middle.text, "stops_it": [reason.text for reason in report.reasons[:3]]}
            between = [version for version in between if version < middle]
        else:
            answer["last_that_works"] = middle.text
            between = [version for version in between if version > middle]
    return answer
