"""By which routers, and which tunnels without any, this server reaches the internet of IPv6.

Over IPv6 a server's neighbours have addresses of the internet, as a rule: nothing but the way there tells a machine in
the same room from one elsewhere. What is sent to a router goes elsewhere.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from pathlib import Path

_ROUTES = Path("/proc/thread-self/net/ipv6_route")
_INTERNET = ipaddress.IPv6Network("2000::/3")
#: linux/ipv6_route.h and linux/route.h
_BY_ROUTER, _REFUSED, _LOCAL = 0x0002, 0x0200, 0x80000000
#: Bits of a network that is wider than any in which neighbours are.
_WIDE = 32


@dataclass(frozen=True, slots=True)
class WaysOut:
    """Addresses of routers, but for link-local and private ones, and names of interfaces."""

    routers: tuple[str, ...] = ()
    tunnels: tuple[str, ...] = ()


def ways_out() -> WaysOut:
    """Those of the calling thread's network; none without IPv6. Blocks for no time worth it."""
    try:
        lines = _ROUTES.read_text().splitlines()
    except FileNotFoundError:
        return WaysOut()
    routers, tunnels = set(), set()
    for line in lines:
        target, bits, _, _, router, _, _, _, flags, name = line.split()
        kind, wide = int(flags, 16), int(bits, 16) <= _WIDE
        if kind & _BY_ROUTER:
            routers.add(_address(router))
        elif wide and not kind & (_REFUSED | _LOCAL) and _network(target, bits).overlaps(_INTERNET):
            tunnels.add(name)
    return WaysOut(tuple(str(each) for each in sorted(routers) if each in _INTERNET), tuple(sorted(tunnels)))


def _network(digits: str, bits: str) -> ipaddress.IPv6Network:
    return ipaddress.IPv6Network((_address(digits), int(bits, 16)))


def _address(digits: str) -> ipaddress.IPv6Address:
    return ipaddress.IPv6Address(int(digits, 16))
