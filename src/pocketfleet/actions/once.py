"""What works once: sign-in links, tickets, invitations. Each is open until somebody uses it, or its time is over."""

from __future__ import annotations

from typing import TypeVar

from django.db.models import Model, QuerySet
from django.utils import timezone

Row = TypeVar("Row", bound=Model)


def still_open(found: QuerySet[Row], used: str = "used_at") -> QuerySet[Row]:
    """Those that still work; `used` is the column that says when one was used."""
    return found.filter(**{used: None}, expires_at__gt=timezone.now())


def burn(found: QuerySet[Row], used: str = "used_at") -> bool:
    """Use it up; whether this call did: one UPDATE decides between two that come at the same time."""
    return bool(still_open(found, used).update(**{used: timezone.now()}))
