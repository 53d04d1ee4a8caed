"""Deleting an instance: its files go to quarantine, its name is free, its id and address never return."""

from __future__ import annotations

import asyncio

from pocketfleet.actions.observations import mark_closed, mark_deleted, mark_ready
from pocketfleet.domain.states import Power
from pocketfleet.errors import MustBePoweredOff
from pocketfleet.operations.files import from_quarantine, to_quarantine
from pocketfleet.operations.plan import Plan, PlanStep, Work
from pocketfleet.operations.tools import Tools


async def _close(work: Work) -> None:
    """Only one that is powered off; from here on nothing starts it, whoever switches it on meanwhile."""
    tools: Tools = work.tools
    await tools.fleet.renew([work.instance_id])
    facts = tools.fleet.facts(work.instance_id)
    if facts.power != Power.OFF:
        raise MustBePoweredOff(facts.name)
    await tools.database.call(mark_closed, work.instance_id)
    await tools.fleet.renew([work.instance_id])


async def _open_again(work: Work) -> None:
    tools: Tools = work.tools
    await tools.database.call(mark_ready, work.instance_id)
    await tools.fleet.renew([work.instance_id])


async def _sleep(work: Work) -> None:
    tools: Tools = work.tools
    await tools.supervisor.sleep(work.instance_id, cause="deleted", drain=None, quiet_only=False)


async def _quarantine(work: Work) -> None:
    tools: Tools = work.tools
    async with tools.supervisor.at_rest(work.instance_id):
        await asyncio.to_thread(to_quarantine, tools.config, work.instance_id)


async def _back(work: Work) -> None:
    tools: Tools = work.tools
    async with tools.supervisor.at_rest(work.instance_id):
        await asyncio.to_thread(from_quarantine, tools.config, work.instance_id)


async def _forget(work: Work) -> None:
    tools: Tools = work.tools
    await tools.database.call(mark_deleted, work.instance_id)


async def _unpublish(work: Work) -> None:
    tools: Tools = work.tools
    await tools.fleet.renew([work.instance_id])


PLAN = Plan(
    "delete",
    (
        PlanStep("close", _close, _open_again),
        PlanStep("sleep", _sleep),
        PlanStep("quarantine", _quarantine, _back),
        PlanStep("forget", _forget),
        PlanStep("unpublish", _unpublish),
    ),
    commit="forget",
    live="quarantine",
)
