"""What somebody has agreed to: a fresh rehearsal's findings beside those of the report that was read."""

from __future__ import annotations

from pocketfleet.actions import upgrades
from pocketfleet.operations.plan import Work
from pocketfleet.rehearsal.report import Finding, unseen


async def news(work: Work, rehearsal_id: str, accepted_id: str) -> list[str]:
    """What a rehearsal found and the accepted one did not tell, in plain words, the heaviest first."""
    reasons = []
    for one in (rehearsal_id, accepted_id):
        found = await work.tools.database.call(upgrades.reasons_of, one)
        reasons.append([Finding.from_json(reason) for reason in found])
    return [finding.text for finding in unseen(*reasons)]
