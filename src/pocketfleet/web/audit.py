"""The audit as pages and API show it: rows as plain dictionaries."""

from __future__ import annotations

from typing import Any

from pocketfleet.models import Audit, Instance

Row = dict[str, Any]
NAMES = ("id", "at", "actor", "verb", "subject", "team", "address", "via", "detail")


def of_instance(instance: Instance, limit: int) -> list[Row]:
    """What was done to this instance, the newest first; of the time with its present team alone."""
    found = Audit.objects.filter(subject=instance.id, team=instance.team_id or "")
    return list(found.order_by("-id").values(*NAMES)[:limit])
