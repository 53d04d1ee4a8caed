"""The feed of an instance: what happened to it, in plain words, kept and mailed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.utils import timezone

from pocketfleet.actions.records import changed
from pocketfleet.domain.redaction import redact, redact_all
from pocketfleet.models import Event

INFO, WARNING, PROBLEM = "info", "warning", "problem"
WEIGHTS = (INFO, WARNING, PROBLEM)
#: What happened longer ago is no news any more, and is not mailed.
MAILED_WITHIN = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Unmailed:
    """An event that somebody should get mail about."""

    id: int
    instance_id: str
    #: of the instance; its id where it has none any more
    name: str
    superuser_email: str
    weight: str
    text: str
    at: datetime


def tell(instance_id: str, kind: str, text: str, weight: str = INFO, operation_id: str = "", **detail: Any) -> None:
    """Add to the feed. Of one operation each kind is told once, so a step that is done twice tells once.

    Redacted: PocketBase's own words may be among it.
    """
    if weight not in WEIGHTS:
        raise ValueError(f"an event weighs one of {WEIGHTS}, not {weight}")
    with transaction.atomic():
        if (
            operation_id
            and Event.objects.filter(instance_id=instance_id, operation_id=operation_id, kind=kind).exists()
        ):
            return
        Event.objects.create(
            instance_id=instance_id,
            kind=kind,
            text=redact(text),
            weight=weight,
            operation_id=operation_id,
            detail=redact_all(detail),
        )
        changed("event", instance_id)


def unmailed(limit: int = 200) -> list[Unmailed]:
    """Warnings and problems of the last day that were not mailed, oldest first."""
    query = Event.objects.filter(
        weight__in=(WARNING, PROBLEM), mailed_at=None, at__gte=timezone.now() - MAILED_WITHIN
    ).select_related("instance")
    return [
        Unmailed(
            event.id,
            event.instance_id,
            event.instance.name or event.instance_id,
            event.instance.superuser_email,
            event.weight,
            event.text,
            event.at,
        )
        for event in query.order_by("id")[:limit]
    ]


def mark_mailed(ids: Iterable[int]) -> None:
    """They were handed to the mail server."""
    Event.objects.filter(id__in=list(ids)).update(mailed_at=timezone.now())


def prune_events(older_than: timedelta = timedelta(days=366)) -> int:
    """Delete what happened long ago; answers how many."""
    return Event.objects.filter(at__lt=timezone.now() - older_than).delete()[0]
