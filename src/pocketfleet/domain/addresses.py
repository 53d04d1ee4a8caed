"""The loopback address that an instance keeps for ever, so that a stale route never reaches another tenant."""

from __future__ import annotations

import secrets

#: 127.1.0.1 .. 127.254.255.254, last octet 1 to 254: hosts .0 and .255 are left out, and so is 127.0.0.0/16,
#: where other programs listen.
_LAST = 254
CAPACITY = 254 * 256 * _LAST


def address_of(number: int) -> str:
    """The address of number 0 .. CAPACITY - 1, as text."""
    if not 0 <= number < CAPACITY:
        raise ValueError(f"no address has the number {number}")
    rest, last = divmod(number, _LAST)
    second, third = divmod(rest, 256)
    return f"127.{second + 1}.{third}.{last + 1}"


def first_number() -> int:
    """Where a new home starts: at random, so that two homes on one machine hardly ever meet."""
    return secrets.randbelow(CAPACITY)


def next_number(number: int) -> int:
    """The number after this one; past the end it goes on from the beginning."""
    return (number + 1) % CAPACITY
