"""The Danger Zone of an instance: power, name, clone, team, end; each with its consequence said first."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.http import HttpResponse
from django.views.decorators.http import require_POST, require_safe

from pocketfleet.actions import copies, instances, teams
from pocketfleet.domain.roles import Verb
from pocketfleet.errors import NameTaken, NotConfirmed, PocketfleetError, WrongName
from pocketfleet.models import Instance, Team
from pocketfleet.web.access import seen_teams, team_for
from pocketfleet.web.callers import FleetRequest, caller_of
from pocketfleet.web.pages.frame import framed
from pocketfleet.web.pages.guard import back, on_instance, to_operation


@require_safe
@on_instance(Verb.OPERATE)
def show(request: FleetRequest, instance: Instance) -> HttpResponse:
    """The page."""
    return _page(request, instance)


@require_POST
@on_instance(Verb.OPERATE)
def rename(request: FleetRequest, instance: Instance) -> HttpResponse:
    """Give it another name."""
    name = request.POST.get("name", "").strip()
    try:
        instances.rename_instance(instance.id, name, acting_user=caller_of(request).user)
    except (WrongName, NameTaken) as error:
        return _page(request, instance, 422, error=error, error_form="rename", given=name)
    return back(request, f"/instances/{instance.id}")


@require_POST
@on_instance(Verb.CREATE)
def clone(request: FleetRequest, instance: Instance) -> HttpResponse:
    """Make a new instance with its data."""
    name = request.POST.get("name", "").strip()
    mail, s3 = (request.POST.get(key) == "on" for key in ("keep_mail", "keep_s3"))
    user = caller_of(request).user
    try:
        made, operation = copies.clone_instance(instance.id, name, keep_mail=mail, keep_s3=s3, acting_user=user)
    except (WrongName, NameTaken) as error:
        return _page(request, instance, 422, error=error, error_form="clone", given=name)
    return to_operation(made, operation)


@require_POST
@on_instance(Verb.DELETE)
def move(request: FleetRequest, instance: Instance) -> HttpResponse:
    """Give it to another team."""
    target = team_for(request, request.POST.get("team", ""), Verb.CREATE)
    teams.move_instance(instance.id, target.id, acting_user=caller_of(request).user)
    return back(request, "instances")


@require_POST
@on_instance(Verb.DELETE)
def delete(request: FleetRequest, instance: Instance) -> HttpResponse:
    """To quarantine, once it is powered off and its name was typed."""
    try:
        _confirm(instance, request.POST.get("confirm", ""))
        instances.delete_instance(instance.id, acting_user=caller_of(request).user)
    except PocketfleetError as error:
        return _page(request, instance, error.status, error=error, error_form="delete")
    return back(request, "instances")


def _confirm(instance: Instance, typed: str) -> None:
    if typed.strip() != instance.name:
        raise NotConfirmed(f"Type its name, {instance.name}, to say that you mean it.")


def _page(request: FleetRequest, instance: Instance, status: int = 200, **context: Any) -> HttpResponse:
    caller = caller_of(request)
    others = Team.objects.filter(seen_teams(caller)).exclude(pk=instance.team_id).order_by("name")
    days = settings.CONFIG.quarantine / 86400
    return framed(
        request,
        "danger/page.html",
        instance,
        "danger",
        status,
        teams=[team for team in others if caller.may(Verb.CREATE, team.id)],
        quarantine=f"{days:.0f} days" if days >= 2 else f"{days * 24:.0f} hours",
        **context,
    )
