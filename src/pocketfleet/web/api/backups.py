"""Backups: zips that PocketBase can restore, to keep and to take away.

GET    /instances/{ref}/backups                the newest first
POST   /instances/{ref}/backups                make one; nobody is stopped or woken for it
POST   /instances/{ref}/backups/{name}/verify  read one whole
DELETE /instances/{ref}/backups/{name}         remove one

web/transfers.py hands the files out.
"""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from ninja import Router
from ninja.responses import Status

from pocketfleet.actions import copies as actions
from pocketfleet.domain.roles import Verb
from pocketfleet.web import copies
from pocketfleet.web.access import instance_for
from pocketfleet.web.api.copy_schemas import BackupIn, BackupsOut
from pocketfleet.web.api.instances import started
from pocketfleet.web.api.schemas import StartedOut
from pocketfleet.web.callers import caller_of

router = Router(tags=["backups"])


@router.get("/instances/{ref}/backups", response=BackupsOut, summary="List an instance's backups")
def list_backups(request: HttpRequest, ref: str) -> dict[str, Any]:
    """The newest first."""
    return {"items": copies.backups(instance_for(request, ref).id)}


@router.post("/instances/{ref}/backups", response={202: StartedOut}, summary="Make a backup")
def make_backup(request: HttpRequest, ref: str, body: BackupIn) -> Status[dict[str, Any]]:
    """A zip as PocketBase makes them; `full` adds hooks, migrations and public files, which its restore ignores."""
    instance, user = instance_for(request, ref, Verb.OPERATE), caller_of(request).user
    return started(actions.back_up_instance(instance.id, full=body.full, acting_user=user))


@router.post("/instances/{ref}/backups/{name}/verify", response={202: StartedOut}, summary="Verify a backup")
def verify_backup(request: HttpRequest, ref: str, name: str) -> Status[dict[str, Any]]:
    """Its checksum, each file's checksum, and every page of its databases. `name` may be the id."""
    instance, user = instance_for(request, ref, Verb.OPERATE), caller_of(request).user
    return started(actions.verify_backup(instance.id, name, acting_user=user))


@router.delete("/instances/{ref}/backups/{name}", response={202: StartedOut}, summary="Remove a backup")
def delete_backup(request: HttpRequest, ref: str, name: str) -> Status[dict[str, Any]]:
    """For good. `name` may be the id."""
    instance, user = instance_for(request, ref, Verb.OPERATE), caller_of(request).user
    return started(actions.delete_backup(instance.id, name, acting_user=user))
