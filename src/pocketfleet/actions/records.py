"""The two rows that every action leaves: who did it (Audit) and what changed (Change)."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.db import connection
from django.utils import timezone

from pocketfleet.models import Audit, Change, User

#: The actor of what pocketfleet does by itself.
SYSTEM = "pocketfleet"
#: The channel of PostgreSQL's NOTIFY that bell.py listens to.
CHANNEL = "pocketfleet_changes"
_CHANGES_LOCK = 0x706F636B6574


def actor(user: User | None) -> str:
    """The name that stands in journals: the user's, or `pocketfleet`."""
    return SYSTEM if user is None else user.get_username()


def changed(kind: str, *keys: str) -> None:
    """Say that these things changed; to be called inside the transaction that changes them."""
    if connection.vendor == "postgresql":
        _ring_postgresql()
    Change.objects.bulk_create([Change(kind=kind, key=key) for key in keys])


def _ring_postgresql() -> None:
    """Ring the bell once the transaction commits. SQLite needs no ringing: the bell sees that the file was written.

    The lock, held until the commit, makes the order of ids the order of commits: whoever reads on from the last id
    must not find an older one later.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s), pg_notify(%s, '')", [_CHANGES_LOCK, CHANNEL])


def audited(user: User | None, verb: str, subject: str, **detail: Any) -> None:
    """Say who did it; to be called inside the transaction that does it. Never give a secret's value."""
    Audit.objects.create(actor=actor(user), verb=verb, subject=subject, detail=detail)


def prune_changes(keep: timedelta = timedelta(hours=6)) -> int:
    """Delete Change rows older than `keep`; whoever has not read them by then reads everything anew."""
    return Change.objects.filter(at__lt=timezone.now() - keep).delete()[0]
