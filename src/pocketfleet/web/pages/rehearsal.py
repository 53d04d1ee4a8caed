"""What a rehearsal found, as one readable page; and switching to, or restoring, what was read there.

GET  /instances/<ref>/rehearsals/<id>          the report
POST /instances/<ref>/rehearsals/<id>/accept   switch to the release, or restore, with the changes named there
"""

from __future__ import annotations

from typing import Any

from django.http import HttpResponse
from django.views.decorators.http import require_POST, require_safe

from pocketfleet.domain.roles import Verb
from pocketfleet.errors import RehearsalNotFound
from pocketfleet.models import Instance, Operation, Rehearsal
from pocketfleet.web import restoring, versions
from pocketfleet.web.access import instance_for, rehearsal_for, upload_for
from pocketfleet.web.callers import FleetRequest, caller_of
from pocketfleet.web.pages.frame import framed
from pocketfleet.web.pages.guard import on_instance, to_operation
from pocketfleet.web.plainly import plain, value
from pocketfleet.web.report_view import view_of
from pocketfleet.web.switching import obstacle, range_of, switch_as_read


@require_safe
@on_instance()
def show(request: FleetRequest, instance: Instance, rehearsal_id: str) -> HttpResponse:
    """The report, and what can be done about it."""
    found = _found(request, instance, rehearsal_id)
    is_restore = found.kind == "restore"
    context = {
        "rehearsal": found,
        "report": view_of(_shown_of(found)),
        "range": range_of(found),
        "origin": restoring.told(found) if is_restore else {},
        "obstacle": restoring.obstacle(found, instance) if is_restore else obstacle(found, instance),
        "newer": _newer(found),
        **_works(found),
    }
    return framed(request, "versions/rehearsal.html", instance, "versions", **context)


@require_POST
@on_instance(Verb.OPERATE)
def accept(request: FleetRequest, instance: Instance, rehearsal_id: str) -> HttpResponse:
    """Go on with what was read here, and with nothing else."""
    found, user = _found(request, instance, rehearsal_id), caller_of(request).user
    if found.kind == "restore":
        # a file brings hooks along, and hooks read everything
        upload = restoring.origin_of(found).upload
        instance_for(request, instance.id, Verb.DATA if upload else Verb.OPERATE)
        restoring.check(found, instance)
        if upload:
            upload_for(request, upload)
        operation = restoring.restore_as_read(found, instance, acting_user=user)
    else:
        operation = switch_as_read(found, instance, acting_user=user)
    return to_operation(instance, operation)


def _shown_of(found: Rehearsal) -> dict[str, Any]:
    """The report; one of another pocketfleet may lack what its row has."""
    row = {"verdict": found.verdict, "kind": found.kind, "from": found.from_release, "to": found.to_release}
    return {**row, **found.report}


def _found(request: FleetRequest, instance: Instance, rehearsal_id: str) -> Rehearsal:
    found = rehearsal_for(request, rehearsal_id)
    if found.instance_id != instance.id:
        raise RehearsalNotFound(f"{instance.name} has no rehearsal “{rehearsal_id[:70]}”.")
    return found


def _newer(found: Rehearsal) -> dict[str, Any] | None:
    """A later rehearsal of the same change: that one counts."""
    later = Rehearsal.objects.filter(
        instance_id=found.instance_id,
        kind=found.kind,
        origin=found.origin,
        from_release=found.from_release,
        to_release=found.to_release,
        created_at__gt=found.created_at,
    )
    row = later.order_by("-created_at").values("id", "verdict", "created_at").first()
    return dict(row) if row else None


def _works(found: Rehearsal) -> dict[str, Any]:
    """For one that is broken: the last release that works and what stops the next, once the search has ended."""
    operation = Operation.objects.filter(id=found.operation_id).only("result", "state", "finished_at").first()
    result = operation.result if operation is not None else {}
    return {
        "searching": operation is not None and operation.finished_at is None,
        "last_that_works": plain(result.get("last_that_works") or ""),
        "first_that_fails": plain(result.get("first_that_fails") or ""),
        "stops_it": [value(one, short=300) for one in result.get("stops_it", [])],
        "asking": versions.asking(found.instance_id),
    }
