"""What the page Mend by hand reads: whether it is stopped, what is in the way, and the data as it was."""

from __future__ import annotations

from typing import Any

from django.conf import settings

from pocketfleet.domain.policies import Verdict
from pocketfleet.domain.states import OperationState, Process
from pocketfleet.logs import InstanceLog
from pocketfleet.models import Backup, Instance, Operation, Rehearsal
from pocketfleet.web.plainly import plain, value
from pocketfleet.web.report_view import view_of

Row = dict[str, Any]

_FAILED = (OperationState.FAILED, OperationState.ROLLED_BACK)
#: Reasons and files that are shown; the report has all.
_MOST = 5
#: Of the log.
_LINES = 10


def way(instance: Instance) -> Row:
    """All that the page shows."""
    return {
        "off": instance.power == "off",
        "failing": instance.process == Process.FAILING,
        "reason": value(instance.reason, short=600),
        "report": _report(instance),
        "failed": _failed(instance),
        "log": _last_words(instance),
        "backups": _backups(instance),
    }


def _report(instance: Instance) -> Row | None:
    """The newest rehearsal of a release, where it says broken or names what to write otherwise."""
    found = Rehearsal.objects.filter(instance=instance, kind="upgrade").order_by("-created_at").first()
    if found is None:
        return None
    shown = view_of({"verdict": found.verdict, **found.report})
    if found.verdict != Verdict.BROKEN and not shown["places"]:
        return None
    operation = Operation.objects.filter(id=found.operation_id).only("result").first()
    result = operation.result if operation is not None else {}
    return {
        "id": found.id,
        "to": found.to_release,
        "verdict": found.verdict,
        "reasons": shown["reasons"][:_MOST],
        "places": shown["places"][:_MOST],
        "last_that_works": plain(result.get("last_that_works") or ""),
    }


def _failed(instance: Instance) -> Row | None:
    """The newest change of release, where it failed."""
    found = Operation.objects.filter(instance=instance, kind="upgrade").order_by("-created_at", "-id").first()
    if found is None or found.state not in _FAILED:
        return None
    return {"id": found.id, "to": found.params.get("release"), "why": value(found.error.get("detail"), short=600)}


def _last_words(instance: Instance) -> list[str]:
    """Of one that was stopped: what it said when it was tried last."""
    if instance.power != "off":
        return []
    config = settings.CONFIG
    log = InstanceLog(config.logs / instance.id, config.log_bytes, config.log_generations)
    return [plain(line.text) for line in log.tail(_LINES)]


def _backups(instance: Instance) -> list[Row]:
    """The newest one that holds everything, and the one from before the last change of release."""
    full = Backup.objects.filter(instance=instance, full=True).exclude(purpose="lost").order_by("-created_at")
    before = full.filter(purpose="upgrade")
    names = ("id", "name", "purpose", "release", "size", "created_at")
    rows = {row["id"]: row for row in [*full.values(*names)[:1], *before.values(*names)[:1]]}
    return list(rows.values())
