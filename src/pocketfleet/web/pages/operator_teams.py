"""All teams, for operators, and what each may use."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation

from django.db.models import Q
from django.http import HttpResponse
from django.views.decorators.http import require_POST, require_safe

from pocketfleet.actions.limits import set_guest_limits, set_limits
from pocketfleet.domain.roles import Verb
from pocketfleet.errors import WrongSetting, WrongUsage
from pocketfleet.web import guest_limits, operators, teams
from pocketfleet.web.access import operator_for, team_for
from pocketfleet.web.callers import FleetRequest, caller_of
from pocketfleet.web.pages import team as team_page
from pocketfleet.web.pages.guard import back, for_operators
from pocketfleet.web.pages.operator_lists import listing

_GIGABYTE = 10**9


@require_safe
@for_operators
def show(request: FleetRequest) -> HttpResponse:
    """The page."""

    def read(listed: operators.Listed) -> tuple[list[operators.Row], int]:
        return teams.teams(
            caller_of(request), Q(), search=listed.search, offset=listed.offset, limit=operators.PAGE_SIZE
        )

    return listing(request, "teams", read, team_of=lambda row: str(row["id"]))


@require_POST
@for_operators
def limits(request: FleetRequest, team_id: str) -> HttpResponse:
    """What a team may use; an empty field is the server's setting, 0 is no limit."""
    team, user = team_for(request, team_id, Verb.SERVE), operator_for(request).user
    given = {name: request.POST.get(name, "").strip()[:40] for name in ("awake_limit", "storage_limit")}
    try:
        awake, gigabytes = _number("awake_limit", given), _number("storage_limit", given)
        if awake is not None and awake != int(awake):
            raise WrongUsage("Write a whole number of instances.", field="awake_limit")
        storage = None if gigabytes is None else int(gigabytes * _GIGABYTE)
        set_limits(team.id, awake=None if awake is None else int(awake), storage=storage, acting_user=user)
    except WrongUsage as error:
        return team_page.page(request, team, error.status, limits=given, error=error, error_field=error.facts["field"])
    return back(request, "team", team.id)


@require_POST
@for_operators
def resources(request: FleetRequest, team_id: str) -> HttpResponse:
    """What each instance of a team may use; an empty field is the server's setting, 0 is no limit."""
    team, user = team_for(request, team_id, Verb.SERVE), operator_for(request).user
    try:
        set_guest_limits(team.id, guest_limits.wanted(request.POST), acting_user=user)
    except WrongSetting as error:
        return team_page.page(request, team, error.status, guest_given=request.POST, guest_error=error)
    return back(request, "team", team.id)


def _number(field: str, given: dict[str, str]) -> Decimal | None:
    text = given[field].replace(",", ".")
    if not text:
        return None
    try:
        number = Decimal(text)
    except InvalidOperation:
        number = Decimal("NaN")
    if not text.isascii() or not number.is_finite() or not 0 <= number < 10**10:
        raise WrongUsage("Write a number, 0 for no limit, or nothing for the server's setting.", field=field)
    return number
