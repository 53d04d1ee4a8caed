"""Rehearsals as operations need them: one release, or the search for the last one that works."""

from __future__ import annotations

import asyncio
import shutil
from typing import Any

from pocketfleet.actions.releases import known_releases
from pocketfleet.actions.upgrades import probes_of
from pocketfleet.domain.policies import Verdict
from pocketfleet.domain.releases import Version
from pocketfleet.operations.fetch import ensure_release
from pocketfleet.operations.plan import Work
from pocketfleet.operations.tools import Tools
from pocketfleet.rehearsal.clone import Release
from pocketfleet.rehearsal.report import Report
from pocketfleet.rehearsal.run import Request, rehearse

#: Rehearsals that the search for the last release that works takes at most; six halve a hundred releases to one.
_MOST_TRIES = 7


async def rehearse_release(work: Work, snapshot_id: str, old: str, new: str) -> Report:
    """The report on `new` for the data of a snapshot. Both executables are here. Leaves nothing on the disk."""
    tools: Tools = work.tools
    guest = tools.fleet.guest(work.instance_id)
    folder = tools.config.home / "rehearsals" / f"{work.operation_id}-{new}"
    await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
    request = Request(
        snapshot=tools.snapshots.path(work.instance_id, snapshot_id),
        work=folder,
        old=Release(old, tools.store.path(old)),
        new=Release(new, tools.store.path(new)),
        secrets=guest.secrets,
        dev=guest.dev,
        probes=await tools.database.call(probes_of, work.instance_id),
        encryption_env=guest.encryption_env,
    )
    try:
        return await rehearse(request, work.progress)
    finally:
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)


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
