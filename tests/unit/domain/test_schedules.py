"""Backup plans: what is a plan, when it is due, also when clocks change."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pocketfleet.domain.schedules import BackupPlan
from pocketfleet.errors import WrongSetting


def plan(cron: str, zone: str = "UTC") -> BackupPlan:
    """A plan."""
    made = BackupPlan.parse({"cron": cron, "zone": zone})
    assert made is not None
    return made


def utc(text: str) -> datetime:
    """A moment."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def test_what_is_left_out_has_a_default() -> None:
    made = BackupPlan.parse({"cron": "0  3 * * *"})
    assert made == BackupPlan("0 3 * * *", ZoneInfo("UTC"), 7, False)
    assert made.as_json() == {"cron": "0 3 * * *", "zone": "UTC", "keep": 7, "full": False}
    assert BackupPlan.parse(made.as_json()) == made
    assert BackupPlan.parse({}) is None


@pytest.mark.parametrize(
    "data",
    [
        {"zone": "UTC"},
        {"cron": ""},
        {"cron": "0 3 * *"},
        {"cron": "0 3 * * * *"},
        {"cron": "60 3 * * *"},
        {"cron": "@daily"},
        {"cron": "0 0 30 2 *"},
        {"cron": 5},
        {"cron": "0 3 * * *", "zone": "Mars/Base"},
        {"cron": "0 3 * * *", "zone": "../../etc/passwd"},
        {"cron": "0 3 * * *", "zone": 5},
        {"cron": "0 3 * * *", "zone": ""},
        {"cron": "0 3 * * *", "keep": 0},
        {"cron": "0 3 * * *", "keep": 1.5},
        {"cron": "0 3 * * *", "keep": True},
        {"cron": "0 3 * * *", "full": 1},
        {"cron": "0 3 * * *", "often": 1},
    ],
)
def test_what_is_no_plan(data: dict[str, Any]) -> None:
    with pytest.raises(WrongSetting):
        BackupPlan.parse(data)


@pytest.mark.parametrize(
    "cron, zone, now, following",
    [
        ("0 3 * * *", "UTC", "2026-11-23 08:00", "2026-11-24 03:00"),
        ("0 3 * * *", "UTC", "2026-11-23 03:00", "2026-11-24 03:00"),
        ("0 3 * * *", "UTC", "2026-11-23 02:59:59.999", "2026-11-23 03:00"),
        ("0 3 * * *", "Europe/Vienna", "2026-11-23 08:00", "2026-11-24 02:00"),
        ("0 3 * * *", "Asia/Kolkata", "2026-11-23 08:00", "2026-11-23 21:30"),
        ("*/15 * * * *", "UTC", "2026-11-23 08:07", "2026-11-23 08:15"),
        ("0 0 1 * *", "UTC", "2026-11-23 08:00", "2026-12-01 00:00"),
        ("0 4 * * 1", "UTC", "2026-11-24 08:00", "2026-11-30 04:00"),
        # at half past two nobody's clock shows half past two in that night: it is made when they go on
        ("30 2 * * *", "Europe/Vienna", "2026-03-28 08:00", "2026-03-29 01:00"),
        ("30 2 * * *", "Europe/Vienna", "2026-03-29 08:00", "2026-03-30 00:30"),
        # and in this one twice: it is made once
        ("30 2 * * *", "Europe/Vienna", "2026-10-24 08:00", "2026-10-25 00:30"),
        ("30 2 * * *", "Europe/Vienna", "2026-10-25 00:30", "2026-10-26 01:30"),
    ],
)
def test_when_it_is_due(cron: str, zone: str, now: str, following: str) -> None:
    assert plan(cron, zone).next_due(utc(now)) == utc(following)


@given(
    st.sampled_from(["0 3 * * *", "*/5 * * * *", "30 2 * * 0", "0 0 1 * *", "15 1-3 * * *"]),
    st.sampled_from(["UTC", "Europe/Vienna", "America/New_York", "Asia/Kolkata", "Pacific/Apia"]),
    st.datetimes(datetime(2024, 1, 1), datetime(2027, 1, 1)),
)
def test_the_next_one_is_later_and_not_too_late(cron: str, zone: str, now: datetime) -> None:
    moment = now.replace(tzinfo=UTC)
    assert timedelta() < plan(cron, zone).next_due(moment) - moment <= timedelta(days=32)
