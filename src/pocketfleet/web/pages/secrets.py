"""An instance's secrets: names are shown, values go in and never come out."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponse
from django.views.decorators.http import require_http_methods

from pocketfleet.actions import instances as actions
from pocketfleet.domain.roles import Verb
from pocketfleet.errors import WrongSecret
from pocketfleet.models import Instance
from pocketfleet.web.access import instance_for
from pocketfleet.web.callers import FleetRequest, caller_of
from pocketfleet.web.pages.frame import framed
from pocketfleet.web.pages.guard import back, on_instance


@require_http_methods(["GET", "HEAD", "POST"])
@on_instance()
def show(request: FleetRequest, instance: Instance) -> HttpResponse:
    """The names, and a form for one more; POST sets (`name`, `value`) or removes (`remove`) one."""
    if request.method != "POST":
        return framed(request, "secrets/page.html", instance, "secrets")
    instance_for(request, instance.id, Verb.OPERATE)
    removed, name = request.POST.get("remove", ""), request.POST.get("name", "").strip()
    changes: dict[str, str | None] = {removed: None} if removed else {name: _value(request.POST.get("value", ""))}
    try:
        actions.change_secrets(instance.id, changes, acting_user=caller_of(request).user)
    except WrongSecret as error:
        context: dict[str, Any] = {"error": error, "given": {"name": name}}
        return framed(request, "secrets/page.html", instance, "secrets", 422, **context)
    return back(request, f"/instances/{instance.id}/secrets")


def _value(text: str) -> str:
    # a form sends line ends as CRLF, whatever was pasted
    return text.replace("\r\n", "\n")
