"""What little a network namespace asks of the kernel, over rtnetlink(7).

pyroute2 does them too, in 35 ms where this takes 2, with 16 MB and 0.2 s of imports in node: measured with 0.9.7.
"""

from __future__ import annotations

import os
import socket
import struct
from itertools import count

_REQUEST_AND_ACKNOWLEDGE = 0x0001 | 0x0004
_CREATE_NEW, _CREATE_OR_REPLACE = 0x0400 | 0x0200, 0x0400 | 0x0100
_NEW_LINK, _DELETE_LINK, _NEW_ADDRESS, _NEW_ROUTE, _GET_ROUTE = 16, 17, 20, 24, 26
_ERROR = 2
_IP4, _IP6 = socket.AF_INET, socket.AF_INET6
_UP = 1
#: An address that nobody else has, so that it is not asked for either: usable at once.
_UNDOUBTED = 2
_HEADER = struct.Struct("=IHHII")
_LINK = struct.Struct("=BxHiII")
_ADDRESS = struct.Struct("=BBBBI")
_ROUTE = struct.Struct("=BBBBBBBBI")
_MAIN_TABLE, _LOCAL_TABLE = 254, 255
_EVERYWHERE, _ON_THIS_LINK, _ON_THIS_HOST = 0, 253, 254
_TO_OTHERS, _TO_ITSELF = 1, 2
_STATIC = 4
#: Of an answer to a request for a route: the interface that it leads out of.
_OUT_OF = 4


class Netlink:
    """Speaks for the network namespace of the thread that made it, from whatever thread; one at a time."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0)
        self._socket.settimeout(5)
        self._numbers = count(1)

    def close(self) -> None:
        """It asks nothing any more."""
        self._socket.close()

    def make_pair(self, name: str, other: str, other_network: int) -> None:
        """Two ends of a virtual cable: `name` here, `other` in the namespace of that descriptor."""
        peer = _LINK.pack(0, 0, 0, 0, 0) + _text(3, other) + _number(28, other_network)
        kind = _part(18, _part(1, b"veth") + _part(2, _part(1, peer)))
        self._ask(_NEW_LINK, _CREATE_NEW, _LINK.pack(0, 0, 0, 0, 0) + _text(3, name) + kind)

    def switch_on(self, link: int) -> None:
        """The interface is up."""
        self._ask(_NEW_LINK, 0, _LINK.pack(0, 0, link, _UP, _UP))

    def remove(self, link: int) -> None:
        """The interface, and the other end of its cable, are gone."""
        self._ask(_DELETE_LINK, 0, _LINK.pack(0, 0, link, 0, 0))

    def add_address(self, link: int, address: str, bits: int = 0) -> None:
        """An address of its own, of IPv4 or IPv6, with no neighbours but in a network of so many bits."""
        family, raw = _raw(address)
        body = _ADDRESS.pack(family, bits or 8 * len(raw), 0 if family == _IP4 else _UNDOUBTED, 0, link)
        self._ask(_NEW_ADDRESS, _CREATE_NEW, body + _part(2, raw) + _part(1, raw))

    def add_route(self, address: str, link: int, *, replace: bool = False) -> None:
        """One address is at the other end of this interface. Raises FileExistsError where it is elsewhere."""
        family, raw = _raw(address)
        body = _route(family, 8 * len(raw), _MAIN_TABLE, _ON_THIS_LINK, _TO_OTHERS) + _part(1, raw)
        self._ask(_NEW_ROUTE, _CREATE_OR_REPLACE if replace else _CREATE_NEW, body + _number(4, link))

    def add_way_out(self, gateway: str, link: int) -> None:
        """Everything else of its kind is behind this gateway."""
        family, raw = _raw(gateway)
        body = _route(family, 0, _MAIN_TABLE, _EVERYWHERE, _TO_OTHERS) + _part(5, raw)
        self._ask(_NEW_ROUTE, _CREATE_NEW, body + _number(4, link))

    def make_local(self, network: str, bits: int, link: int) -> None:
        """All addresses of a network are this host's own."""
        family, raw = _raw(network)
        body = _route(family, bits, _LOCAL_TABLE, _ON_THIS_HOST, _TO_ITSELF) + _part(1, raw)
        self._ask(_NEW_ROUTE, _CREATE_NEW, body + _number(4, link))

    def leads_out_of(self, address: str) -> int:
        """The interface that packets to an address of IPv4 leave by."""
        body = _ROUTE.pack(_IP4, 32, 0, 0, 0, 0, 0, 0, 0) + _part(1, socket.inet_aton(address))
        answer = self._ask(_GET_ROUTE, 0, body)
        at = _HEADER.size + _ROUTE.size
        while at + 4 <= len(answer):
            length, kind = struct.unpack_from("=HH", answer, at)
            if kind == _OUT_OF:
                return int(struct.unpack_from("=I", answer, at + 4)[0])
            at += max(4, length + -length % 4)
        return 0

    def _ask(self, kind: int, flags: int, body: bytes) -> bytes:
        number = next(self._numbers)
        flags |= _REQUEST_AND_ACKNOWLEDGE
        self._socket.send(_HEADER.pack(_HEADER.size + len(body), kind, flags, number, 0) + body)
        while True:
            answer = self._socket.recv(65536)
            _, what, _, answered, _ = _HEADER.unpack_from(answer)
            if answered != number:
                continue
            if what == _ERROR and (error := -struct.unpack_from("=i", answer, _HEADER.size)[0]):
                raise OSError(error, os.strerror(error))
            return answer


def _raw(address: str) -> tuple[int, bytes]:
    family = _IP6 if ":" in address else _IP4
    return family, socket.inet_pton(family, address)


def _route(family: int, bits: int, table: int, scope: int, kind: int) -> bytes:
    return _ROUTE.pack(family, bits, 0, 0, table, _STATIC, scope, kind, 0)


def _part(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), kind) + value + b"\0" * (-len(value) % 4)


def _number(kind: int, value: int) -> bytes:
    return _part(kind, struct.pack("=I", value))


def _text(kind: int, value: str) -> bytes:
    return _part(kind, value.encode() + b"\0")
