"""When an instance that is behind its range is worked on, and what makes a verdict hold."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from pocketfleet.domain.following import Behind, Next, fingerprint, next_step
from pocketfleet.domain.policies import Policy, Verdict
from pocketfleet.domain.windows import Window

NOW = datetime(2026, 11, 23, 3, 0, tzinfo=UTC)
WINDOW = Window.parse({"from": "02:00", "to": "05:00"})
FRESH = Behind(Policy.AUTO, None, asleep=True, always_awake=False, offered_at=NOW)
GO, IF_CHANGED, WAIT = Next.GO, Next.IF_CHANGED, Next.WAIT


@pytest.mark.parametrize("policy", [Policy.AUTO, Policy.SCHEMA_SAFE, Policy.ASK])
def test_what_was_never_judged_is_rehearsed(policy: Policy) -> None:
    assert next_step(replace(FRESH, policy=policy), NOW) is GO


def test_who_switched_it_off_is_left_alone() -> None:
    assert next_step(replace(FRESH, policy=Policy.OFF), NOW) is WAIT


@pytest.mark.parametrize(
    ("policy", "verdict", "boundary", "wanted"),
    [
        (Policy.AUTO, Verdict.SAFE, True, GO),
        (Policy.AUTO, Verdict.CHANGED, False, IF_CHANGED),
        (Policy.AUTO, Verdict.BROKEN, False, IF_CHANGED),
        (Policy.SCHEMA_SAFE, Verdict.SAFE, False, GO),
        (Policy.SCHEMA_SAFE, Verdict.SAFE, True, IF_CHANGED),
        (Policy.ASK, Verdict.SAFE, False, IF_CHANGED),
    ],
)
def test_what_was_judged_is_judged_again_only_where_it_changed(
    policy: Policy, verdict: Verdict, boundary: bool, wanted: Next
) -> None:
    assert next_step(replace(FRESH, policy=policy, verdict=verdict, boundary=boundary), NOW) is wanted


def test_what_failed_or_was_taken_back_is_not_tried_again_as_it_is() -> None:
    assert next_step(replace(FRESH, verdict=Verdict.SAFE, refused=True), NOW) is IF_CHANGED
    assert next_step(replace(FRESH, refused=True), NOW) is IF_CHANGED


def test_a_try_that_found_no_moment_is_made_again_the_next_day() -> None:
    failed = replace(FRESH, failed_at=NOW)
    assert next_step(failed, NOW + timedelta(hours=23)) is WAIT
    assert next_step(failed, NOW + timedelta(hours=25)) is GO


def test_the_window_rules_also_who_sleeps() -> None:
    inside = replace(FRESH, window=WINDOW)
    assert next_step(inside, NOW) is GO
    assert next_step(replace(inside, asleep=False), NOW) is GO
    assert next_step(inside, NOW + timedelta(hours=3)) is WAIT
    assert next_step(replace(inside, policy=Policy.ASK), NOW + timedelta(hours=3)) is GO


def test_without_a_window_a_quiet_moment_is_waited_for_within_reason() -> None:
    busy = replace(FRESH, asleep=False)
    assert next_step(busy, NOW + timedelta(hours=23)) is WAIT
    assert next_step(busy, NOW + timedelta(hours=25)) is GO
    assert next_step(replace(busy, always_awake=True), NOW) is GO


def test_a_fingerprint_holds_for_the_same_data_and_releases_only() -> None:
    parts = {"hooks": "a", "migrations": "b", "schema": "c"}
    same = fingerprint(parts, "0.36.9", "0.40.6")
    assert same == fingerprint(dict(reversed(parts.items())), "0.36.9", "0.40.6")
    others = [({**parts, "hooks": "x"}, "0.36.9", "0.40.6"), (parts, "0.36.8", "0.40.6"), (parts, "0.36.9", "0.40.5")]
    assert all(fingerprint(*other) != same for other in others)
