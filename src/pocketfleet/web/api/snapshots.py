"""Snapshots: copies on the server's disk, to go back to.

GET    /instances/{ref}/snapshots       the newest first
POST   /instances/{ref}/snapshots       take one; nobody is stopped or woken for it
DELETE /instances/{ref}/snapshots/{id}  remove one
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
from pocketfleet.web.api.copy_schemas import SnapshotIn, SnapshotsOut
from pocketfleet.web.api.instances import started
from pocketfleet.web.api.schemas import StartedOut
from pocketfleet.web.callers import caller_of

router = Router(tags=["snapshots"])


@router.get("/instances/{ref}/snapshots", response=SnapshotsOut, summary="List an instance's snapshots")
def list_snapshots(request: HttpRequest, ref: str) -> dict[str, Any]:
    """The newest first."""
    return {"items": copies.snapshots(instance_for(request, ref).id)}


@router.post("/instances/{ref}/snapshots", response={202: StartedOut}, summary="Take a snapshot")
def take_snapshot(request: HttpRequest, ref: str, body: SnapshotIn) -> Status[dict[str, Any]]:
    """Of databases, files, hooks, migrations and public files; what lies in S3 is not in it."""
    instance, user = instance_for(request, ref, Verb.OPERATE), caller_of(request).user
    return started(actions.snapshot_instance(instance.id, note=body.note, acting_user=user))


@router.delete("/instances/{ref}/snapshots/{snapshot_id}", response={202: StartedOut}, summary="Remove a snapshot")
def delete_snapshot(request: HttpRequest, ref: str, snapshot_id: str) -> Status[dict[str, Any]]:
    """For good; one that is an operation's way back is refused."""
    instance, user = instance_for(request, ref, Verb.OPERATE), caller_of(request).user
    return started(actions.delete_snapshot(instance.id, snapshot_id, acting_user=user))
