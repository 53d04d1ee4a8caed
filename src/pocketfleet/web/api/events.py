"""Everything that changes.

GET /events  server-sent events: `change` with kind and key; `missed` where the client was too slow
"""

from __future__ import annotations

from django.http import StreamingHttpResponse
from ninja import Router

from pocketfleet.web import streams
from pocketfleet.web.callers import FleetRequest

router = Router(tags=["events"])


@router.get("/events", summary="Follow everything that changes", response={200: None})
async def follow_changes(request: FleetRequest) -> StreamingHttpResponse:
    """Server-sent events. After `missed`, or when you come back after a break, read what you show anew."""
    listener = streams.Listener(request)
    return await streams.respond(request.hub, listener, streams.changes(request.hub, listener))
