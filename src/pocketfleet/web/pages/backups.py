"""An instance's copies: backups to keep and take away, snapshots to go back to, when they are made and kept."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.http import HttpResponse, QueryDict
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from pocketfleet.actions import copies as actions
from pocketfleet.actions import instances
from pocketfleet.domain.retention import Retention
from pocketfleet.domain.roles import Verb
from pocketfleet.domain.schedules import KEEP, BackupPlan
from pocketfleet.errors import WrongSetting
from pocketfleet.models import Instance
from pocketfleet.web import copies
from pocketfleet.web.callers import FleetRequest, caller_of
from pocketfleet.web.digests import digest_of
from pocketfleet.web.pages.frame import framed
from pocketfleet.web.pages.guard import back, on_instance, to_operation

#: What the form offers, as cron says it.
TIMES = (
    ("0 3 * * *", "Every night at 3:00"),
    ("0 3 * * 0", "Every Sunday at 3:00"),
    ("0 */6 * * *", "Every six hours"),
    ("0 * * * *", "Every hour"),
)


@require_safe
@on_instance()
def show(request: FleetRequest, instance: Instance) -> HttpResponse:
    """The page; for htmx only the lists, or nothing where they are as the browser shows them."""
    lists = _lists(instance)
    if request.htmx and request.htmx.target == "copies":
        if lists["digest"] == request.GET.get("seen"):
            return HttpResponse(status=204)
        return framed(request, "backups/lists.html", instance, "backups", **lists)
    return _page(request, instance, **lists)


@require_POST
@on_instance(Verb.OPERATE)
def back_up(request: FleetRequest, instance: Instance) -> HttpResponse:
    """Make a backup."""
    full = request.POST.get("full") == "on"
    return to_operation(instance, actions.back_up_instance(instance.id, full=full, acting_user=_user(request)))


@require_POST
@on_instance(Verb.OPERATE)
def take_snapshot(request: FleetRequest, instance: Instance) -> HttpResponse:
    """Take a snapshot."""
    note = request.POST.get("note", "")
    operation = actions.snapshot_instance(instance.id, note=note, acting_user=_user(request))
    return to_operation(instance, operation)


@require_POST
@on_instance(Verb.OPERATE)
def verify(request: FleetRequest, instance: Instance) -> HttpResponse:
    """Read a backup whole."""
    operation = actions.verify_backup(instance.id, request.POST.get("backup", ""), acting_user=_user(request))
    return to_operation(instance, operation)


@require_POST
@on_instance(Verb.OPERATE)
def remove(request: FleetRequest, instance: Instance) -> HttpResponse:
    """Remove a backup or a snapshot for good."""
    if backup := request.POST.get("backup"):
        actions.delete_backup(instance.id, backup, acting_user=_user(request))
    else:
        actions.delete_snapshot(instance.id, request.POST.get("snapshot", ""), acting_user=_user(request))
    return back(request, f"/instances/{instance.id}/backups")


@require_POST
@on_instance(Verb.OPERATE)
def plan(request: FleetRequest, instance: Instance) -> HttpResponse:
    """When it is backed up, and how many are kept."""
    return _change(request, instance, {"backup_plan": _plan(request.POST)}, "plan")


@require_POST
@on_instance(Verb.OPERATE)
def retention(request: FleetRequest, instance: Instance) -> HttpResponse:
    """Which snapshots are kept."""
    given = {name: _number(request.POST.get(name, "")) for name in ("last", "daily", "weekly")}
    return _change(request, instance, {"retention": {} if request.POST.get("standard") == "on" else given}, "retention")


def _change(request: FleetRequest, instance: Instance, changes: dict[str, Any], form: str) -> HttpResponse:
    try:
        instances.change_settings(instance.id, changes, acting_user=_user(request))
    except WrongSetting as error:
        return _page(request, instance, 422, error=error, error_form=form, given=request.POST, **_lists(instance))
    return back(request, f"/instances/{instance.id}/backups?saved=1")


def _lists(instance: Instance) -> dict[str, Any]:
    found = {"backups": copies.backups(instance.id), "snapshots": copies.snapshots(instance.id)}
    return {**found, "digest": digest_of(found)}


def _page(request: FleetRequest, instance: Instance, status: int = 200, **context: Any) -> HttpResponse:
    saved = {"notice": {"kind": "good", "text": "Saved."}} if request.GET.get("saved") and status == 200 else {}
    present = BackupPlan.parse(instance.backup_plan)
    config = settings.CONFIG
    standard = Retention(config.snapshots_last, config.snapshots_daily, config.snapshots_weekly)
    return framed(
        request,
        "backups/page.html",
        instance,
        "backups",
        status,
        plan=present.as_json() if present else {},
        zone=request.POST.get("zone") or (present.zone.key if present else "UTC"),
        kept=request.POST.get("keep") or (present.keep if present else KEEP),
        next_due=present.next_due(timezone.now()) if present else None,
        times=TIMES,
        own_time=present is not None and present.cron not in dict(TIMES),
        keep=Retention.parse(instance.retention, standard),
        standard=standard,
        **saved,
        **context,
    )


def _plan(form: QueryDict) -> dict[str, Any]:
    """The form as `change_settings` takes it; what is wrong in it is left to that to refuse."""
    cron = form.get("time", "")
    if cron == "own":
        cron = form.get("cron", "").strip()
    if not cron:
        return {}
    zone = form.get("zone", "").strip() or "UTC"
    return {"cron": cron, "zone": zone, "keep": _number(form.get("keep", "")), "full": form.get("full") == "on"}


def _number(text: str) -> Any:
    text = text.strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) < 9 else text


def _user(request: FleetRequest) -> Any:
    return caller_of(request).user
