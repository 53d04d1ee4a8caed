"""An instance's log.

GET /instances/{ref}/logs         the last lines
GET /instances/{ref}/logs/events  server-sent events, `line` each
"""

from __future__ import annotations

from typing import Any

from asgiref.sync import sync_to_async
from django.conf import settings
from django.http import HttpRequest, StreamingHttpResponse
from ninja import Router
from ninja.params.functions import Query

from pocketfleet.logs import InstanceLog
from pocketfleet.web import streams
from pocketfleet.web.access import instance_for, sees_instance
from pocketfleet.web.api.schemas import LinesOut
from pocketfleet.web.callers import FleetRequest

router = Router(tags=["logs"])


@router.get("/instances/{ref}/logs", response=LinesOut, summary="Show the last lines of an instance's log")
def show_log(request: HttpRequest, ref: str, tail: int = Query(100, ge=0, le=10_000)) -> dict[str, Any]:
    """What PocketBase printed and what pocketfleet did with it, the oldest line first."""
    lines = _log(request, ref).tail(tail)
    return {"items": [{"at": line.at, "stream": line.stream, "text": line.text} for line in lines]}


@router.get("/instances/{ref}/logs/events", summary="Follow an instance's log", response={200: None})
async def follow_log(request: FleetRequest, ref: str, tail: int = Query(20, ge=0, le=10_000)) -> StreamingHttpResponse:
    """Server-sent events: the last lines, then each new one as `line`, across rotation."""
    log = await sync_to_async(_log)(request, ref)
    listener = streams.Listener(request, lambda caller: sees_instance(caller, ref))
    return await streams.respond(request.hub, listener, streams.lines(log.follow(tail)))


def _log(request: HttpRequest, ref: str) -> InstanceLog:
    config = settings.CONFIG
    return InstanceLog(config.logs / instance_for(request, ref).id, config.log_bytes, config.log_generations)
