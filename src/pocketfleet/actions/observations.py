"""What node saw of instances. No audit rows: nobody decided these things, they happened."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import F
from django.utils import timezone

from pocketfleet.actions.events import WARNING, tell
from pocketfleet.actions.records import changed
from pocketfleet.domain.addresses import address_of
from pocketfleet.domain.instances import InstanceFacts
from pocketfleet.domain.states import Process
from pocketfleet.models import Change, Instance


@dataclass(frozen=True, slots=True)
class Seen:
    """What became of an instance's process."""

    instance_id: str
    process: Process
    reason: str = ""
    retry_at: datetime | None = None
    awake_since: datetime | None = None


def record_processes(seen: Iterable[Seen]) -> None:
    """Write down several instances' processes in one transaction; the last word per instance counts."""
    latest = {item.instance_id: item for item in seen}
    with transaction.atomic():
        for item in latest.values():
            fields: dict[str, Any] = {
                "process": item.process,
                "reason": item.reason,
                "retry_at": item.retry_at,
                "awake_since": item.awake_since,
            }
            if item.process in (Process.WAKING, Process.AWAKE):
                fields["has_run"] = True
            Instance.objects.filter(id=item.instance_id).update(**fields)
        changed("instance", *latest)


def record_without_place(instance_id: str, reason: str) -> None:
    """It should be awake, and sleeps for this reason: its owner is told when that begins, not at every try."""
    with transaction.atomic():
        row = Instance.objects.filter(id=instance_id, process=Process.ASLEEP).exclude(reason=reason).first()
        if row is None:
            return
        Instance.objects.filter(id=instance_id).update(reason=reason)
        if not row.reason:
            text = f"It should stay awake, and sleeps: {reason} It wakes by itself once another one of them sleeps."
            tell(instance_id, "without_place", text, WARNING)
        changed("instance", instance_id)


def record_needs_no_place(instance_id: str) -> None:
    """It need not be awake any more, so nothing keeps it from that."""
    with transaction.atomic():
        if Instance.objects.filter(id=instance_id, process=Process.ASLEEP).exclude(reason="").update(reason=""):
            changed("instance", instance_id)


def record_observed(generations: Mapping[str, int]) -> None:
    """Write down which generation of each instance's intents is now so."""
    with transaction.atomic():
        for instance_id, generation in generations.items():
            Instance.objects.filter(id=instance_id, observed_generation__lt=generation).update(
                observed_generation=generation
            )
        changed("instance", *generations)


def mark_ready(instance_id: str) -> None:
    """Its folders and first superuser are there."""
    with transaction.atomic():
        Instance.objects.filter(id=instance_id).update(ready=True)
        changed("instance", instance_id)


def mark_closed(instance_id: str) -> None:
    """It must not be started any more: it is on its way to quarantine."""
    with transaction.atomic():
        Instance.objects.filter(id=instance_id).update(ready=False)
        changed("instance", instance_id)


def mark_deleted(instance_id: str) -> None:
    """Its files are in quarantine: the name is free, the id and address stay taken for ever."""
    with transaction.atomic():
        Instance.objects.filter(id=instance_id, deleted_at=None).update(
            name=None, deleted_at=timezone.now(), process=Process.ASLEEP, reason="", retry_at=None, secrets={}
        )
        changed("instance", instance_id)


def due_for_purge(quarantine: float) -> list[str]:
    """Ids of the deleted instances whose time in quarantine (seconds) is over."""
    limit = timezone.now() - timedelta(seconds=quarantine)
    return list(
        Instance.objects.filter(deleted_at__lte=limit, purged_at=None)
        .order_by("deleted_at")
        .values_list("id", flat=True)
    )


def mark_purged(instance_id: str) -> None:
    """Its files are gone for good."""
    with transaction.atomic():
        Instance.objects.filter(id=instance_id).update(purged_at=timezone.now())
        changed("instance", instance_id)


def facts(ids: Iterable[str] | None = None) -> list[InstanceFacts]:
    """The facts of all instances that are not deleted, or of those named; the deleted ones are left out."""
    query = Instance.objects.filter(deleted_at=None)
    if ids is not None:
        query = query.filter(id__in=list(ids))
    rows = query.values_list(
        "id",
        "name",
        "number",
        "release",
        "power",
        "suspended",
        "hold",
        "idle_timeout",
        "dev",
        "always_awake",
        "secrets",
        "generation",
        "ready",
        "observed_generation",
        "team_id",
        "traffic_limits",
    )
    return [
        InstanceFacts(
            id=row[0],
            name=row[1] or "",
            address=address_of(row[2]),
            release=row[3],
            power=row[4],
            suspended=row[5],
            hold=row[6],
            idle_timeout=row[7],
            dev=row[8],
            always_awake=row[9],
            secrets=row[10],
            generation=row[11],
            ready=row[12],
            observed=row[13],
            team=row[14] or "",
            traffic_limits=row[15],
        )
        for row in rows.iterator(2000)
    ]


def unobserved() -> list[str]:
    """Ids of the instances whose newest intents are not yet so."""

    query = Instance.objects.filter(deleted_at=None).exclude(observed_generation=F("generation"))
    return list(query.values_list("id", flat=True))


def not_asleep() -> list[str]:
    """Ids of the instances that the database holds for awake, waking or failing."""
    query = Instance.objects.exclude(process=Process.ASLEEP).filter(deleted_at=None)
    return list(query.values_list("id", flat=True))


def last_change() -> int:
    """Id of the newest Change row, 0 where there is none."""
    return Change.objects.order_by("-id").values_list("id", flat=True).first() or 0


def changes_since(last: int, limit: int = 10_000) -> list[tuple[int, str, str]]:
    """(id, kind, key) of the Change rows after `last`, oldest first."""
    rows = Change.objects.filter(id__gt=last).order_by("id").values_list("id", "kind", "key")
    return list(rows[:limit])
