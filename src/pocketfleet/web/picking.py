"""Choosing a release: the catalogue by line with what each changes, and what one choice would mean."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from itertools import groupby
from typing import Any

from pocketfleet.domain import ranges
from pocketfleet.domain.behaviour_changes import BEHAVIOUR_CHANGES, changes_between
from pocketfleet.domain.policies import crosses_boundary
from pocketfleet.domain.releases import Version, boundaries_between
from pocketfleet.errors import NoReleaseMatches, WrongRange
from pocketfleet.models import Instance
from pocketfleet.web import reading

Row = dict[str, Any]


def lines(catalogue: Sequence[Row], current: str, flags: Mapping[str, Row]) -> list[Row]:
    """The catalogue (reading.releases, newest first) by line: each with its newest release, its releases, whether it
    holds the one that runs, and what its releases brought."""
    now = Version(current) if current else None
    found = []
    for line, group in groupby(catalogue, key=lambda row: row["line"]):
        releases = [_release(row, now, flags) for row in group]
        steady = next((row for row in releases if not row["prerelease"]), releases[0])
        found.append(
            {
                "line": line,
                "newest": steady["version"],
                "follow": f"~{line}.0",
                "day": steady["day"],
                "releases": releases,
                "current": any(row["current"] for row in releases),
                "boundaries": [row["version"] for row in releases if row["schema_boundary"]],
                "changes": [change.as_json() for change in BEHAVIOUR_CHANGES if change.since.line == line],
                "flag": flags.get(steady["version"]),
                "older": now is not None and Version(steady["version"]) < now,
            }
        )
    return found


def choice(instance: Instance, text: str, known: Iterable[Version], flags: Mapping[str, Row]) -> Row:
    """What a range would mean for this instance: the release, the way there, what it crosses and changes; or
    `problem`, why it cannot be."""
    known = list(known)
    try:
        wanted = ranges.check_range(text)
        target = ranges.resolve(wanted, known)
    except (WrongRange, NoReleaseMatches) as error:
        return {"range": text, "problem": error.detail}
    return {"range": wanted, "problem": "", "pinned": ranges.is_pin(wanted), **_way(instance, target, flags)}


def known_versions() -> list[Version]:
    """Every release that any source knows."""
    return reading.known_versions()


def day(moment: datetime | None) -> str:
    """`3 Feb 2026`, in UTC; a page has hundreds of them, and Django's own filter takes its time."""
    return f"{moment.day} {moment:%b %Y}" if moment is not None else ""


def _way(instance: Instance, target: Version, flags: Mapping[str, Row]) -> Row:
    now = Version(instance.release) if instance.release else target
    return {
        "release": target.text,
        "same": target == now,
        "older": target < now,
        "boundaries": [version.text for version in boundaries_between(now, target)],
        "unknown_boundary": not boundaries_between(now, target) and target != now and crosses_boundary(now, target),
        "changes": [change.as_json() for change in changes_between(now, target)],
        "flag": flags.get(target.text),
    }


def _release(row: Row, now: Version | None, flags: Mapping[str, Row]) -> Row:
    version = Version(row["version"])
    return {
        **row,
        "day": day(row["published_at"]),
        "current": version == now,
        "older": now is not None and version < now,
        "prerelease": version.is_prerelease,
        "flag": flags.get(version.text),
    }
