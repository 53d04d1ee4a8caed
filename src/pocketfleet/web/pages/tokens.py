"""The visitor's tokens: with which scripts and other machines act in their name."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponse
from django.views.decorators.http import require_POST, require_safe

from pocketfleet.actions import tokens as actions
from pocketfleet.domain.roles import Verb
from pocketfleet.errors import InstanceNotFound, TeamNotFound, WrongUsage
from pocketfleet.models import Instance, Team
from pocketfleet.web import tokens
from pocketfleet.web.access import mine
from pocketfleet.web.callers import FleetRequest, caller_of
from pocketfleet.web.pages.guard import back, rendered, signed_in

#: Days that the form offers; "" is for ever.
LIVES = (("30", "30 days"), ("90", "90 days"), ("365", "a year"), ("", "until it is revoked"))


@require_safe
@signed_in
def show(request: FleetRequest) -> HttpResponse:
    """The page."""
    return _page(request)


@require_POST
@signed_in
def create(request: FleetRequest) -> HttpResponse:
    """Make one. Its text is in this answer alone, so there is no redirect to a page that shows it."""
    given: dict[str, Any] = {name: request.POST.get(name, "")[:2000] for name in ("name", "team", "instances", "life")}
    given["verbs"] = request.POST.getlist("verbs")[:20]
    instances = tuple(given["instances"].replace(",", " ").split()[:100])
    scope = tokens.Scope(given["team"], instances, given["verbs"])
    user = caller_of(request).user
    try:
        token, secret = tokens.make(request, given["name"], scope, expires_in_days=_days(given["life"]), user=user)
    except WrongUsage as error:
        return _page(request, error.status, given=given, error=error, error_field=error.facts.get("field", ""))
    except InstanceNotFound as error:
        return _page(request, 422, given=given, error=error, error_field="instances")
    except TeamNotFound as error:
        return _page(request, 422, given=given, error=error, error_field="team")
    return _page(request, made=token, secret=secret)


@require_POST
@signed_in
def revoke(request: FleetRequest, token_id: int) -> HttpResponse:
    """From now on it is refused."""
    actions.delete_token(token_id, acting_user=caller_of(request).user)
    return back(request, "tokens")


def _days(life: str) -> int | None:
    if not life:
        return None
    if life not in dict(LIVES):
        raise WrongUsage("Choose how long the token lives.", field="life")
    return int(life)


def _page(request: FleetRequest, status: int = 200, **context: Any) -> HttpResponse:
    caller = caller_of(request)
    rows = [tokens.row(token) for token in actions.tokens_of(caller.user)]
    ids = {instance for row in rows for instance in row["instances"]}
    names = dict(Instance.objects.filter(id__in=ids).values_list("id", "name")) if ids else {}
    teams = list(Team.objects.filter(mine(caller)))
    for row in rows:
        row["team_name"] = next((team.name for team in teams if team.id == row["team"]), row["team"])
        row["names"] = [names.get(instance) or instance for instance in row["instances"]]
        row["all"] = set(row["verbs"]) >= set(Verb)
    offered = [each for each in tokens.VERBS if each[0] is not Verb.SERVE or caller.user.is_superuser]
    given: dict[str, Any] = {"given": {"life": "90", "verbs": ["view"]}, "tokens": rows, "teams": teams}
    given |= {"verbs": offered, "lives": LIVES, "place": "account"}
    return rendered(request, "tokens/page.html", status, **given | context)
