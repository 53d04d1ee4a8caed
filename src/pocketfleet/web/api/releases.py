"""Releases of PocketBase, and ranges of them.

GET  /releases                    the catalogue, and how the sources are; line
POST /releases/refresh            look for new ones
POST /releases/{version}/fetch    fetch one's executable ahead of time
GET  /ranges?range=TEXT           what a range stands for now
"""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from ninja import Router
from ninja.params.functions import Query
from ninja.responses import Status

from pocketfleet.actions import releases as actions
from pocketfleet.web import reading
from pocketfleet.web.access import operator_for
from pocketfleet.web.api.instances import started
from pocketfleet.web.api.schemas import ReleasesOut, ResolvedOut, StartedOut

router = Router(tags=["releases"])


@router.get("/releases", response=ReleasesOut, summary="List releases")
def list_releases(request: HttpRequest, line: str | None = Query(None, max_length=20)) -> dict[str, Any]:
    """The newest first; of one line only (`0.22`), where that is given."""
    return {"items": reading.releases(line), "sources": reading.sources()}


@router.post("/releases/refresh", response={202: StartedOut}, summary="Look for new releases")
def refresh_releases(request: HttpRequest) -> Status[dict[str, Any]]:
    """At every source; whoever asks meanwhile gets the same operation."""
    return started(actions.refresh_releases(acting_user=operator_for(request).user))


@router.post("/releases/{version}/fetch", response={202: StartedOut}, summary="Fetch a release")
def fetch_release(request: HttpRequest, version: str) -> Status[dict[str, Any]]:
    """Its executable, verified and kept; whoever asks meanwhile gets the same operation."""
    return started(actions.fetch_release(version, acting_user=operator_for(request).user))


@router.get("/ranges", response=ResolvedOut, summary="Resolve a range")
def resolve_range(request: HttpRequest, range: str = Query("", max_length=500)) -> dict[str, Any]:
    """The release it stands for now; an empty one is what a new instance gets."""
    return reading.resolved(range)
