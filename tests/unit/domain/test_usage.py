"""Counts, and the hours and days they belong to."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from pocketfleet.domain.usage import DAY, HOUR, LARGEST, Counts, day_of, hour_of, last_days, last_hours

NUMBERS = st.integers(0, 2**40)
COUNTS = st.builds(Counts, NUMBERS, NUMBERS, NUMBERS, NUMBERS, NUMBERS)
MOMENTS = st.datetimes(datetime(2020, 1, 1), datetime(2060, 1, 1), timezones=st.just(UTC))


@given(COUNTS, COUNTS)
def test_what_came_on_top_is_never_negative_and_adds_up(one: Counts, other: Counts) -> None:
    later = one.newer(other)
    assert one + later.since(one) == later
    assert min(one.since(other).as_list()) >= 0
    assert not one.since(later)
    assert Counts.parse(one.as_list()) == one


def test_sums_end_at_what_a_database_holds() -> None:
    most = Counts(*[LARGEST] * 5)
    assert most + most == most


@given(MOMENTS)
def test_hours_and_days_are_whole_and_end_now(now: datetime) -> None:
    hours, days = last_hours(now), last_days(now)
    assert (len(hours), len(days)) == (24, 30)
    assert hours[-1] <= now < hours[-1] + HOUR
    assert days[-1] <= now < days[-1] + DAY
    assert {later - earlier for earlier, later in pairwise(hours)} == {HOUR}
    assert {later - earlier for earlier, later in pairwise(days)} == {DAY}
    assert day_of(hours[-1]) == days[-1]


def test_hours_are_those_of_utc() -> None:
    vienna = timezone(timedelta(hours=1))
    assert hour_of(datetime(2026, 11, 25, 0, 30, tzinfo=vienna)) == datetime(2026, 11, 24, 23, tzinfo=UTC)
    assert day_of(datetime(2026, 11, 25, 0, 30, tzinfo=vienna)) == datetime(2026, 11, 24, tzinfo=UTC)
