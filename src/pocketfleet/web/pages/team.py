"""One team: its people, invitations, instances, what it uses; rename, end, leave."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.db.models import Q
from django.http import HttpResponse
from django.views.decorators.http import require_POST, require_safe

from pocketfleet.actions import teams as actions
from pocketfleet.domain.networks import MOST_TRUSTED
from pocketfleet.domain.roles import Role, Verb
from pocketfleet.errors import Conflict, MemberNotFound, WrongUsage
from pocketfleet.models import Team
from pocketfleet.web import guest_limits, reading, teams, traffic
from pocketfleet.web.access import seen_instances, team_for
from pocketfleet.web.callers import FleetRequest, caller_of
from pocketfleet.web.inviting import invite_to
from pocketfleet.web.pages.guard import back, rendered, signed_in

#: Instances that the page names; it says how many more there are.
INSTANCES_SHOWN = 50


@require_safe
@signed_in
def show(request: FleetRequest, team_id: str) -> HttpResponse:
    """The page."""
    return page(request, team_for(request, team_id))


@require_POST
@signed_in
def rename(request: FleetRequest, team_id: str) -> HttpResponse:
    """Another name."""
    team, name = team_for(request, team_id, Verb.MANAGE), request.POST.get("name", "")
    return _done(request, team, lambda: actions.rename_team(team.id, name, acting_user=caller_of(request).user))


@require_POST
@signed_in
def end(request: FleetRequest, team_id: str) -> HttpResponse:
    """End a team without instances; its name is typed, since nothing brings it back."""
    team = team_for(request, team_id, Verb.MANAGE)
    if request.POST.get("confirm", "").strip() != team.name:
        return page(request, team, 422, notice=_bad(f"Type the team's name, “{team.name}”, to end it."))
    try:
        actions.delete_team(team.id, acting_user=caller_of(request).user)
    except Conflict as error:
        return page(request, team, error.status, notice=_bad(error.detail))
    return back(request, "teams")


@require_POST
@signed_in
def leave(request: FleetRequest, team_id: str) -> HttpResponse:
    """Out of a team, by oneself."""
    team, user = team_for(request, team_id), caller_of(request).user
    try:
        actions.remove_member(team.id, user.pk, acting_user=user)
    except (Conflict, MemberNotFound) as error:
        return page(request, team, error.status, notice=_bad(error.detail))
    return back(request, "teams")


@require_POST
@signed_in
def change_role(request: FleetRequest, team_id: str, user_id: int) -> HttpResponse:
    """Another role for somebody."""
    team, role = team_for(request, team_id, Verb.MANAGE), request.POST.get("role", "")
    user = caller_of(request).user
    return _done(request, team, lambda: actions.change_role(team.id, user_id, role, acting_user=user))


@require_POST
@signed_in
def remove(request: FleetRequest, team_id: str, user_id: int) -> HttpResponse:
    """Take somebody out."""
    team, user = team_for(request, team_id, Verb.MANAGE), caller_of(request).user
    return _done(request, team, lambda: actions.remove_member(team.id, user_id, acting_user=user))


@require_POST
@signed_in
def invite(request: FleetRequest, team_id: str) -> HttpResponse:
    """Invite somebody. The link is in this answer alone, so there is no redirect to a page that shows it."""
    team = team_for(request, team_id, Verb.MANAGE)
    given = {name: request.POST.get(name, "")[:300] for name in ("email", "role")}
    try:
        invited = invite_to(team, given["email"], given["role"], caller_of(request))
    except (WrongUsage, Conflict) as error:
        return page(request, team, error.status, given=given, error=error, error_field=error.facts.get("field", ""))
    return page(request, team, invited=invited)


@require_POST
@signed_in
def withdraw(request: FleetRequest, team_id: str, invitation_id: str) -> HttpResponse:
    """An invitation's link works no longer."""
    team, user = team_for(request, team_id, Verb.MANAGE), caller_of(request).user
    return _done(request, team, lambda: actions.withdraw_invitation(team.id, invitation_id, acting_user=user))


def page(request: FleetRequest, team: Team, status: int = 200, **context: Any) -> HttpResponse:
    """The page, with what the visitor may do there."""
    caller = caller_of(request)
    may = {str(verb): caller.may(verb, team.id) for verb in Verb}
    seen = seen_instances(caller) & Q(team=team)
    instances, total = reading.instances(settings.CONFIG, seen, limit=INSTANCES_SHOWN)
    shown = teams.team(caller, team.id)
    given: dict[str, Any] = {
        "team": shown,
        "members": teams.members(team.id),
        "invitations": teams.invitations(team.id) if may["manage"] else [],
        "instances": instances,
        "more": total - len(instances),
        "roles": list(Role),
        "may": may,
        "limit_fields": traffic.fields(shown["limits"], shown["traffic_limits"], context.get("limits_given")),
        "guest_fields": guest_limits.fields(settings.CONFIG, shown["guest_limits"], context.get("guest_given")),
        "most_trusted": MOST_TRUSTED,
        "trusted_text": context.get("trusted_given", "\n".join(shown["trusted"])),
        "place": "teams",
    }
    return rendered(request, "teams/team.html", status, **given | context)


def _done(request: FleetRequest, team: Team, act: Callable[[], object]) -> HttpResponse:
    """Back to the page; what could not be done is said above it."""
    try:
        act()
    except (Conflict, MemberNotFound, WrongUsage) as error:
        return page(request, team, error.status, notice=_bad(error.detail))
    return back(request, "team", team.id)


def _bad(text: str) -> dict[str, str]:
    return {"kind": "bad", "text": text}
