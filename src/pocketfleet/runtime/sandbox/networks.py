"""A network namespace for every awake instance, made ahead so that no wake waits for one.

Each is the same inside: one cable to this host, a way out through it, and all of 240.0.0.0/4 its own, so that a
PocketBase can listen at its instance's address without being given it, and meets nobody of its kind there. A wake then
costs one route on the host's side. Where the setting says so the cable is a way out over IPv6, too, from an address of
this home's own network by the cable's number; nobody is reached at that one, so a wake has nothing to do for it. Nobody
but the processes in it holds a namespace: with the last one of them, or with node, it is gone, and its cable and routes
with it.
"""

from __future__ import annotations

import errno
import logging
import os
import socket
import threading
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pocketfleet.errors import AddressTaken
from pocketfleet.runtime.sandbox.netlink import Netlink
from pocketfleet.runtime.sandbox.threads import in_own_thread, leave_network

#: Every interface of every pocketfleet begins so; see firewall.nft.
PREFIX = "pf"
#: Addresses that instances have, and none outside of them.
NETWORK, NETWORK_BITS = "240.0.0.0", 4
#: This host, as instances see it: the same at every cable, so it tells nothing.
_GATEWAY, _GATEWAY6 = "169.254.1.1", "fe80::1"
#: Namespaces that lie ready.
READY = 8
#: Numbers of cables, by which they are named and send: 240.0.0.2 and on, where no instance is.
_FIRST, _LAST = 2, 65_533
#: Of an interface that has the addresses it is given, and takes nobody's word for another or for a way.
_ALONE6 = {
    "accept_ra": "0",
    "accept_redirects": "0",
    "autoconf": "0",
    "use_tempaddr": "0",
    "addr_gen_mode": "1",
    "disable_ipv6": "0",
}

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Network:
    """One namespace: its descriptor, and this host's end of the cable."""

    descriptor: int
    cable: str
    link: int

    def close(self) -> None:
        """Those who run in it have it; without any it is gone."""
        os.close(self.descriptor)


def network6(mark: str) -> str:
    """Where the instances of one home are over IPv6: a network of its own of those that lead nowhere (RFC 4193).

    Two homes of one machine have two, since they have two marks; at other machines nobody ever sees it.
    """
    return f"fd70:66{mark[:2]}:{mark[2:]}::/48"


class Networks:
    """The namespaces of one home. Everything here blocks, some for milliseconds; any thread may call it."""

    def __init__(self, mark: str, *, ipv6: bool = False) -> None:
        """`mark`: six hexadecimal digits that tell this home's interfaces from those of others on this machine.

        `ipv6`: whether there is a way out over that, too.
        """
        self.prefix = f"{PREFIX}{mark}-"
        self._network6 = network6(mark).partition("/")[0] if ipv6 else ""
        self._ready: deque[Network] = deque()
        self._next = _FIRST + int.from_bytes(os.urandom(2), "big") % (_LAST - _FIRST)
        self._turn = threading.Lock()
        self._host: Netlink | None = None

    def take(self, address: str) -> Network:
        """A namespace in which a guest can listen at this address, which leads there from now on.

        Raises AddressTaken, OSError.
        """
        with self._turn:
            network = self._ready.popleft() if self._ready else self._make()
            try:
                self._lead(address, network)
            except BaseException:
                network.close()
                raise
            return network

    @property
    def is_low(self) -> bool:
        """Whether the next wakes would soon have to wait for one to be made."""
        return len(self._ready) <= READY // 2

    def refill(self) -> None:
        """Have some lie ready. Raises OSError."""
        while len(self._ready) < READY:
            with self._turn:
                self._ready.append(self._make())

    def close(self) -> None:
        """None lies ready any more."""
        with self._turn:
            while self._ready:
                self._ready.popleft().close()
            if self._host is not None:
                self._host.close()
                self._host = None

    def _lead(self, address: str, network: Network) -> None:
        host = self._netlink()
        try:
            host.add_route(address, network.link)
        except FileExistsError:
            # a cable of the guest before, which the kernel has not taken away yet
            name = _name_of(host.leads_out_of(address))
            if name and not name.startswith(self.prefix):
                raise AddressTaken(
                    f"The address {address} is in use by {name}, which another pocketfleet of this machine may have "
                    "made. Stop one of the two.",
                    address=address,
                ) from None
            host.add_route(address, network.link, replace=True)

    def _make(self) -> Network:
        host = self._netlink()
        while True:
            number = self._number()
            try:
                return self._make_numbered(number, host)
            except OSError as error:
                # this cable is there, of ours or of another home's
                if error.errno != errno.EEXIST:
                    raise

    def _number(self) -> int:
        number, self._next = self._next, self._next + 1
        if self._next > _LAST:
            self._next = _FIRST
        return number

    def _make_numbered(self, number: int, host: Netlink) -> Network:
        cable, address = f"{self.prefix}{number:04x}", f"240.0.{number >> 8}.{number & 255}"
        address6 = f"{self._network6}{number:x}" if self._network6 else ""
        here = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            descriptor = in_own_thread(lambda: _furnish(cable, address, address6, here))
        finally:
            os.close(here)
        try:
            link = socket.if_nametoindex(cable)
            _set(f"ipv4/conf/{cable}/forwarding", "1")
            # nothing may come from here under another address
            _set(f"ipv4/conf/{cable}/rp_filter", "1")
            _open_or_close6(cable, opened=bool(address6))
            host.add_address(link, _GATEWAY)
            host.switch_on(link)
            host.add_route(address, link)
            if address6:
                # with all of the cable's network, so that what is sent to others in it comes as far as the rules
                host.add_address(link, _GATEWAY6, 64)
                # one of our own whose kernel has not taken it away yet: its cable had the same number
                host.add_route(address6, link, replace=True)
        except BaseException:
            os.close(descriptor)
            raise
        return Network(descriptor, cable, link)

    def _netlink(self) -> Netlink:
        if self._host is None:
            self._host = Netlink()
        return self._host


def _furnish(cable: str, address: str, address6: str, host_network: int) -> int:
    """In a thread of its own: a new namespace with its end of the cable; a descriptor of it."""
    descriptor = leave_network()
    try:
        # `default` is what the cable's end will have
        for which in ("all", "default"):
            _open_or_close6(which, opened=bool(address6))
        # the guest's port is an instance's own, whatever its number
        _set("ipv4/ip_unprivileged_port_start", "0")
        inside = Netlink()
        try:
            inside.make_pair("eth0", cable, host_network)
            link = socket.if_nametoindex("eth0")
            inside.switch_on(1)
            inside.add_address(link, address)
            inside.switch_on(link)
            inside.add_route(_GATEWAY, link)
            inside.add_way_out(_GATEWAY, link)
            inside.make_local(NETWORK, NETWORK_BITS, 1)
            if address6:
                inside.add_address(link, address6)
                inside.add_way_out(_GATEWAY6, link)
        finally:
            inside.close()
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _open_or_close6(interface: str, *, opened: bool) -> None:
    for name, value in (_ALONE6 if opened else {"disable_ipv6": "1"}).items():
        _set(f"ipv6/conf/{interface}/{name}", value)


def _name_of(link: int) -> str:
    try:
        return socket.if_indextoname(link)
    except OSError:
        return ""


def _set(name: str, value: str) -> None:
    """One of this thread's network namespace's sysctls; a kernel without IPv6 has none of those."""
    with suppress(FileNotFoundError):
        Path(f"/proc/sys/net/{name}").write_text(value)
