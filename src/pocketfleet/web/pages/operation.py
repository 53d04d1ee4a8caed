"""One operation of an instance, live: its steps, how long requests wait, how it ended, and what can be answered.

GET  /instances/<ref>/operations/<id>         the page; for htmx its live part, or nothing where it is as shown
POST /instances/<ref>/operations/<id>/leave   an answer: no, leave it as it is
POST /instances/<ref>/operations/<id>/back    an answer: go back although something is lost; or only write it down
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from django.http import HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from pocketfleet.actions import upgrades as actions
from pocketfleet.domain.roles import Verb
from pocketfleet.domain.states import OperationState
from pocketfleet.errors import ChangedMeanwhile, OperationNotFound
from pocketfleet.models import Instance, Operation
from pocketfleet.web import journal
from pocketfleet.web.access import operation_for
from pocketfleet.web.callers import FleetRequest, caller_of
from pocketfleet.web.digests import digest_of
from pocketfleet.web.pages.frame import framed
from pocketfleet.web.pages.guard import on_instance, to_operation

#: Where an operation belongs among the instance's pages; others to its overview.
_TABS = {
    **dict.fromkeys(("upgrade", "rollback"), "versions"),
    **dict.fromkeys(("backup", "verify", "delete_backup", "snapshot", "delete_snapshot", "restore"), "backups"),
}


@require_safe
@on_instance()
def show(request: FleetRequest, instance: Instance, operation_id: str) -> HttpResponse:
    """The page, or its live part."""
    shown = _shown(_found(request, instance, operation_id), instance)
    if request.htmx and request.htmx.target == "operation":
        if shown["digest"] == request.GET.get("seen"):
            return HttpResponse(status=204)
        return framed(request, "versions/operation_live.html", instance, _tab(shown), operation=shown)
    return framed(request, "versions/operation.html", instance, _tab(shown), operation=shown)


@require_POST
@on_instance(Verb.OPERATE)
def leave(request: FleetRequest, instance: Instance, operation_id: str) -> HttpResponse:
    """It asks no longer, and nothing changes."""
    found = _found(request, instance, operation_id)
    actions.leave_as_it_is(found.id, acting_user=caller_of(request).user)
    return to_operation(instance, found)


@require_POST
@on_instance(Verb.OPERATE)
def back(request: FleetRequest, instance: Instance, operation_id: str) -> HttpResponse:
    """`do=export`: write what would be lost as a zip, and ask again. `do=back`: go back, once the name is typed."""
    found = _found(request, instance, operation_id)
    if found.kind != "rollback" or found.state != OperationState.ASKING:
        raise ChangedMeanwhile("This was decided already: it does not ask any more. Begin again on the page Versions.")
    accept = request.POST.get("do") != "export"
    if accept and request.POST.get("name", "").strip() != instance.name:
        error = f"Type “{instance.name}” to say that you mean this instance."
        shown = _shown(found, instance)
        return framed(request, "versions/operation.html", instance, "versions", 422, operation=shown, name_error=error)
    operation = actions.rollback_instance(
        instance.id,
        str(found.params["snapshot"]),
        accept_loss=accept,
        export=not accept or request.POST.get("export") == "on",
        acting_user=caller_of(request).user,
    )
    return to_operation(instance, operation)


def to_versions(instance: Instance, part: str = "") -> HttpResponse:
    """To the page Versions, at one of its parts."""
    address = reverse("versions", args=[instance.name or instance.id])
    return HttpResponseRedirect(address + (f"#{quote(part)}" if part else ""), status=303)


def _found(request: FleetRequest, instance: Instance, operation_id: str) -> Operation:
    found = operation_for(request, operation_id)
    if found.instance_id != instance.id:
        raise OperationNotFound(f"{instance.name} has no operation “{operation_id[:70]}”.")
    return found


def _tab(shown: dict[str, Any]) -> str:
    return _TABS.get(shown["kind"], "overview")


def _shown(found: Operation, instance: Instance) -> dict[str, Any]:
    shown = journal.operation(found, instance)
    # the clock goes on by itself: that it has moved is no news
    held = shown["held"]
    still = {**shown, "held": {**held, "now": "", "seconds": ""} if held and held["since"] else held}
    return {**shown, "digest": digest_of(still)}
