"""Which copies are kept: by hand for the calendar, by hypothesis for what must always hold."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pocketfleet.domain.retention import Copy, Retention, to_remove
from pocketfleet.errors import WrongSetting

NOW = datetime(2026, 11, 23, 9, tzinfo=UTC)


def made(*ages: float, needed: Sequence[int] = ()) -> list[Copy]:
    """Copies of so many days ago."""
    return [Copy(f"c{n}", NOW - timedelta(days=age), n in needed) for n, age in enumerate(ages)]


def kept(copies: list[Copy], rule: Retention, **more: Any) -> list[str]:
    gone = to_remove(copies, rule, **more)
    return [copy.id for copy in copies if copy not in gone]


def test_the_last_ones() -> None:
    assert kept(made(0, 0.1, 0.2, 5), Retention(2, 0, 0)) == ["c0", "c1"]


def test_the_newest_of_each_day_that_has_one() -> None:
    assert kept(made(0, 0.1, 1, 1.1, 9, 20), Retention(0, 3, 0)) == ["c0", "c2", "c4"]


def test_the_newest_of_each_week_from_monday() -> None:
    # 2026-11-23 is a Monday
    assert kept(made(0, 1, 2, 8, 9, 15), Retention(0, 0, 2)) == ["c0", "c1"]


def test_days_are_those_of_the_zone() -> None:
    late, early = datetime(2026, 11, 22, 23, 30, tzinfo=UTC), datetime(2026, 11, 23, 0, 30, tzinfo=UTC)
    copies = [Copy("late", late), Copy("early", early)]
    assert kept(copies, Retention(0, 9, 0)) == ["late", "early"]
    assert kept(copies, Retention(0, 9, 0), zone=ZoneInfo("Europe/Vienna")) == ["early"]


def test_the_one_that_is_needed_stays_and_takes_nobodys_place() -> None:
    assert kept(made(0, 1, 2, 3, needed=[3]), Retention(2, 0, 0)) == ["c0", "c1", "c3"]


def test_what_a_clock_made_that_was_ahead_takes_no_place_of_what_is_made_now() -> None:
    copies = made(-400, -401, -402, 0, 1, 2)
    assert kept(copies, Retention(2, 0, 0)) == ["c1", "c2"]
    assert kept(copies, Retention(2, 0, 0), now=NOW) == ["c1", "c2", "c3", "c4"]
    assert kept(copies, Retention(0, 1, 1), now=NOW) == ["c2", "c3"]


def test_oldest_go_first() -> None:
    assert [copy.id for copy in to_remove(made(1, 0, 3, 2), Retention(1, 0, 0))] == ["c2", "c3", "c0"]


def test_parsing() -> None:
    assert Retention.parse({}) == Retention(5, 7, 4)
    assert Retention.parse({}, Retention(1, 0, 0)) == Retention(1, 0, 0)
    assert Retention.parse({"daily": 2}) == Retention(0, 2, 0)
    assert Retention.parse(Retention(1, 2, 3).as_json()) == Retention(1, 2, 3)


@pytest.mark.parametrize(
    "data", [{"last": 0}, {"last": -1, "daily": 2}, {"last": "5"}, {"last": True}, {"monthly": 2}, {"last": 1001}]
)
def test_what_is_no_rule_is_refused(data: dict[str, Any]) -> None:
    with pytest.raises(WrongSetting):
        Retention.parse(data)


_COPIES = st.lists(
    st.tuples(st.datetimes(datetime(2026, 1, 1), datetime(2026, 12, 31), timezones=st.just(UTC)), st.booleans()),
    max_size=40,
).map(lambda made: [Copy(f"c{n}", at, needed) for n, (at, needed) in enumerate(made)])
_RULES = st.builds(Retention, st.integers(0, 6), st.integers(0, 6), st.integers(0, 6))


@given(_COPIES, _RULES)
def test_what_always_holds(copies: list[Copy], rule: Retention) -> None:
    gone = to_remove(copies, rule)
    left = [copy for copy in copies if copy not in gone]
    assert not [copy for copy in gone if copy.needed]
    assert to_remove(left, rule) == []
    newest = sorted(copies, key=lambda copy: copy.made_at, reverse=True)
    assert not set(newest[: rule.last]) & set(gone) or len({copy.made_at for copy in newest}) < len(newest)
    if copies and any((rule.last, rule.daily, rule.weekly)):
        assert newest[0].made_at in {copy.made_at for copy in left}
    free = [copy for copy in left if not copy.needed]
    assert len(free) <= rule.last + rule.daily + rule.weekly
    assert to_remove(list(reversed(copies)), rule) == gone


@given(_COPIES, _RULES, st.integers(0, 3))
def test_a_more_generous_rule_keeps_all_that_a_stricter_one_keeps(
    copies: list[Copy], rule: Retention, more: int
) -> None:
    generous = Retention(rule.last + more, rule.daily + more, rule.weekly + more)
    assert set(to_remove(copies, generous)) <= set(to_remove(copies, rule))
