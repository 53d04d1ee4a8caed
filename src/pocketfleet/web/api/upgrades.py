"""Changing releases: upgrades, going back, what rehearsals found, and the owner's own probes.

POST /instances/{ref}/upgrade     rehearse a release; switch to it where that is safe, or accepted
POST /instances/{ref}/rollback    back to a snapshot with its release; asks first where anything would be lost
GET  /instances/{ref}/rehearsals  the newest first
GET  /rehearsals/{id}             one, with its whole report
GET  /instances/{ref}/probes      the owner's own requests
PUT  /instances/{ref}/probes      all of them anew
"""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from ninja import Router
from ninja.params.functions import Query
from ninja.responses import Status

from pocketfleet.actions import upgrades as actions
from pocketfleet.domain.roles import Verb
from pocketfleet.web import reading
from pocketfleet.web.access import instance_for, rehearsal_for
from pocketfleet.web.api.instances import started
from pocketfleet.web.api.schemas import (
    ProbesIn,
    ProbesOut,
    RehearsalOut,
    RehearsalsOut,
    RollbackIn,
    StartedOut,
    UpgradeIn,
)
from pocketfleet.web.callers import caller_of

router = Router(tags=["upgrades"])


@router.post("/instances/{ref}/upgrade", response={202: StartedOut}, summary="Rehearse a release, and switch to it")
def upgrade_instance(request: HttpRequest, ref: str, body: UpgradeIn) -> Status[dict[str, Any]]:
    """Without a range: the newest release of the one it follows. It ends as `asking` where somebody must decide."""
    operation = actions.upgrade_instance(
        instance_for(request, ref, Verb.OPERATE).id,
        body.range,
        rehearse_only=body.rehearse_only,
        accept_changes=body.accept_changes,
        rehearsal=body.rehearsal,
        acting_user=caller_of(request).user,
    )
    return started(operation)


@router.post("/instances/{ref}/rollback", response={202: StartedOut}, summary="Go back to a snapshot")
def rollback_instance(request: HttpRequest, ref: str, body: RollbackIn) -> Status[dict[str, Any]]:
    """It ends as `asking` where records or files would be lost; `result.lost` lists them: `records` and
    `files_by_collection` by collection, `files` of all together, `own` for hooks, migrations and public files."""
    operation = actions.rollback_instance(
        instance_for(request, ref, Verb.OPERATE).id,
        body.snapshot,
        accept_loss=body.accept_loss,
        export=body.export,
        acting_user=caller_of(request).user,
    )
    return started(operation)


@router.get("/instances/{ref}/rehearsals", response=RehearsalsOut, summary="List an instance's rehearsals")
def list_rehearsals(request: HttpRequest, ref: str, limit: int = Query(100, ge=1, le=1000)) -> dict[str, Any]:
    """The newest first, without their reports."""
    return {"items": reading.rehearsals(instance_for(request, ref).id, limit)}


@router.get("/rehearsals/{rehearsal_id}", response=RehearsalOut, summary="Show a rehearsal")
def show_rehearsal(request: HttpRequest, rehearsal_id: str) -> dict[str, Any]:
    """With its whole report."""
    return reading.rehearsal(rehearsal_for(request, rehearsal_id).id)


@router.get("/instances/{ref}/probes", response=ProbesOut, summary="List an instance's probes")
def list_probes(request: HttpRequest, ref: str) -> dict[str, Any]:
    """In their order."""
    return {"items": actions.probes_of(instance_for(request, ref).id)}


@router.put("/instances/{ref}/probes", response=ProbesOut, summary="Set an instance's probes")
def set_probes(request: HttpRequest, ref: str, body: ProbesIn) -> dict[str, Any]:
    """All of them; those that are not given are gone."""
    instance = instance_for(request, ref, Verb.OPERATE)
    actions.set_probes(instance.id, [probe.dict() for probe in body.items], acting_user=caller_of(request).user)
    return {"items": actions.probes_of(instance.id)}
