"""The teams that somebody is in, and making another."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponse
from django.views.decorators.http import require_POST, require_safe

from pocketfleet.actions.teams import create_team
from pocketfleet.errors import WrongUsage
from pocketfleet.models import Team
from pocketfleet.web import teams
from pocketfleet.web.access import mine
from pocketfleet.web.callers import FleetRequest, caller_of
from pocketfleet.web.pages.guard import back, rendered, signed_in


@require_safe
@signed_in
def show(request: FleetRequest) -> HttpResponse:
    """The visitor's own teams; an operator finds all others among the operator's pages."""
    return _page(request)


@require_POST
@signed_in
def create(request: FleetRequest) -> HttpResponse:
    """Make a team; who makes it owns it."""
    name = request.POST.get("name", "")
    try:
        team: Team = create_team(name, acting_user=caller_of(request).user)
    except WrongUsage as error:
        return _page(request, error.status, given=name[:200], error=error)
    return back(request, "team", team.id)


def _page(request: FleetRequest, status: int = 200, **form: Any) -> HttpResponse:
    caller = caller_of(request)
    rows, _ = teams.teams(caller, mine(caller))
    return rendered(request, "teams/list.html", status, place="teams", teams=rows, **form)
