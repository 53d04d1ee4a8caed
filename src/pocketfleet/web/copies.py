"""Copies and the feed as pages and API show them: rows as plain dictionaries."""

from __future__ import annotations

from typing import Any

from django.db.models import Subquery

from pocketfleet.models import Backup, Event, Instance, Snapshot

Row = dict[str, Any]


def snapshots(instance_id: str, limit: int = 1000) -> list[Row]:
    """The newest first."""
    return [
        {
            "id": row.id,
            "purpose": row.purpose,
            "release": row.release,
            "size": row.size,
            "note": row.note,
            "kept_for": row.kept_for,
            "records": row.manifest.get("counts", {}),
            "created_at": row.created_at,
        }
        for row in Snapshot.objects.filter(instance_id=instance_id)[:limit]
    ]


def backups(instance_id: str, limit: int = 1000) -> list[Row]:
    """The newest first."""
    names = ("id", "name", "purpose", "release", "full", "size", "sha256", "verified_at", "created_at")
    return list(Backup.objects.filter(instance_id=instance_id).values(*names)[:limit])


def newest(instance_id: str) -> Row:
    """When the newest snapshot and the newest backup were made; None where there is none. One query."""
    snapshot = Snapshot.objects.filter(instance_id=instance_id).order_by("-created_at").values("created_at")[:1]
    backup = Backup.objects.filter(instance_id=instance_id).exclude(purpose="lost").order_by("-created_at")
    made = Instance.objects.filter(id=instance_id).values_list(
        Subquery(snapshot), Subquery(backup.values("created_at")[:1])
    )
    found = made.first() or (None, None)
    return {"snapshot": found[0], "backup": found[1]}


def events(instance_id: str, *, before: int | None = None, limit: int = 100) -> list[Row]:
    """The newest first; those before one of them, where its id is given."""
    names = ("id", "at", "kind", "weight", "text", "operation_id", "detail", "mailed_at")
    found = Event.objects.filter(instance_id=instance_id)
    if before is not None:
        found = found.filter(id__lt=before)
    return list(found.values(*names)[:limit])
