"""Importing: an instance of somebody's existing PocketBase, with the release that fits its data."""

from __future__ import annotations

from typing import Any

from pocketfleet.actions import copy_records
from pocketfleet.actions.releases import known_releases
from pocketfleet.domain import ranges
from pocketfleet.domain.fitting import check_fits, choose_release, range_for
from pocketfleet.domain.releases import Version
from pocketfleet.errors import ArchiveRefused
from pocketfleet.operations import create, staging
from pocketfleet.operations.clone import place
from pocketfleet.operations.fetch import ensure_release
from pocketfleet.operations.plan import RESULT, Plan, PlanStep, Work
from pocketfleet.operations.tools import Tools


async def _open(work: Work) -> dict[str, Any]:
    """The upload, unpacked and checked."""
    return await staging.bring(work, work.instance_id)


async def _release(work: Work) -> dict[str, Any]:
    """What was asked for, if it runs the data as it is; else the newest release that does."""
    tools: Tools = work.tools
    age = await staging.look_at(work)
    email = await staging.first_superuser(work)
    if not email and not work.params.get("email"):
        raise ArchiveRefused(
            "This data has no superuser, so whoever comes first could claim it. Give one: --email and --password."
        )
    known = [Version(text) for text in await tools.database.call(known_releases)]
    asked = work.params.get("range")
    if asked is not None:
        release = ranges.resolve(str(asked), known)
        check_fits(age.range, release)
    else:
        said = str(work.outputs["open"]["release"])
        release = choose_release(age.range, known, [said] if Version(said or "0.0.0") in known else [])
    await ensure_release(work, str(release))
    followed = range_for(str(asked or ""), release)
    own = work.params.get("email") or email
    await tools.database.call(copy_records.set_data_release, work.instance_id, str(release), followed, own)
    await tools.fleet.renew([work.instance_id])
    return {"release": str(release), "range": followed, "superuser": own}


async def _superuser(work: Work) -> None:
    """One more, where one was asked for; those in the data stay."""
    if work.params.get("email"):
        await create.superuser(work)


async def _finish(work: Work) -> dict[str, Any]:
    await staging.finish(work, keep_old=False)
    return {RESULT: work.outputs["release"] | {"left_out": work.outputs["open"]["left_out"]}}


PLAN = Plan(
    "import",
    (
        PlanStep("know", create.know, create.give_up),
        PlanStep("open", _open, staging.throw_away),
        PlanStep("release", _release),
        PlanStep("place", place, create.take_folders_away),
        PlanStep("superuser", _superuser),
        PlanStep("ready", create.ready),
        PlanStep("publish", create.publish),
        PlanStep("finish", _finish),
    ),
    commit="ready",
    secret_params=("password_hash",),
)
