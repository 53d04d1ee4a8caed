"""The event stream by which an open page learns that it should look again."""

from __future__ import annotations

from django.http import HttpResponse
from django.http.response import HttpResponseBase
from django.views.decorators.http import require_GET

from pocketfleet.errors import TooManyStreams
from pocketfleet.web import problems, streams
from pocketfleet.web.callers import FleetRequest
from pocketfleet.web.pages.guard import visitor


@require_GET
async def live(request: FleetRequest) -> HttpResponseBase:
    """`hello`, then `change` whenever something that the visitor may see did, a few times a second at most.

    `?instance=ID`: only what is about that instance.
    """
    if visitor(request) is None:
        return HttpResponse(status=401)
    listener = streams.Listener(request)
    try:
        return await streams.respond(
            request.hub, listener, streams.page_changes(request.hub, listener, request.GET.get("instance"))
        )
    except TooManyStreams as error:
        return problems.problem(error)
