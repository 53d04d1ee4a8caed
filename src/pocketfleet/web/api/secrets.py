"""An instance's secrets: environment variables of its PocketBase. Values go in and never come out.

GET   /instances/{ref}/secrets  names
PATCH /instances/{ref}/secrets  {NAME: value or null}; ?wait=SECONDS until node knows them
"""

from __future__ import annotations

from typing import Any

from asgiref.sync import sync_to_async
from django.conf import settings
from django.http import HttpRequest
from ninja import Router
from ninja.params.functions import Body, Query

from pocketfleet.actions import instances as actions
from pocketfleet.domain.roles import Verb
from pocketfleet.web import reading
from pocketfleet.web.access import instance_for
from pocketfleet.web.api.schemas import MAX_WAIT, SecretsOut
from pocketfleet.web.callers import FleetRequest, caller_of
from pocketfleet.web.waiting import until_observed

router = Router(tags=["secrets"])
_SECRETS = Body(...)


@router.get("/instances/{ref}/secrets", response=SecretsOut, summary="List the names of an instance's secrets")
def list_secrets(request: HttpRequest, ref: str) -> dict[str, Any]:
    """Names only."""
    return _names(reading.instance(settings.CONFIG, instance_for(request, ref).id))


@router.patch("/instances/{ref}/secrets", response=SecretsOut, summary="Set or remove secrets")
async def change_secrets(
    request: FleetRequest, ref: str, body: dict[str, str | None] = _SECRETS, wait: float = Query(0, ge=0, le=MAX_WAIT)
) -> dict[str, Any]:
    """Those given as null are removed, those left out stay; they count from the next start."""

    def change() -> dict[str, Any]:
        instance = instance_for(request, ref, Verb.OPERATE)
        actions.change_secrets(instance.id, body, acting_user=caller_of(request).user)
        return reading.instance(settings.CONFIG, instance.id)

    row = await sync_to_async(change)()
    return _names(await until_observed(request.hub, settings.CONFIG, row, wait))


def _names(row: reading.Row) -> dict[str, Any]:
    return {"items": [{"name": name} for name in row["secrets"]]}
