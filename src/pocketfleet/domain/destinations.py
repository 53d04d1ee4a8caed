"""Where instances may be let to: an address or a network, and a port of it, as people write it in the settings."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

#: Addresses of IPv6 that no packet to another machine has: this host, IPv4's in other clothes, one cable's, groups'.
_NOWHERE = tuple(map(ipaddress.IPv6Network, ("::/127", "::ffff:0:0/96", "fe80::/10", "ff00::/8")))
_WITH_PORT = re.compile(r"\[([^]]*)](?::(.*))?")


@dataclass(frozen=True, slots=True)
class Destination:
    """`port` is None for all of them."""

    network: Network
    port: int | None

    @property
    def is_ipv6(self) -> bool:
        return self.network.version == 6


def read_destination(text: str) -> Destination:
    """`10.0.0.5`, `10.0.0.0/24`, `10.0.0.5:5432`, `fd00::5`, `fd00::/64`, `[fd00::5]:5432`. Raises ValueError."""
    if bracketed := _WITH_PORT.fullmatch(text):
        return Destination(_network6(bracketed[1]), None if bracketed[2] is None else _port(bracketed[2]))
    if text.count(":") > 1:
        return Destination(_network6(text), None)
    where, colon, port = text.partition(":")
    return Destination(ipaddress.IPv4Network(where), _port(port) if colon else None)


def _network6(text: str) -> ipaddress.IPv6Network:
    network = ipaddress.IPv6Network(text)
    if "%" in text or any(network.subnet_of(each) for each in _NOWHERE):
        raise ValueError(text)
    return network


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= 65535):
        raise ValueError(text)
    return int(text)
