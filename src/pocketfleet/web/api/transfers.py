"""Bringing data into instances: restores, clones, imports.

POST /instances/{ref}/restore  what a snapshot, a backup or an upload holds takes the place of what is there
POST /instances/{ref}/clone    a new instance with this one's data
POST /imports                  a new instance of an uploaded PocketBase
"""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.http import HttpRequest
from ninja import Router
from ninja.responses import Status

from pocketfleet.actions import copies as actions
from pocketfleet.actions.copies import Origin, Rehearsing
from pocketfleet.domain.roles import Verb
from pocketfleet.models import Instance, Operation
from pocketfleet.web import reading
from pocketfleet.web.access import instance_for, team_for, team_to_create_in, upload_for
from pocketfleet.web.api.copy_schemas import CloneIn, ImportIn, MadeOut, RestoreIn
from pocketfleet.web.api.instances import started
from pocketfleet.web.api.schemas import StartedOut
from pocketfleet.web.callers import caller_of

router = Router(tags=["transfers"])


@router.post("/instances/{ref}/restore", response={202: StartedOut}, summary="Restore an instance")
def restore_instance(request: HttpRequest, ref: str, body: RestoreIn) -> Status[dict[str, Any]]:
    """The present state is kept as a snapshot, and comes back by itself where the result does not work. The release
    is the instance's own, or one that fits the data. What is rehearsed ends as `asking` where somebody must decide."""
    origin = Origin(body.snapshot or "", body.backup or "", body.upload or "")
    # a file brings hooks along, and hooks read everything
    instance, user = instance_for(request, ref, Verb.DATA if origin.upload else Verb.OPERATE), caller_of(request).user
    if origin.upload:
        upload_for(request, origin.upload)
    wanted = Rehearsing(body.rehearse, body.rehearse_only, body.accept_changes, body.rehearsal)
    return started(actions.restore_instance(instance.id, origin, wanted, acting_user=user))


@router.post("/instances/{ref}/clone", response={202: MadeOut}, summary="Clone an instance")
def clone_instance(request: HttpRequest, ref: str, body: CloneIn) -> Status[dict[str, Any]]:
    """With its secrets and superusers; its mail and S3 are switched off unless they are to be kept."""
    target = team_for(request, body.team, Verb.CREATE).id if body.team else None
    made = actions.clone_instance(
        instance_for(request, ref, Verb.DATA if target else Verb.CREATE).id,
        body.name,
        Origin(body.snapshot or "", body.backup or ""),
        keep_mail=body.keep_mail,
        keep_s3=body.keep_s3,
        team=target,
        acting_user=caller_of(request).user,
    )
    return _made(*made)


@router.post("/imports", response={202: MadeOut}, summary="Import a PocketBase")
def import_instance(request: HttpRequest, body: ImportIn) -> Status[dict[str, Any]]:
    """From an upload: a backup of PocketBase's own, one of ours, or a packed `pb_data`. Its superusers stay."""
    team = team_to_create_in(request, body.team)
    made = actions.import_instance(
        body.name,
        upload_for(request, body.upload).id,
        version_range=body.range,
        email=body.email,
        password=body.password,
        settings=body.settings,
        team=team.id,
        acting_user=caller_of(request).user,
    )
    return _made(*made)


def _made(instance: Instance, operation: Operation) -> Status[dict[str, Any]]:
    made = {
        "instance": reading.instance(settings.CONFIG, instance.id),
        "operation": reading.operation(operation.id),
    }
    return Status(202, made)
