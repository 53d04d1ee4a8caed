"""What clients may ask of a team's instances: its limits, for operators, and whom it trusts, for its owners."""

from __future__ import annotations

from django.http import HttpResponse
from django.views.decorators.http import require_POST

from pocketfleet.actions.traffic import set_traffic_limits, set_trusted
from pocketfleet.domain.roles import Verb
from pocketfleet.errors import WrongSetting, WrongUsage
from pocketfleet.web import traffic
from pocketfleet.web.access import operator_for, team_for
from pocketfleet.web.callers import FleetRequest, caller_of
from pocketfleet.web.pages import team as team_page
from pocketfleet.web.pages.guard import back, for_operators, signed_in

#: Characters of a form's list of addresses: more than all that are allowed can have.
LONGEST_LIST = 5000


@require_POST
@for_operators
def limits(request: FleetRequest, team_id: str) -> HttpResponse:
    """All limits of a team's own; an empty field is the server's setting, 0 is no limit."""
    team, user = team_for(request, team_id, Verb.SERVE), operator_for(request).user
    try:
        set_traffic_limits(team.id, traffic.wanted(request.POST), acting_user=user)
    except WrongSetting as error:
        return team_page.page(request, team, error.status, limits_given=request.POST, limits_error=error)
    return back(request, "team", team.id)


@require_POST
@signed_in
def trusted(request: FleetRequest, team_id: str) -> HttpResponse:
    """Whom the team trusts: one address or network a line."""
    team = team_for(request, team_id, Verb.MANAGE)
    text = request.POST.get("trusted", "")[:LONGEST_LIST]
    try:
        set_trusted(team.id, text.replace(",", " ").split(), acting_user=caller_of(request).user)
    except WrongUsage as error:
        return team_page.page(request, team, error.status, trusted_given=text, trusted_error=error)
    return back(request, "team", team.id)
