"""Whatever people type for a name: taken as it must be, or refused with a typed error in words; nothing else, ever."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pocketfleet.domain import hostnames, probes, ranges, retention, secrets
from pocketfleet.domain.releases import Version
from pocketfleet.domain.schedules import BackupPlan
from pocketfleet.domain.windows import Window
from pocketfleet.errors import PocketfleetError

EXAMPLES = settings(max_examples=40, derandomize=True, database=None)
NOW = datetime(2026, 3, 28, 12, tzinfo=UTC)
#: Any text, lone surrogates and NUL among it, and such as comes near to what is meant.
TEXT = st.one_of(
    st.text(max_size=80),
    st.text(alphabet=st.characters(), max_size=20),
    st.text(alphabet="abcxyz0189-._~ \t\n\0\u0130\u212a\uff21\u00e9", max_size=70),
)
NEAR_RANGES = st.text(alphabet="0123456789.*xX<>=~^|v- +rcalpht\u0661\u00b2", max_size=40)
NEAR_CRONS = st.lists(st.text(alphabet="0123456789*/,-LW#?MONJAN@", max_size=9), max_size=7).map(" ".join)
NEAR_ZONES = st.one_of(
    st.sampled_from(
        ["Europe/Vienna", "UTC", "../UTC", "/etc/passwd", "Europe", "posixrules", "", ".", "Europe/../UTC"]
    ),
    st.text(alphabet="aeEurop/._-\0", max_size=20),
)
JSON: st.SearchStrategy[Any] = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), TEXT),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(TEXT, inner, max_size=4)),
    max_leaves=12,
)


def taken(check: Callable[[], Any]) -> Any:
    """What came of it; None where it was refused in words that can be shown and sent."""
    try:
        return check()
    except PocketfleetError as error:
        refused = error
    assert 400 <= refused.status < 500, refused
    assert refused.detail
    assert len(refused.detail) < 1000
    json.dumps(refused.as_problem())
    return None


@EXAMPLES
@given(st.one_of(TEXT, st.text(alphabet="abz019-", max_size=66)))
def test_names_of_instances(name: str) -> None:
    if taken(lambda: hostnames.check_name(name)) is not None:
        assert re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", name)
        assert "--" not in name
        assert not hostnames.is_id(name)


@EXAMPLES
@given(st.one_of(TEXT, st.text(alphabet="ABZ_019\n", max_size=12)), st.one_of(TEXT, st.text(max_size=200)))
def test_secrets(name: str, value: str) -> None:
    if taken(lambda: secrets.check_secrets({name: value})) is not None:
        assert re.fullmatch(r"[A-Z][A-Z0-9_]*", name)
        assert "\0" not in value
        value.encode()


@EXAMPLES
@given(st.one_of(TEXT, NEAR_RANGES))
def test_ranges(text: str) -> None:
    checked = taken(lambda: ranges.check_range(text))
    if checked is not None:
        assert checked.isascii()
        assert ranges.check_range(checked) == checked
        taken(lambda: ranges.resolve(checked, [Version.parse("0.22.27"), Version.parse("0.40.6")]))
        ranges.is_pin(checked)


@EXAMPLES
@given(st.one_of(TEXT, NEAR_RANGES))
def test_versions(text: str) -> None:
    version = taken(lambda: Version.parse(text))
    if version is not None:
        assert Version.parse(str(version)) == version


@EXAMPLES
@given(st.one_of(TEXT, NEAR_CRONS), st.one_of(TEXT, NEAR_ZONES), JSON)
def test_backup_plans(cron: str, zone: str, keep: Any) -> None:
    for data in ({"cron": cron}, {"cron": "0 3 * * *", "zone": zone}, {"cron": cron, "keep": keep}, {"cron": keep}):
        plan = taken(partial(BackupPlan.parse, data))
        if plan is not None:
            assert NOW < plan.next_due(NOW) < NOW + timedelta(days=366 * 60)
            assert BackupPlan.parse(plan.as_json()) == plan


@EXAMPLES
@given(st.one_of(TEXT, NEAR_ZONES), JSON, JSON)
def test_windows(zone: str, days: Any, start: Any) -> None:
    good = {"days": [0], "from": "02:00", "to": "05:00", "zone": "UTC"}
    for change in ({"zone": zone}, {"days": days}, {"from": start}, {"to": start}, {str(zone): start}):
        window = taken(partial(Window.parse, good | change))
        if window is not None:
            assert Window.parse(window.as_json()) == window


@EXAMPLES
@given(
    st.dictionaries(
        st.one_of(TEXT, st.sampled_from(["method", "path", "identity", "body", "expect_status"])), JSON, max_size=4
    )
)
def test_probes(probe: dict[str, Any]) -> None:
    for given_ in (probe, {"path": "/", **probe}):
        found = taken(partial(probes.check_probe, given_))
        if found is not None:
            assert found["path"].startswith("/")
            assert found["path"].isascii()
            assert found["path"].isprintable()
            assert " " not in found["path"]


@EXAMPLES
@given(st.dictionaries(st.one_of(TEXT, st.sampled_from(["last", "daily", "weekly"])), JSON, max_size=4))
def test_retention(data: dict[str, Any]) -> None:
    taken(lambda: retention.Retention.parse(data))


@pytest.mark.parametrize("digits", ["\u0661", "\u00b2", "\uff11"])
def test_digits_of_other_scripts_are_none(digits: str) -> None:
    assert taken(lambda: ranges.check_range(f"0.{digits}.1")) is None
    assert taken(lambda: Version.parse(f"0.{digits}.1")) is None
