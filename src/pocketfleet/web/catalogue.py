"""The catalogue as the page of releases shows it: by line, with how many instances of the visitor's run each."""

from __future__ import annotations

from itertools import groupby
from typing import Any

from django.db.models import Count, Q

from pocketfleet.domain.states import OPEN_OPERATION_STATES
from pocketfleet.models import Instance, Operation
from pocketfleet.web import reading
from pocketfleet.web.picking import day

Row = dict[str, Any]


def by_line(seen: Q) -> list[Row]:
    """The newest line first, the newest release first; three queries."""
    running = _running(seen)
    lines = []
    for line, group in groupby(reading.releases(), key=lambda row: row["line"]):
        releases = [
            {
                **row,
                "day": day(row["published_at"]),
                "sources": ", ".join(row["sources"]),
                "instances": running.pop(row["version"], 0),
            }
            for row in group
        ]
        lines.append(
            {
                "line": line,
                "releases": releases,
                "instances": sum(row["instances"] for row in releases),
                "newest": releases[0]["version"],
                "day": releases[0]["day"],
                "boundaries": [row["version"] for row in releases if row["schema_boundary"]],
                "fetched": sum(row["fetched"] for row in releases),
            }
        )
    return lines


def under_way() -> list[Row]:
    """Looking for releases and fetching them, as it happens."""
    found = Operation.objects.filter(kind__in=("refresh", "fetch"), state__in=OPEN_OPERATION_STATES)
    return [
        {"id": row.id, "kind": row.kind, "release": row.params.get("release"), "state": str(row.state)}
        for row in found.order_by("created_at", "id")[:20]
    ]


def _running(seen: Q) -> dict[str, int]:
    found = Instance.objects.filter(seen, deleted_at=None).exclude(release="").order_by()
    return {row["release"]: row["count"] for row in found.values("release").annotate(count=Count("pk"))}
