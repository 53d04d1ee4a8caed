"""Putting an instance to sleep by hand."""

from __future__ import annotations

from pocketfleet.operations.plan import Plan, PlanStep, Work
from pocketfleet.operations.tools import Tools

#: Seconds that requests get to end; event streams are ended after that as at any restart.
DRAIN = 5.0


async def _sleep(work: Work) -> dict[str, bool]:
    tools: Tools = work.tools
    slept = await tools.supervisor.sleep(work.instance_id, cause="by hand", drain=DRAIN, quiet_only=False)
    return {"slept": slept}


PLAN = Plan("sleep", (PlanStep("sleep", _sleep),))
