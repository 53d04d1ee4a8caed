"""Loopback addresses: one number, one address, never one that another program would use."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pocketfleet.domain.addresses import CAPACITY, address_of, first_number, next_number

NUMBERS = st.integers(0, CAPACITY - 1)


def number_of(address: str) -> int:
    """The way back, written down independently."""
    _, second, third, last = (int(part) for part in address.split("."))
    return ((second - 1) * 256 + third) * 254 + (last - 1)


@given(NUMBERS)
@example(0)
@example(253)
@example(254)
@example(CAPACITY - 1)
def test_every_number_has_an_address_of_its_own(number: int) -> None:
    address = address_of(number)
    parts = [int(part) for part in address.split(".")]
    assert ipaddress.ip_address(address).is_loopback
    assert 1 <= parts[1] <= 254
    assert 1 <= parts[3] <= 254
    assert number_of(address) == number


def test_neighbours_differ_over_whole_octets() -> None:
    assert len({address_of(number) for number in range(3 * 254 * 256)}) == 3 * 254 * 256


@pytest.mark.parametrize("number", [-1, CAPACITY, CAPACITY + 5])
def test_there_is_no_other_number(number: int) -> None:
    with pytest.raises(ValueError):
        address_of(number)


@given(NUMBERS)
@example(CAPACITY - 1)
def test_next_number_stays_in_and_goes_round(number: int) -> None:
    assert next_number(number) == (0 if number == CAPACITY - 1 else number + 1)


def test_homes_start_at_different_numbers() -> None:
    numbers = {first_number() for _ in range(50)}
    assert len(numbers) > 40
    assert all(0 <= number < CAPACITY for number in numbers)
