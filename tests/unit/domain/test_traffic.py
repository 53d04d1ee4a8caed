"""Limits of traffic: which number counts, and what nobody can raise by themselves."""

from __future__ import annotations

import re
from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pocketfleet import config
from pocketfleet.domain import traffic
from pocketfleet.domain.traffic import NAMES, TrafficLimits, as_word, limits_that_count, parse_limits
from pocketfleet.errors import WrongSetting

NUMBERS = st.integers(0, 3) | st.integers(0, traffic.MOST)
OWN = st.dictionaries(st.sampled_from(NAMES), NUMBERS)
WHOLE = st.builds(TrafficLimits, **dict.fromkeys(NAMES, NUMBERS))


def stricter(one: int, other: int) -> bool:
    """Whether a limit is at least as strict as another; 0 is none."""
    return other == 0 or 0 < one <= other


@given(WHOLE, OWN, OWN)
def test_an_instance_cannot_raise_what_its_team_has(
    server: TrafficLimits, team: dict[str, int], own: dict[str, int]
) -> None:
    without, found = limits_that_count(server, team, {}), limits_that_count(server, team, own)
    for name in NAMES:
        assert stricter(getattr(found, name), getattr(without, name))
        assert getattr(found, name) in (getattr(without, name), own.get(name))


@given(WHOLE, OWN)
def test_a_teams_number_is_in_place_of_the_servers(server: TrafficLimits, team: dict[str, int]) -> None:
    found = limits_that_count(server, team, {})
    for name in NAMES[:4]:
        assert getattr(found, name) == team.get(name, getattr(server, name))


@given(WHOLE, OWN)
def test_the_trusted_never_have_less_than_everybody(server: TrafficLimits, team: dict[str, int]) -> None:
    found = limits_that_count(server, team, {})
    assert stricter(found.address_hourly, found.trusted_address_hourly)
    assert stricter(found.instance_hourly, found.trusted_instance_hourly)


@given(WHOLE)
def test_a_word_has_seven_fields(limits: TrafficLimits) -> None:
    word = as_word(limits)
    assert word == "" if limits == TrafficLimits() else re.fullmatch(r"(\d+:){6}-", word)
    assert as_word(limits, "team").endswith(":team")


@pytest.mark.parametrize("data", [{"x": 1}, {"address_hourly": -1}, {"address_hourly": True}, {"instance_hourly": 1.0},
                                  {"instance_at_once": "1"}, {"address_at_once": traffic.MOST + 1}])  # fmt: skip
def test_what_is_no_limit_is_refused(data: dict[str, object]) -> None:
    with pytest.raises(WrongSetting) as refused:
        parse_limits(data)
    assert refused.value.facts["setting"] == "limits"


def test_none_is_left_out() -> None:
    assert parse_limits({"address_hourly": None, "instance_hourly": 0}) == {"instance_hourly": 0}


def test_the_settings_have_the_same_names_and_bound() -> None:
    assert set(NAMES) <= {field.name for field in fields(config.Config)}
    assert config.MOST_REQUESTS == traffic.MOST
