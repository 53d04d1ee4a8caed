"""Fetching a release's executable, and keeping those that are here sound."""

from __future__ import annotations

import logging
from typing import Any

from pocketfleet.actions.releases import (
    HowToFetch,
    fetch_release,
    fetched_releases,
    how_to_fetch,
    record_fetched,
    releases_in_use,
)
from pocketfleet.errors import NoReleaseMatches, ReleaseUnusable
from pocketfleet.operations.plan import Plan, PlanStep, Work
from pocketfleet.operations.tools import Tools
from pocketfleet.runtime.sources import OfferedAt
from pocketfleet.runtime.store import Fetched

log = logging.getLogger(__name__)


async def ensure_release(work: Work, version: str) -> dict[str, Any]:
    """Have this release's executable here; answers {"release", "source", "sha256"}.

    However many ask for it at the same time, it is fetched once, and other operations go on meanwhile. Raises
    NoReleaseMatches, ReleaseUnusable, DiskTrouble.
    """
    tools: Tools = work.tools
    known = await tools.database.call(how_to_fetch, version)
    if known.sha256 and await tools.store.verify(version, known.sha256):
        return {"release": version, "source": known.source, "sha256": known.sha256}
    async with work.aside():
        fetched = await tools.store.fetch(version, _in_order(tools, known), known.sha256, work.progress)
    await _record(tools, fetched)
    return {"release": version, "source": fetched.source, "sha256": fetched.sha256}


async def mend_releases(tools: Tools) -> list[str]:
    """Read every executable that is here once, and ask anew for those that instances run and that are missing or
    not what they were; answers which. Call it after the start: it reads tens of MB per release."""
    known = await tools.database.call(fetched_releases)
    missing = []
    for version in sorted(await tools.database.call(releases_in_use)):
        if version in known and not await tools.store.verify(version, known[version]):
            log.warning("the executable of PocketBase %s is missing or damaged; it is fetched again", version)
            missing.append(version)
            try:
                await tools.database.call(fetch_release, version, acting_user=None)
            except NoReleaseMatches as error:
                log.warning("%s", error.detail)
    return missing


async def _record(tools: Tools, fetched: Fetched) -> None:
    try:
        await tools.database.call(record_fetched, fetched.version, fetched.source, fetched.sha256)
    except ReleaseUnusable:
        await tools.store.discard(fetched.version)
        raise


def _in_order(tools: Tools, known: HowToFetch) -> list[OfferedAt]:
    """Who gave it first, then the others as the setting has them: builds of two sources differ."""
    names = [source.name for source in tools.store.sources]
    names.sort(key=lambda name: name != known.source)
    return [
        OfferedAt(name, offer.version, offer.location, offer.checksum, offer.published_at)
        for name in names
        if (offer := known.offers.get(name)) is not None
    ]


async def _fetch(work: Work) -> dict[str, Any]:
    return await ensure_release(work, str(work.params["release"]))


PLAN = Plan("fetch", (PlanStep("fetch", _fetch),))
