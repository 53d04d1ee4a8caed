"""All instances, for operators: whose they are; suspended with a reason, and that lifted again."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db.models import Q
from django.http import HttpResponse
from django.views.decorators.http import require_POST, require_safe

from pocketfleet.actions import suspension as actions
from pocketfleet.domain.roles import Verb
from pocketfleet.errors import Conflict, PocketfleetError, WrongUsage
from pocketfleet.web import operators, reading
from pocketfleet.web.access import instance_for, operator_for
from pocketfleet.web.callers import FleetRequest
from pocketfleet.web.pages.guard import back, for_operators
from pocketfleet.web.pages.operator_lists import listing


@require_safe
@for_operators
def show(request: FleetRequest) -> HttpResponse:
    """The page."""
    return _page(request)


@require_POST
@for_operators
def suspend(request: FleetRequest, ref: str) -> HttpResponse:
    """Take an instance off the air; its owner sees the reason."""
    instance, reason = instance_for(request, ref, Verb.SERVE), request.POST.get("reason", "")
    try:
        actions.suspend_instance(instance.id, reason, acting_user=operator_for(request).user)
    except WrongUsage as error:
        return _page(request, error.status, refused=instance.id, error=error, given=reason[:1000])
    return back(request, "operator-instances")


@require_POST
@for_operators
def lift(request: FleetRequest, ref: str) -> HttpResponse:
    """Let it run again."""
    instance = instance_for(request, ref, Verb.SERVE)
    try:
        actions.lift_suspension(instance.id, acting_user=operator_for(request).user)
    except Conflict as error:
        return _refused(request, error)
    return back(request, "operator-instances")


def _refused(request: FleetRequest, error: PocketfleetError) -> HttpResponse:
    return _page(request, error.status, notice={"kind": "bad", "text": error.detail})


def _page(request: FleetRequest, status: int = 200, **context: Any) -> HttpResponse:
    def read(listed: operators.Listed) -> tuple[list[operators.Row], int]:
        seen = Q(suspended__gt="") if listed.only == "suspended" else Q()
        return reading.instances(
            settings.CONFIG, seen, search=listed.search, offset=listed.offset, limit=operators.PAGE_SIZE
        )

    def team_of(row: operators.Row) -> str | None:
        return row["team"]["id"] if row["team"] else None

    choices = (("suspended", "suspended"),)
    return listing(request, "instances", read, status, choices=choices, team_of=team_of, **context)
