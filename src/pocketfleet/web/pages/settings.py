"""An instance's settings: when it sleeps, and how its PocketBase runs."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.http import HttpResponse, QueryDict
from django.views.decorators.http import require_http_methods

from pocketfleet.actions import instances as actions
from pocketfleet.domain import limits
from pocketfleet.domain.roles import Verb
from pocketfleet.errors import WrongSetting
from pocketfleet.models import Instance
from pocketfleet.web import traffic
from pocketfleet.web.access import instance_for
from pocketfleet.web.callers import FleetRequest, caller_of
from pocketfleet.web.pages.frame import framed
from pocketfleet.web.pages.guard import back, on_instance


@require_http_methods(["GET", "HEAD", "POST"])
@on_instance()
def show(request: FleetRequest, instance: Instance) -> HttpResponse:
    """The form; POST changes all that is in it."""
    if request.method != "POST":
        return _page(request, instance)
    instance_for(request, instance.id, Verb.OPERATE)
    try:
        actions.change_settings(instance.id, _wanted(request.POST), acting_user=caller_of(request).user)
    except WrongSetting as error:
        return _page(request, instance, 422, error=error, given=request.POST)
    return back(request, f"/instances/{instance.id}/settings?saved=1")


def _page(request: FleetRequest, instance: Instance, status: int = 200, **context: Any) -> HttpResponse:
    more: dict[str, Any] = (
        {"notice": {"kind": "good", "text": "Saved."}} if request.GET.get("saved") and status == 200 else {}
    )
    standard = settings.CONFIG.idle_timeout
    counts = traffic.of_team(settings.CONFIG, instance.team)
    more["limit_fields"] = traffic.fields(counts, instance.traffic_limits, context.get("given"))
    return framed(
        request,
        "settings/page.html",
        instance,
        "settings",
        status,
        standard=standard,
        longest=limits.IDLE_TIMEOUT_MAX,
        **more,
        **context,
    )


def _wanted(form: QueryDict) -> dict[str, Any]:
    """The form as `change_settings` takes it. A number that is none is left to it to refuse."""
    text = form.get("idle_timeout", "").strip()
    idle: Any = int(text) if text.isascii() and text.isdigit() and len(text) < 12 else text
    return {
        "idle_timeout": None if text == "" else idle,
        "always_awake": form.get("always_awake") == "on",
        "dev": form.get("dev") == "on",
        "admin_sync": form.get("admin_sync") == "on",
        "traffic_limits": traffic.wanted(form),
    }
