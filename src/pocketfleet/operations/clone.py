"""Cloning: a new instance with the data of another, which cannot speak to the world in the other's name."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import Any

from pocketfleet.actions import copy_records
from pocketfleet.actions.releases import known_releases
from pocketfleet.domain.fitting import choose_release, range_for
from pocketfleet.domain.releases import Version
from pocketfleet.operations import create, staging, superusers
from pocketfleet.operations.fetch import ensure_release
from pocketfleet.operations.files import make_folders
from pocketfleet.operations.plan import RESULT, Plan, PlanStep, Work
from pocketfleet.operations.tools import Tools
from pocketfleet.runtime.switching_off import switch_off


async def _copy(work: Work) -> dict[str, Any]:
    """The source is neither stopped nor woken."""
    return await staging.bring(work, str(work.params["source"]))


async def _switch_off(work: Work) -> dict[str, Any]:
    """Before PocketBase ever runs on it."""
    folder = staging.new_data(work.tools.config, work.operation_id)
    mail, s3 = not work.params["keep_mail"], not work.params["keep_s3"]
    return asdict(await asyncio.to_thread(switch_off, folder, mail=mail, s3=s3))


async def _release(work: Work) -> dict[str, Any]:
    """The one the data was copied from, or what fits it."""
    tools: Tools = work.tools
    await tools.fleet.renew([work.instance_id])
    now, said = tools.fleet.facts(work.instance_id).release, str(work.outputs["copy"]["release"])
    age = await staging.look_at(work)
    known = [Version(text) for text in await tools.database.call(known_releases)]
    release = choose_release(age.range, known, [now, said])
    await ensure_release(tools, str(release), work.progress)
    followed = range_for(await tools.database.call(copy_records.range_of, work.instance_id), release)
    await tools.database.call(copy_records.set_data_release, work.instance_id, str(release), followed)
    await tools.fleet.renew([work.instance_id])
    return {"release": str(release), "range": followed}


async def place(work: Work) -> None:
    """Nothing was there before. Superusers that pocketfleet made for people of another instance stay behind."""
    tools: Tools = work.tools
    async with tools.supervisor.at_rest(work.instance_id):
        await staging.put_in_place(work, with_data_only=False)
        await asyncio.to_thread(make_folders, tools.config, work.instance_id)
        await superusers.weed(tools, work.instance_id)


async def _finish(work: Work) -> dict[str, Any]:
    await staging.finish(work, keep_old=False)
    off = {name: value for name, value in work.outputs["settings"].items() if value}
    found = work.outputs["release"] | {"switched_off": sorted(off), "left_out": work.outputs["copy"]["left_out"]}
    return {RESULT: found}


PLAN = Plan(
    "clone",
    (
        PlanStep("know", create.know, create.give_up),
        PlanStep("copy", _copy, staging.throw_away),
        PlanStep("settings", _switch_off),
        PlanStep("release", _release),
        PlanStep("place", place, create.take_folders_away),
        PlanStep("ready", create.ready),
        PlanStep("publish", create.publish),
        PlanStep("finish", _finish),
    ),
    commit="ready",
)
