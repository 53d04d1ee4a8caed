"""The longest value that each release saves where a field sets no maximum of its own."""

from __future__ import annotations

from math import inf
from typing import Any

import pytest

from pocketfleet.domain.releases import Version
from pocketfleet.rehearsal.inspected import Inspected
from pocketfleet.rehearsal.limits import compare_limits, limit_of


@pytest.mark.parametrize(
    "field, release, limit",
    [
        ({"type": "text", "options": {"max": None}}, "0.22.27", inf),
        ({"type": "text", "options": {"max": 9000}}, "0.22.27", 9000),
        ({"type": "text", "max": 0}, "0.23.0", 5000),
        ({"type": "text", "max": 9000}, "0.40.6", 9000),
        ({"type": "editor", "maxSize": 0}, "0.40.6", 5 * 1024**2),
        ({"type": "json", "maxSize": 0}, "0.27.0", 5 * 1024**2),
        ({"type": "json", "maxSize": 0}, "0.28.0", 1024**2),
        ({"type": "number", "max": 3}, "0.40.6", inf),
    ],
)
def test_limits(field: dict[str, Any], release: str, limit: float) -> None:
    assert limit_of(field, Version(release)) == limit


def inspected(release: str, maximum: int, longest: int) -> Inspected:
    fields = [{"name": "note", "type": "text", "max": maximum}]
    collections = [{"name": "orders", "type": "base", "fields": fields}]
    return Inspected(Version(release), collections, None, {}, {}, [], longest={"orders": {"note": longest}})


def test_only_what_could_be_saved_before_is_told() -> None:
    old, new = "0.22.27", "0.40.6"
    assert compare_limits(inspected(old, 0, 6000), inspected(new, 0, 6000))
    assert not compare_limits(inspected(old, 0, 5000), inspected(new, 0, 5000))
    assert not compare_limits(inspected(old, 0, 6000), inspected(new, 7000, 6000))
    assert not compare_limits(inspected("0.23.12", 0, 6000), inspected(new, 0, 6000))
