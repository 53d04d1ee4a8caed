"""What each policy makes of each verdict, and what counts as crossing a schema boundary."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pocketfleet.domain.policies import Course, Policy, Verdict, course_for, crosses_boundary
from pocketfleet.domain.releases import Version

VERDICTS = (None, *Verdict)


@pytest.mark.parametrize(
    "policy, verdict, boundary, course",
    [
        (Policy.AUTO, None, True, Course.REHEARSE),
        (Policy.AUTO, Verdict.SAFE, True, Course.UPGRADE),
        (Policy.AUTO, Verdict.CHANGED, False, Course.ASK),
        (Policy.AUTO, Verdict.BROKEN, False, Course.TELL),
        (Policy.SCHEMA_SAFE, Verdict.SAFE, False, Course.UPGRADE),
        (Policy.SCHEMA_SAFE, Verdict.SAFE, True, Course.ASK),
        (Policy.ASK, None, False, Course.REHEARSE),
        (Policy.ASK, Verdict.SAFE, False, Course.ASK),
        (Policy.ASK, Verdict.BROKEN, False, Course.TELL),
        (Policy.OFF, None, False, Course.IGNORE),
        (Policy.OFF, Verdict.SAFE, False, Course.IGNORE),
    ],
)
def test_courses(policy: Policy, verdict: Verdict | None, boundary: bool, course: Course) -> None:
    assert course_for(policy, verdict, boundary=boundary) is course


def test_nothing_but_a_safe_verdict_ever_upgrades_by_itself() -> None:
    for policy, verdict, boundary in itertools.product(Policy, VERDICTS, (True, False)):
        if course_for(policy, verdict, boundary=boundary) is Course.UPGRADE:
            assert verdict is Verdict.SAFE
            assert policy is Policy.AUTO or (policy is Policy.SCHEMA_SAFE and not boundary)


@pytest.mark.parametrize(
    "old, new, ran, crossed",
    [
        ("0.22.27", "0.23.12", None, True),
        ("0.22.13", "0.22.14", None, True),
        ("0.30.4", "0.30.5", None, False),
        ("0.36.9", "0.38.0", None, False),
        ("0.36.9", "0.38.0", True, True),
        ("0.38.1", "0.39.11", None, False),
        ("0.39.11", "0.40.6", None, True),
        ("0.39.11", "0.40.6", False, False),
        ("0.39.11", "0.40.6", True, True),
        ("0.22.27", "0.40.6", False, True),
    ],
)
def test_boundaries(old: str, new: str, ran: bool | None, crossed: bool) -> None:
    assert crosses_boundary(Version(old), Version(new), system_migrations_ran=ran) is crossed


_VERSIONS = st.builds(lambda minor, patch: Version(f"0.{minor}.{patch}"), st.integers(6, 60), st.integers(0, 30))


@given(_VERSIONS, _VERSIONS, st.sampled_from([None, True, False]))
def test_a_way_and_its_way_back_cross_the_same(one: Version, other: Version, ran: bool | None) -> None:
    there = crosses_boundary(one, other, system_migrations_ran=ran)
    assert there is crosses_boundary(other, one, system_migrations_ran=ran)
    if one == other and ran is None:
        assert there is (one > Version("0.39.11"))


@given(_VERSIONS, _VERSIONS, _VERSIONS)
def test_a_longer_way_crosses_at_least_as_much(one: Version, other: Version, third: Version) -> None:
    low, middle, high = sorted((one, other, third))
    assert crosses_boundary(low, high) >= crosses_boundary(low, middle)
