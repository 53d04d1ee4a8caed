"""Maintenance windows: days, hours over midnight, zones, and the nights on which clocks change."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pocketfleet.domain.windows import Window
from pocketfleet.errors import WrongSetting

VIENNA = ZoneInfo("Europe/Vienna")
ZONES = ["UTC", "Europe/Vienna", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "America/St_Johns"]


def window(start: str, end: str, days: list[int] | None = None, zone: str = "Europe/Vienna") -> Window:
    data: dict[str, Any] = {"from": start, "to": end, "zone": zone}
    found = Window.parse(data if days is None else {**data, "days": days})
    assert found is not None
    return found


def vienna(text: str, *, fold: int = 0) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=VIENNA, fold=fold)


def test_open_from_its_first_moment_to_before_its_last() -> None:
    night = window("02:00", "05:00")
    assert not night.is_open(vienna("2026-06-10 01:59:59"))
    assert night.is_open(vienna("2026-06-10 02:00:00"))
    assert night.is_open(vienna("2026-06-10 04:59:59"))
    assert not night.is_open(vienna("2026-06-10 05:00:00"))


def test_over_midnight_the_day_is_that_of_the_opening() -> None:
    friday_night = window("22:00", "04:00", [4])
    assert friday_night.is_open(vienna("2026-06-12 23:00"))
    assert friday_night.is_open(vienna("2026-06-13 03:59"))
    assert not friday_night.is_open(vienna("2026-06-12 03:00"))
    assert not friday_night.is_open(vienna("2026-06-13 23:00"))
    assert friday_night.next_opening(vienna("2026-06-13 04:00")) == vienna("2026-06-19 22:00")


def test_equal_hours_are_a_whole_day() -> None:
    sunday = window("00:00", "00:00", [6])
    assert sunday.is_open(vienna("2026-06-14 00:00"))
    assert sunday.is_open(vienna("2026-06-14 23:59"))
    assert not sunday.is_open(vienna("2026-06-15 00:00"))


def test_while_open_the_next_opening_is_now() -> None:
    at = vienna("2026-06-10 03:30")
    assert window("02:00", "05:00").next_opening(at) == at


def test_hours_that_the_clocks_jump_over() -> None:
    # 2026-03-29 in Vienna: 02:00 becomes 03:00
    assert window("02:30", "05:00").next_opening(vienna("2026-03-29 00:00")) == datetime(2026, 3, 29, 1, tzinfo=UTC)
    inside = window("02:15", "02:45")
    assert inside.next_opening(vienna("2026-03-29 00:00")) == vienna("2026-03-30 02:15")
    assert window("01:00", "02:30").is_open(vienna("2026-03-29 01:59"))
    assert not window("01:00", "02:30").is_open(vienna("2026-03-29 03:00"))


def test_hours_that_come_twice_are_one_window() -> None:
    # 2026-10-25 in Vienna: 03:00 becomes 02:00
    twice = window("02:30", "02:45")
    assert twice.next_opening(vienna("2026-10-25 00:00")) == datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
    for text, fold in [("02:30", 0), ("02:59", 0), ("02:00", 1), ("02:44", 1)]:
        assert twice.is_open(vienna(f"2026-10-25 {text}", fold=fold))
    assert not twice.is_open(vienna("2026-10-25 02:45", fold=1))


def test_none_means_any_time_and_a_day_may_be_left_out() -> None:
    assert Window.parse({}) is None
    every_day = Window.parse({"from": "02:00", "to": "05:00"})
    assert every_day is not None
    assert every_day.as_json() == {"days": [0, 1, 2, 3, 4, 5, 6], "from": "02:00", "to": "05:00", "zone": "UTC"}
    assert Window.parse(every_day.as_json()) == every_day


@pytest.mark.parametrize(
    "data",
    [
        {"from": "02:00"},
        {"from": "2:00", "to": "05:00"},
        {"from": "24:00", "to": "05:00"},
        {"from": "02:00\n", "to": "05:00"},
        {"from": "02:00", "to": "05:00", "days": []},
        {"from": "02:00", "to": "05:00", "days": [7]},
        {"from": "02:00", "to": "05:00", "days": [True]},
        {"from": "02:00", "to": "05:00", "days": "mon"},
        {"from": "02:00", "to": "05:00", "zone": "Mars/Olympus"},
        {"from": "02:00", "to": "05:00", "zone": "../../etc/passwd"},
        {"from": "02:00", "to": "05:00", "zone": ""},
        {"from": "02:00", "to": "05:00", "zone": 3},
        {"from": "02:00", "to": "05:00", "zone": "Europe"},
        {"from": "02:00", "to": "05:00", "colour": "red"},
    ],
)
def test_what_is_no_window_is_refused_in_plain_words(data: dict[str, Any]) -> None:
    with pytest.raises(WrongSetting):
        Window.parse(data)


_CLOCKS = st.builds(lambda hour, minute: f"{hour:02}:{minute:02}", st.integers(0, 23), st.integers(0, 59))
_WINDOWS = st.builds(
    window, _CLOCKS, _CLOCKS, st.lists(st.integers(0, 6), min_size=1, max_size=7), st.sampled_from(ZONES)
)
_MOMENTS = st.one_of(
    st.datetimes(datetime(2020, 1, 1), datetime(2035, 1, 1), timezones=st.just(UTC)),
    # around changes of the clocks in the zones above
    st.builds(
        lambda base, minutes: base + timedelta(minutes=minutes),
        st.sampled_from([datetime(2026, 3, 29, 1, tzinfo=UTC), datetime(2026, 10, 25, 1, tzinfo=UTC),
                         datetime(2026, 3, 8, 7, tzinfo=UTC), datetime(2026, 4, 4, 15, tzinfo=UTC)]),
        st.integers(-300, 300),
    ),
)  # fmt: skip


@given(_WINDOWS, _MOMENTS)
def test_the_next_opening_is_open_and_nothing_before_it_is(window: Window, at: datetime) -> None:
    opens = window.next_opening(at)
    assert opens >= at
    assert window.is_open(opens)
    assert window.is_open(at) is (opens == at)
    if opens > at:
        assert not window.is_open(opens - timedelta(microseconds=1))
        for share in range(1, 10):
            assert not window.is_open(at + (opens - at) * share / 10)
    assert opens - at <= timedelta(days=15)


@given(_WINDOWS, _MOMENTS)
def test_while_it_is_open_the_clocks_show_hours_between_but_for_the_hour_that_comes_twice(
    window: Window, at: datetime
) -> None:
    local = at.astimezone(window.zone)
    is_twice = local.utcoffset() != local.replace(fold=1 - local.fold).utcoffset()
    now, start, end = local.time(), window.start, window.end
    inside = start <= now < end if start < end else (now >= start or now < end)
    if not is_twice and window.is_open(at):
        assert inside
