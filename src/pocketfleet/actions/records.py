"""The two rows that every action leaves: who did it (Audit) and what changed (Change)."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db import connection
from django.utils import timezone

from pocketfleet.models import Audit, Change, Instance, User

#: The actor of what pocketfleet does by itself.
SYSTEM = "pocketfleet"
#: The channel of PostgreSQL's NOTIFY that bell.py listens to.
CHANNEL = "pocketfleet_changes"
_CHANGES_LOCK = 0x706F636B6574


@dataclass(frozen=True, slots=True)
class Whence:
    """From where and how somebody acts: the client's address, and how they are known."""

    address: str = ""
    via: str = ""


#: Of the request that is being answered; whoever answers requests sets it.
whence: ContextVar[Whence] = ContextVar("whence", default=Whence())  # noqa: B039  frozen


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


def audited(user: User | None, verb: str, subject: str, *, team: str | None = None, **detail: Any) -> None:
    """Say who did it; to be called inside the transaction that does it. Never give a secret's value.

    `team`: who may read it; left out, the team of the instance that `subject` is the id of.
    """
    if team is None:
        team = Instance.objects.filter(id=subject).values_list("team_id", flat=True).first()
    here = whence.get()
    Audit.objects.create(
        actor=actor(user),
        verb=verb,
        subject=subject,
        team=team or "",
        address=here.address,
        via=here.via,
        detail=detail,
    )


def prune_changes(keep: timedelta = timedelta(hours=6)) -> int:
    """Delete Change rows older than `keep`; whoever has not read them by then reads everything anew."""
    return Change.objects.filter(at__lt=timezone.now() - keep).delete()[0]
