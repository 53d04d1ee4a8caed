"""Addresses and networks as people write them."""

from __future__ import annotations

import pytest

from pocketfleet.domain.networks import MOST_TRUSTED, holds, parse_network, parse_trusted, shown
from pocketfleet.errors import WrongUsage


@pytest.mark.parametrize(
    ("text", "form"),
    [("203.0.113.7", "203.0.113.7"), (" 203.0.113.7/32 ", "203.0.113.7"), ("203.0.113.0/24", "203.0.113.0/24"),
     ("2001:DB8::1", "2001:db8::1"), ("2001:db8:0:0::/48", "2001:db8::/48")],
)  # fmt: skip
def test_each_has_one_form(text: str, form: str) -> None:
    assert shown(parse_network(text)) == form


@pytest.mark.parametrize(
    "text",
    ["", "x", "203.0.113", "010.1.2.3", "203.0.113.7/24", "203.0.113.0/33", "fe80::1%eth0", "::ffff:1.2.3.4",
     "１.2.3.4", "1.2.3.4;show", "1.2.3.4 5", 7, None, "a" * 5000],
)  # fmt: skip
def test_what_is_none_is_refused(text: object) -> None:
    with pytest.raises(WrongUsage) as refused:
        parse_network(text, "trusted")
    assert refused.value.facts["field"] == "trusted"
    assert len(refused.value.detail) < 250


def test_a_team_trusts_few_and_none_that_is_too_wide() -> None:
    assert parse_trusted(["10.1.2.3/32", "10.1.2.3", "2001:db8::/32"]) == ["10.1.2.3", "2001:db8::/32"]
    for wide in ("0.0.0.0/0", "10.0.0.0/8", "::/0", "2001::/16"):
        with pytest.raises(WrongUsage, match="too wide"):
            parse_trusted([wide])
    many = [f"203.0.113.{number}" for number in range(MOST_TRUSTED + 1)]
    assert len(parse_trusted(many[1:])) == MOST_TRUSTED
    with pytest.raises(WrongUsage, match="at most"):
        parse_trusted(many)


@pytest.mark.parametrize(
    ("network", "address", "within"),
    [("10.0.0.0/8", "10.1.2.3", True), ("10.0.0.0/8", "::ffff:10.1.2.3", True), ("10.0.0.0/8", "11.1.2.3", False),
     ("10.0.0.0/8", "2001:db8::1", False), ("::/0", "::1", True), ("0.0.0.0/0", "", False), ("0.0.0.0/0", "x", False)],
)  # fmt: skip
def test_who_is_within(network: str, address: str, within: bool) -> None:
    assert holds(parse_network(network), address) is within
