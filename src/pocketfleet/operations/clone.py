"""Cloning: a new instance with the data of another, which cannot speak to the world in the other's name."""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict
from typing import Any

from pocketfleet.actions import copy_records
from pocketfleet.actions.releases import known_releases
from pocketfleet.domain.fitting import choose_release, range_for
from pocketfleet.domain.releases import Version
from pocketfleet.errors import SettingsEncrypted
from pocketfleet.operations import create, staging, superusers
from pocketfleet.operations.fetch import ensure_release
from pocketfleet.operations.files import make_folders
from pocketfleet.operations.plan import RESULT, Plan, PlanStep, Work
from pocketfleet.operations.tools import Tools
from pocketfleet.rehearsal import sandbox
from pocketfleet.rehearsal.locked_settings import Key, loaded
from pocketfleet.runtime import tables
from pocketfleet.runtime.disk import remove_tree
from pocketfleet.runtime.switching_off import SwitchedOff, switch_off, write_settings


async def _copy(work: Work) -> dict[str, Any]:
    """The source is neither stopped nor woken."""
    return await staging.bring(work, str(work.params["source"]))


async def _release(work: Work) -> dict[str, Any]:
    """The one the data was copied from, or what fits it."""
    tools: Tools = work.tools
    await tools.fleet.renew([work.instance_id])
    now, said = tools.fleet.facts(work.instance_id).release, str(work.outputs["copy"]["release"])
    age = await staging.look_at(work)
    known = [Version(text) for text in await tools.database.call(known_releases)]
    release = choose_release(age.range, known, [now, said])
    await ensure_release(work, str(release))
    followed = range_for(await tools.database.call(copy_records.range_of, work.instance_id), release)
    await tools.database.call(copy_records.set_data_release, work.instance_id, str(release), followed)
    await tools.fleet.renew([work.instance_id])
    return {"release": str(release), "range": followed}


async def _switch_off(work: Work) -> dict[str, Any]:
    """Before PocketBase ever runs on it. Encrypted settings are opened and closed again with the source's own key."""
    folder = staging.new_data(work.tools.config, work.operation_id)
    mail, s3 = not work.params["keep_mail"], not work.params["keep_s3"]
    raw = await asyncio.to_thread(tables.raw_settings, folder)
    if not raw or not (mail or s3):
        return asdict(SwitchedOff())
    settings = loaded(raw)
    key = None if settings is not None else await _key(work)
    try:
        if key is not None:
            settings = await key.unlocked(raw)
        if settings is None:
            raise SettingsEncrypted(
                "The settings of this data are encrypted, and the secret PB_ENCRYPTION_KEY does not open them, so its "
                "mail and S3 cannot be switched off. Set that secret, or clone it as it is: `--keep-mail --keep-s3`."
            )
        done = switch_off(settings, mail=mail, s3=s3)
        if done != SwitchedOff():
            text = json.dumps(settings) if key is None else await key.locked(settings, raw)
            await asyncio.to_thread(write_settings, folder, text)
    finally:
        if key is not None:
            await asyncio.to_thread(remove_tree, key.work)
    return asdict(done)


async def _key(work: Work) -> Key:
    tools: Tools = work.tools
    guest = tools.fleet.guest(work.instance_id)
    sandboxed, _ = await asyncio.to_thread(sandbox.available)
    folder = staging.folder_of(tools.config, work.operation_id) / "key"
    await asyncio.to_thread(remove_tree, folder)
    key = guest.secrets.get(guest.encryption_env, "")
    return Key(key, guest.executable, sandbox.choose_place(sandboxed=sandboxed), folder)


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
        PlanStep("release", _release),
        PlanStep("settings", _switch_off),
        PlanStep("place", place, create.take_folders_away),
        PlanStep("ready", create.ready),
        PlanStep("publish", create.publish),
        PlanStep("finish", _finish),
    ),
    commit="ready",
)
