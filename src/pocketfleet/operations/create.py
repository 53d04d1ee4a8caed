"""Creating an instance: after it, somebody can sign in; if it fails, nothing is left and the name is free."""

from __future__ import annotations

import asyncio
from typing import Any

from pocketfleet.actions.observations import mark_deleted, mark_purged, mark_ready
from pocketfleet.operations.fetch import ensure_release
from pocketfleet.operations.files import make_folders, remove_folders
from pocketfleet.operations.plan import Plan, PlanStep, Work
from pocketfleet.operations.tools import Tools
from pocketfleet.runtime.superuser import create_superuser


async def know(work: Work) -> None:
    """The fleet may not have heard of it yet."""
    tools: Tools = work.tools
    await tools.fleet.renew([work.instance_id])
    tools.fleet.facts(work.instance_id)


async def give_up(work: Work) -> None:
    """Free the name; the row stays, so that id and address never return."""
    tools: Tools = work.tools
    await tools.database.call(mark_deleted, work.instance_id)
    await tools.database.call(mark_purged, work.instance_id)
    await tools.fleet.renew([work.instance_id])


async def _release(work: Work) -> dict[str, Any]:
    tools: Tools = work.tools
    return await ensure_release(work, tools.fleet.facts(work.instance_id).release)


async def _folders(work: Work) -> None:
    tools: Tools = work.tools
    await asyncio.to_thread(make_folders, tools.config, work.instance_id)


async def take_folders_away(work: Work) -> None:
    tools: Tools = work.tools
    async with tools.supervisor.at_rest(work.instance_id):
        await asyncio.to_thread(remove_folders, tools.config, work.instance_id)


async def superuser(work: Work) -> None:
    """Before PocketBase ever serves, so that nobody else can claim it."""
    tools: Tools = work.tools
    async with tools.supervisor.at_rest(work.instance_id) as lock:
        guest = tools.fleet.guest(work.instance_id)
        email, password_hash = str(work.params["email"]), str(work.params["password_hash"])
        await create_superuser(guest, email, password_hash, lock=lock, commander=tools.commander)


async def ready(work: Work) -> dict[str, Any]:
    tools: Tools = work.tools
    await tools.database.call(mark_ready, work.instance_id)
    return {"release": tools.fleet.facts(work.instance_id).release}


async def publish(work: Work) -> None:
    tools: Tools = work.tools
    await tools.fleet.renew([work.instance_id])


PLAN = Plan(
    "create",
    (
        PlanStep("know", know, give_up),
        PlanStep("release", _release),
        PlanStep("folders", _folders, take_folders_away),
        PlanStep("superuser", superuser),
        PlanStep("ready", ready),
        PlanStep("publish", publish),
    ),
    commit="ready",
    secret_params=("password_hash",),
)
