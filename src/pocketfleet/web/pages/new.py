"""A new instance: its form, the live check of a name, and the one page that shows what it was made with."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.http import HttpResponse
from django.views.decorators.http import require_POST, require_safe

from pocketfleet.actions import instances as actions
from pocketfleet.domain.roles import Verb
from pocketfleet.errors import (
    NameTaken,
    NoReleaseMatches,
    PocketfleetError,
    TeamNotFound,
    WrongName,
    WrongRange,
    WrongUsage,
)
from pocketfleet.models import Instance, Team
from pocketfleet.web import reading
from pocketfleet.web.access import seen_teams, team_to_create_in
from pocketfleet.web.api.instances import default_email, new_password
from pocketfleet.web.callers import FleetRequest, caller_of
from pocketfleet.web.pages.guard import on_instance, rendered, signed_in

#: The field of the form that an error is about.
_FIELD_OF: tuple[tuple[type[PocketfleetError], str], ...] = (
    (WrongName, "name"),
    (NameTaken, "name"),
    (WrongRange, "range"),
    (NoReleaseMatches, "range"),
    (TeamNotFound, "team"),
)
_FIELDS = ("name", "range", "email", "password", "team")
#: Lines that the form offers, the newest first.
_LINES_OFFERED = 8


@require_safe
@signed_in
def show(request: FleetRequest) -> HttpResponse:
    """The form."""
    return rendered(request, "new/page.html", place="instances", **_form(request))


@require_POST
@signed_in
def create(request: FleetRequest) -> HttpResponse:
    """Make an instance. Its password is in this answer alone, so there is no redirect to a page that shows it."""
    given = {name: request.POST.get(name, "").strip() for name in _FIELDS}
    given["password"] = request.POST.get("password", "")
    email = given["email"] or default_email(given["name"])
    password = given["password"] or new_password()
    try:
        instance, _ = actions.create_instance(
            given["name"],
            email=email,
            password=password,
            version_range=given["range"] or None,
            team=team_to_create_in(request, given["team"] or None).id,
            acting_user=caller_of(request).user,
        )
    except (WrongUsage, NameTaken, NoReleaseMatches, TeamNotFound) as error:
        return rendered(request, "new/page.html", 422, place="instances", **_form(request, given, error))
    shown = None if given["password"] else password
    return rendered(request, "new/made.html", place="instances", email=email, password=shown, **making_of(instance.id))


@require_safe
@signed_in
def check_name(request: FleetRequest) -> HttpResponse:
    """One line: whether the name is free, or why it cannot be used."""
    name = request.GET.get("name", "")[:200].strip()
    try:
        actions.check_free(name)
        problem = ""
    except (WrongName, NameTaken) as error:
        problem = error.detail
    return rendered(request, "new/name.html", name=name, problem=problem)


@require_safe
@on_instance()
def making(request: FleetRequest, instance: Instance) -> HttpResponse:
    """How far it is, for the page that was shown once."""
    return rendered(request, "new/making.html", **making_of(instance.id))


def making_of(instance_id: str) -> dict[str, Any]:
    """The instance, and the operation that makes it: what is shown while it comes."""
    work = reading.operations(instance_id=instance_id, limit=1)
    return {"row": reading.instance(settings.CONFIG, instance_id), "operation": work[0] if work else None}


def teams_to_create_in(request: FleetRequest) -> list[Team]:
    """The visitor's teams in which they may make instances."""
    caller = caller_of(request)
    teams = Team.objects.filter(seen_teams(caller), memberships__user=caller.user).order_by("own_of", "name")
    return [team for team in teams if caller.may(Verb.CREATE, team.id)]


def _form(
    request: FleetRequest, given: dict[str, str] | None = None, error: PocketfleetError | None = None
) -> dict[str, Any]:
    return {
        "given": given or {},
        "error": error,
        "error_field": _field_of(error) if error is not None else "",
        "standard": _standard_range(),
        "lines": reading.newest_lines(_LINES_OFFERED),
        "teams": teams_to_create_in(request),
        "config": settings.CONFIG,
        "address": settings.CONFIG.instance_url("name").partition("://name"),
    }


def _field_of(error: PocketfleetError) -> str:
    named = next((field for kind, field in _FIELD_OF if isinstance(error, kind)), "")
    return named or str(error.facts.get("field", ""))


def _standard_range() -> dict[str, Any] | None:
    try:
        return reading.resolved("")
    except NoReleaseMatches:
        return None
