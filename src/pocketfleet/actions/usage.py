"""Writing down what instances were used for. No audit rows: nobody decided these things, they happened."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db import transaction
from django.utils import timezone

from pocketfleet.actions.records import changed
from pocketfleet.domain.usage import KEPT, Counts
from pocketfleet.models import CounterMark, Instance, Usage

_COUNTED = ("requests", "client_errors", "server_errors", "bytes_in", "bytes_out")
#: Rows that are pruned at once: the database is not held for long.
PRUNED_AT_ONCE = 2000

Marks = Mapping[str, Sequence[int]]


@dataclass(frozen=True, slots=True)
class Used:
    """What one instance was used for since this was last written."""

    instance_id: str
    #: by the beginning of the hour, UTC
    hours: Mapping[datetime, Counts]
    last_request_at: datetime | None = None
    #: bytes of its files; None where they were not measured
    size: int | None = None
    #: up to where its counters are in `hours`; None leaves what was written before
    marks: Marks | None = None


def record_usage(used: Sequence[Used], expired: Iterable[str] = ()) -> None:
    """Add to the hours of several instances in one transaction, together with the marks that say what they hold.

    `expired`: ids of those whose counters the edge has forgotten. What is not an instance any more is passed over.
    The number of queries does not depend on how many there are.
    """
    with transaction.atomic():
        rows = Instance.objects.only("last_request_at", "size_bytes").in_bulk([item.instance_id for item in used])
        there = [item for item in used if item.instance_id in rows]
        _add_hours(there)
        _renew_instances(rows, there)
        _set_marks(there, list(expired))
        changed("usage", *rows)


def counter_marks() -> dict[str, dict[str, list[int]]]:
    """Up to where each instance's counters were counted, by its id."""
    return dict(CounterMark.objects.values_list("instance_id", "marks"))


def prune_usage() -> int:
    """Delete hours that nobody is shown any more, PRUNED_AT_ONCE at most; answers how many."""
    old = Usage.objects.filter(hour__lt=timezone.now() - KEPT).order_by("hour").values_list("id", flat=True)
    found = list(old[:PRUNED_AT_ONCE])
    return Usage.objects.filter(id__in=found).delete()[0] if found else 0


def forget_usage(instance_id: str) -> None:
    """The instance is gone for good, and so is what it was used for."""
    with transaction.atomic():
        Usage.objects.filter(instance_id=instance_id).delete()
        CounterMark.objects.filter(instance_id=instance_id).delete()


def _add_hours(used: Sequence[Used]) -> None:
    hours = {hour for item in used for hour in item.hours}
    found = Usage.objects.filter(hour__in=hours, instance_id__in=[item.instance_id for item in used])
    rows = {(row.instance_id, row.hour): row for row in found}
    changes = [_changed_row(rows, item, hour) for item in used for hour in item.hours]
    Usage.objects.bulk_create(
        changes,
        update_conflicts=True,
        unique_fields=["instance", "hour"],
        update_fields=[*_COUNTED, "size_bytes"],
    )


def _changed_row(rows: Mapping[tuple[str, datetime], Usage], item: Used, hour: datetime) -> Usage:
    before = rows.get((item.instance_id, hour)) or Usage()
    counts = Counts(*(getattr(before, name) for name in _COUNTED)) + item.hours[hour]
    return Usage(
        instance_id=item.instance_id,
        hour=hour,
        size_bytes=before.size_bytes if item.size is None else item.size,
        **dict(zip(_COUNTED, counts.as_list(), strict=True)),
    )


def _renew_instances(rows: Mapping[str, Instance], used: Iterable[Used]) -> None:
    for item in used:
        row = rows[item.instance_id]
        if item.last_request_at is not None:
            row.last_request_at = max(item.last_request_at, row.last_request_at or item.last_request_at)
        if item.size is not None:
            row.size_bytes = item.size
    Instance.objects.bulk_update(rows.values(), ["last_request_at", "size_bytes"])


def _set_marks(used: Iterable[Used], expired: Sequence[str]) -> None:
    marks = [CounterMark(instance_id=item.instance_id, marks=item.marks) for item in used if item.marks is not None]
    CounterMark.objects.bulk_create(marks, update_conflicts=True, unique_fields=["instance"], update_fields=["marks"])
    if expired:
        CounterMark.objects.filter(instance_id__in=expired).delete()
