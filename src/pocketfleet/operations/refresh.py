"""Looking for releases at every source."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from pocketfleet.actions.releases import Offered, record_offers, record_source_down, release_count
from pocketfleet.errors import PocketfleetError, SourceDown
from pocketfleet.operations.plan import Plan, PlanStep, Work
from pocketfleet.operations.tools import Tools
from pocketfleet.runtime.sources import Source

log = logging.getLogger(__name__)


async def _look(work: Work) -> dict[str, Any]:
    """Ask all sources at once, so that one that hangs does not delay the others' releases."""
    tools: Tools = work.tools
    sources = tools.store.sources
    await work.progress(None, f"asking {', '.join(source.name for source in sources)}")
    async with work.aside():
        answers = await asyncio.gather(*(_ask(tools, source) for source in sources))
    summary = dict(zip((source.name for source in sources), answers, strict=True))
    known = await tools.database.call(release_count)
    if known == 0 and all("warning" in answer for answer in answers):
        raise SourceDown(_nothing_known(summary), sources=summary)
    return {"sources": summary, "releases": known, "new": sum(answer.get("new", 0) for answer in answers)}


async def _ask(tools: Tools, source: Source) -> dict[str, Any]:
    """What became of asking this source: {"releases", "new"} or {"warning"}; what it offered before stays."""
    try:
        offers = await source.offers()
    except PocketfleetError as error:
        warning = error.detail
    except Exception as error:
        log.exception("the source %s failed", source.name)
        warning = f"{type(error).__name__}, see pocketfleet's own log."
    else:
        offered = [Offered(item.version, item.location, item.checksum, item.published_at) for item in offers]
        new = await tools.database.call(record_offers, source.name, offered)
        return {"releases": len(offered), "new": new}
    log.warning("the source %s is down: %s", source.name, warning)
    await tools.database.call(record_source_down, source.name, warning)
    return {"warning": warning}


def _nothing_known(summary: dict[str, dict[str, Any]]) -> str:
    why = " ".join(f"{name}: {answer['warning']}" for name, answer in summary.items())
    return (
        f"No release of PocketBase could be found. {why} Once one of them answers, look again: "
        "`pocketfleet releases --refresh`; or put wheels or executables into a folder (docs/settings.md)."
    )


PLAN = Plan("refresh", (PlanStep("look", _look),))
