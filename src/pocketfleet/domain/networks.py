"""Addresses and networks that people name: as one form each, how many a team may trust, and how wide they may be."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

from pocketfleet.errors import WrongUsage

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

#: Addresses and networks that a team may trust.
MOST_TRUSTED = 20
#: Who is trusted may say who its client is: a network must be one that somebody can know all of.
_WIDEST = {4: 16, 6: 32}


def parse_network(text: object, field: str = "network") -> Network:
    """One address or network, in its usual form. Raises WrongUsage for what is none, or is an address within one."""
    shown = "".join(letter if letter.isprintable() else "?" for letter in str(text)[:60])
    try:
        if not isinstance(text, str) or not text.isascii() or "%" in text:
            raise ValueError
        network = ipaddress.ip_network(text.strip(), strict=False)
    except ValueError:
        raise WrongUsage(
            f"“{shown}” is no address or network such as 203.0.113.7, 203.0.113.0/24 or 2001:db8::/48.", field=field
        ) from None
    if "/" in text and ipaddress.ip_address(text.strip().partition("/")[0]) != network.network_address:
        raise WrongUsage(f"“{shown}” is an address within a network; write {network} for the network.", field=field)
    mapped = getattr(network.network_address, "ipv4_mapped", None)
    if mapped is not None:
        raise WrongUsage(f"“{shown}” is an address of IPv4; write {mapped}.", field=field)
    return network


def parse_trusted(items: Iterable[object], field: str = "trusted") -> list[str]:
    """What a team may trust, each once, in their usual form. Raises WrongUsage."""
    found: dict[str, None] = {}
    for item in items:
        network = parse_network(item, field)
        widest = _WIDEST[network.version]
        if network.prefixlen < widest:
            raise WrongUsage(f"{network} is too wide to be trusted: a network of at most /{widest}.", field=field)
        found[shown(network)] = None
    if len(found) > MOST_TRUSTED:
        raise WrongUsage(f"A team may trust at most {MOST_TRUSTED} addresses and networks.", field=field)
    return list(found)


def holds(network: Network, address: str) -> bool:
    """Whether an address (of a client, as the edge says it) is in the network."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    return (getattr(parsed, "ipv4_mapped", None) or parsed) in network


def shown(network: Network) -> str:
    """As people write it: an address alone without its length."""
    return str(network.network_address) if network.prefixlen == network.max_prefixlen else str(network)
