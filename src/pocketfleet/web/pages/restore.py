"""Bringing a snapshot, a backup or an uploaded file into an instance: what it means, and the button."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponse, QueryDict
from django.views.decorators.http import require_http_methods

from pocketfleet.actions import copies as actions
from pocketfleet.actions.copies import Origin, Rehearsing
from pocketfleet.domain.roles import Verb
from pocketfleet.models import Instance
from pocketfleet.web.access import instance_for, upload_for
from pocketfleet.web.callers import FleetRequest, caller_of
from pocketfleet.web.pages.frame import framed
from pocketfleet.web.pages.guard import on_instance, to_operation


@require_http_methods(["GET", "HEAD", "POST"])
@on_instance(Verb.OPERATE)
def show(request: FleetRequest, instance: Instance) -> HttpResponse:
    """What would be restored; POST (`snapshot`, `backup` or `upload`) does it, or with `do=rehearse` tries it only."""
    if request.method == "POST":
        origin = _origin(request.POST)
        # a file brings hooks along, and hooks read everything
        instance_for(request, instance.id, Verb.DATA if origin.upload else Verb.OPERATE)
        if origin.upload:
            upload_for(request, origin.upload)
        wanted = Rehearsing(only=request.POST.get("do") == "rehearse")
        operation = actions.restore_instance(instance.id, origin, wanted, acting_user=caller_of(request).user)
        return to_operation(instance, operation)
    return framed(request, "backups/restore.html", instance, "backups", **_source(instance, _origin(request.GET)))


def _origin(given: QueryDict) -> Origin:
    return Origin(given.get("snapshot", ""), given.get("backup", ""), given.get("upload", ""))


def _source(instance: Instance, origin: Origin) -> dict[str, Any]:
    """Raises SnapshotNotFound, BackupNotFound."""
    if origin.snapshot:
        return {"snapshot": actions.find_snapshot(instance.id, origin.snapshot)}
    return {"backup": actions.find_backup(instance.id, origin.backup)} if origin.backup else {}
