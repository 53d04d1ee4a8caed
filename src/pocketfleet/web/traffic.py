"""Limits of traffic as pages and API show them: what is set, and what counts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.http import QueryDict

from pocketfleet.config import Config
from pocketfleet.domain.traffic import NAMES, TrafficLimits, limits_that_count
from pocketfleet.models import ListedAddress, Team

Row = dict[str, Any]

#: What a form calls each limit; the same order as in the domain.
WORDS = {
    "address_hourly": "One address, per hour",
    "address_at_once": "One address, at once",
    "instance_hourly": "All together, per hour",
    "instance_at_once": "All together, at once",
    "trusted_address_hourly": "Trusted: one address, per hour",
    "trusted_instance_hourly": "Trusted: all together, per hour",
}


def of_team(config: Config, team: Team | None, own: Mapping[str, int] | None = None) -> dict[str, int]:
    """What counts for a team's instances, or for one with limits of its own; 0 for none."""
    server = TrafficLimits(**{name: getattr(config, name) for name in NAMES})
    return limits_that_count(server, team.traffic_limits if team else {}, own or {}).as_json()


def fields(counts: Mapping[str, int], own: Mapping[str, Any], given: QueryDict | None = None) -> list[Row]:
    """For a form: each limit with what is set, what was given where that did not fit, and what counts otherwise."""
    return [
        {
            "name": name,
            "words": words,
            "value": given.get(name, "")[:20] if given is not None else own.get(name, ""),
            "counts": counts[name],
        }
        for name, words in WORDS.items()
    ]


def wanted(form: QueryDict) -> dict[str, Any]:
    """The limits of a form; an empty one is none of its own. What is no number is left to the action to refuse."""
    given = {name: form.get(name, "").strip().replace(",", "") for name in NAMES}
    return {name: int(text) if text.isascii() and text.isdigit() and len(text) < 19 else text
            for name, text in given.items() if text}  # fmt: skip


def listed() -> list[Row]:
    """The operator's lists."""
    return [
        {
            "network": row.network,
            "listing": row.listing,
            "note": row.note,
            "listed_by": row.listed_by.get_username() if row.listed_by else "",
            "created_at": row.created_at,
        }
        for row in ListedAddress.objects.select_related("listed_by")
    ]
