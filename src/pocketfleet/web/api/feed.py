"""An instance's feed: what happened to it, in plain words.

GET /instances/{ref}/events  the newest first; limit, before
"""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from ninja import Router
from ninja.params.functions import Query

from pocketfleet.web import copies
from pocketfleet.web.access import instance_for
from pocketfleet.web.api.copy_schemas import EventsOut

router = Router(tags=["events"])


@router.get("/instances/{ref}/events", response=EventsOut, summary="List what happened to an instance")
def list_events(
    request: HttpRequest,
    ref: str,
    limit: int = Query(100, ge=1, le=1000),
    before: int | None = Query(None, ge=0, le=2**62),
) -> dict[str, Any]:
    """The newest first; go on with `before`, the id of the last one you have."""
    return {"items": copies.events(instance_for(request, ref).id, before=before, limit=limit)}
