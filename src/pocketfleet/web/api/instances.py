"""Instances.

GET    /instances              list, by name; search, limit, offset
POST   /instances              create
GET    /instances/{ref}        show; ref is a name or an id
PATCH  /instances/{ref}        rename, power, settings, range; ?wait=SECONDS until it is so
DELETE /instances/{ref}        to quarantine; only when powered off
POST   /instances/{ref}/sleep  put to sleep now
GET    /instances/{ref}/usage  requests and size; ?period=day by the hour, month by the day
"""

from __future__ import annotations

import secrets
from typing import Any

from asgiref.sync import sync_to_async
from django.conf import settings
from django.http import HttpRequest
from ninja import Router
from ninja.params.functions import Query
from ninja.responses import Status

from pocketfleet.actions import instances as actions
from pocketfleet.domain.roles import Verb
from pocketfleet.models import Operation
from pocketfleet.web import reading
from pocketfleet.web.access import instance_for, seen_instances, team_to_create_in
from pocketfleet.web.api.schemas import (
    MAX_WAIT,
    CreatedOut,
    InstanceChangesIn,
    InstanceIn,
    InstanceOut,
    InstancesOut,
    StartedOut,
    UsageOut,
)
from pocketfleet.web.callers import FleetRequest, caller_of
from pocketfleet.web.usage import Period, usage
from pocketfleet.web.waiting import until_observed

router = Router(tags=["instances"])


@router.get("/instances", response=InstancesOut, summary="List instances")
def list_instances(
    request: HttpRequest,
    search: str = Query("", max_length=100),
    limit: int = Query(100, ge=1, le=1000),
    offset: int = Query(0, ge=0, le=10_000_000),
) -> dict[str, Any]:
    """By name; `total` counts all that match."""
    seen = seen_instances(caller_of(request))
    items, total = reading.instances(settings.CONFIG, seen, search=search, offset=offset, limit=limit)
    return {"items": items, "total": total}


@router.post("/instances", response={202: CreatedOut}, summary="Create an instance")
def create_instance(request: HttpRequest, body: InstanceIn) -> Status[dict[str, Any]]:
    """Answers at once; the operation says when it is there."""
    user = caller_of(request).user
    email = body.email or user.email or default_email(body.name)
    password = body.password or new_password()
    instance, operation = actions.create_instance(
        body.name,
        email=email,
        password=password,
        version_range=body.range,
        settings=body.settings,
        team=team_to_create_in(request, body.team).id,
        acting_user=user,
    )
    made = {
        "instance": reading.instance(settings.CONFIG, instance.id),
        "operation": reading.operation(operation.id),
        "superuser": {"email": email, "password": None if body.password else password},
    }
    return Status(202, made)


@router.get("/instances/{ref}", response=InstanceOut, summary="Show an instance")
def show_instance(request: HttpRequest, ref: str) -> dict[str, Any]:
    """By name or id."""
    return reading.instance(settings.CONFIG, instance_for(request, ref).id)


@router.patch("/instances/{ref}", response=InstanceOut, summary="Change an instance")
async def change_instance(
    request: FleetRequest, ref: str, body: InstanceChangesIn, wait: float = Query(0, ge=0, le=MAX_WAIT)
) -> dict[str, Any]:
    """All of the changes, or none. With `wait`, answers when they are in effect, or after so many seconds."""

    def change() -> dict[str, Any]:
        instance = instance_for(request, ref, Verb.OPERATE)
        user = caller_of(request).user
        actions.change_instance(instance.id, body.dict(exclude_unset=True), acting_user=user)
        return reading.instance(settings.CONFIG, instance.id)

    row = await sync_to_async(change)()
    return await until_observed(request.hub, settings.CONFIG, row, wait)


@router.delete("/instances/{ref}", response={202: StartedOut}, summary="Delete an instance")
def delete_instance(request: HttpRequest, ref: str) -> Status[dict[str, Any]]:
    """Its files stay in quarantine for a while; its name is free once the operation is done."""
    instance = instance_for(request, ref, Verb.DELETE)
    return started(actions.delete_instance(instance.id, acting_user=caller_of(request).user))


@router.post("/instances/{ref}/sleep", response={202: StartedOut}, summary="Put an instance to sleep")
def sleep_instance(request: HttpRequest, ref: str) -> Status[dict[str, Any]]:
    """The next request wakes it."""
    instance = instance_for(request, ref, Verb.OPERATE)
    return started(actions.sleep_instance(instance.id, acting_user=caller_of(request).user))


@router.get("/instances/{ref}/usage", response=UsageOut, summary="What an instance was used for")
def show_usage(request: HttpRequest, ref: str, period: Period = "day") -> dict[str, Any]:
    """The last 24 hours by the hour, or the last 30 days by the day."""
    return usage(instance_for(request, ref).id, period)


def started(operation: Operation) -> Status[dict[str, Any]]:
    """202 with the whole operation."""
    return Status(202, {"operation": reading.operation(operation.id)})


def default_email(name: str) -> str:
    """The first superuser's address, where nobody gave one: nothing is ever sent to it."""
    return f"admin@{name}.{settings.CONFIG.domain}"


def new_password() -> str:
    """20 random characters (120 bits)."""
    return secrets.token_urlsafe(15)
