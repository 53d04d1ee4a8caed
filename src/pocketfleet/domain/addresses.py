"""The loopback address that an instance keeps for ever, so that a stale route never reaches another tenant."""

from __future__ import annotations

import secrets

#: 127.1.0.1 .. 127.254.255.254, last octet 1 to 254: hosts .0 and .255 are left out, and so is 127.0.0.0/16,
#: where other programs listen.
_LAST = 254
CAPACITY = 254 * 256 * _LAST

#: Under the sandbox the first octet is this one, the others stay: 240.0.0.0/4 is "reserved for future use", carries
#: traffic on Linux all the same, and is nobody's network, so that no address of a server's surroundings is hidden.
_SANDBOXED = "240"
#: The first of the user ids that own instances: above every range that distributions, systemd (up to 1,879,048,191) and
#: subordinate ids hand out, below 2^31.
USERS_FROM = 2_000_000_000


def address_of(number: int) -> str:
    """The address of number 0 .. CAPACITY - 1, as text."""
    if not 0 <= number < CAPACITY:
        raise ValueError(f"no address has the number {number}")
    rest, last = divmod(number, _LAST)
    second, third = divmod(rest, 256)
    return f"127.{second + 1}.{third}.{last + 1}"


def number_of(address: str) -> int:
    """The number that an address was made of, its sandboxed form included."""
    try:
        second, third, last = (int(part) for part in address.split(".")[1:])
    except ValueError:
        raise ValueError(f"no instance has the address {address}") from None
    if not (1 <= second <= 254 and 0 <= third <= 255 and 1 <= last <= _LAST):
        raise ValueError(f"no instance has the address {address}")
    return ((second - 1) * 256 + third) * _LAST + last - 1


def sandboxed_address(address: str) -> str:
    """Where the instance with this address is reached under the sandbox; of no other one's."""
    return f"{_SANDBOXED}.{address.partition('.')[2]}"


def user_of(address: str) -> int:
    """The user id that owns the files and processes of the instance with this address, and of no other one."""
    return USERS_FROM + number_of(address)


def first_number() -> int:
    """Where a new home starts: at random, so that two homes on one machine hardly ever meet."""
    return secrets.randbelow(CAPACITY)


def next_number(number: int) -> int:
    """The number after this one; past the end it goes on from the beginning."""
    return (number + 1) % CAPACITY
