"""Limits as people write them."""

from __future__ import annotations

import pytest

from pocketfleet.cli.limits import parse_limits, show_counting, show_limits
from pocketfleet.errors import WrongSetting


def test_what_is_shown_can_be_written() -> None:
    for limits in ({}, {"address_hourly": 0}, {"address_hourly": 1000, "instance_at_once": 250}):
        assert parse_limits(show_limits(limits)) == limits
    assert show_counting({"address_hourly": 0, "instance_hourly": 5}) == "instance_hourly=5"
    assert show_counting({"address_hourly": 0}) == "no limit"


@pytest.mark.parametrize(
    "text", ["", "address_hourly", "address_hourly=", "a=1 a=2", "a=-1", "a=x", "default a=1", "a=²"]
)
def test_what_says_no_limits_is_refused(text: str) -> None:
    with pytest.raises(WrongSetting, match="says no limits"):
        parse_limits(text)
