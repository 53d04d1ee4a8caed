"""Machines on cables, each a network namespace: what a server forwards is tried without touching this one's rules."""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import struct
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from pocketfleet.runtime.sandbox.netlink import Netlink
from pocketfleet.runtime.sandbox.threads import enter_network, in_own_thread, leave_network

T = TypeVar("T")

#: The server, as all others see it, and another as the server does.
_GATEWAY, _GATEWAY6, _OTHER6 = "169.254.1.1", "fe80::1", "fe80::2"
#: All but 2800::/5, where a server's own address may be, and the cable's.
_ELSEWHERE = (("::", 3), ("2000::", 5), ("3000::", 4), ("4000::", 2), ("fc00::", 7), ("fec0::", 10))
#: net/if.h
_GET_FLAGS, _RUNNING = 0x8913, 0x40
#: Seconds after which nothing comes any more, where packets are thrown away. The first one to a cable that was laid a
#: moment ago may be lost; the kernel sends it again after one second.
_SILENCE = 1.6


class Place:
    """One machine's network: a new one, or that of a descriptor."""

    def __init__(self, descriptor: int | None = None) -> None:
        self.descriptor = in_own_thread(leave_network) if descriptor is None else descriptor

    def do(self, work: Callable[[], T]) -> T:
        """What `work` answers there."""

        def there() -> T:
            enter_network(self.descriptor)
            return work()

        return in_own_thread(there)

    def run(self, *command: str) -> str:
        """What a program says there; it must succeed."""
        return self.do(lambda: subprocess.run(command, check=True, capture_output=True, text=True)).stdout

    @contextlib.contextmanager
    def listening(self, address: str) -> Iterator[tuple[str, int]]:
        """Somebody accepts connections there."""
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with self.do(lambda: socket.create_server((address, 0), family=family)) as server:
            yield address, server.getsockname()[1]

    def reaches(self, target: tuple[str, int]) -> bool:
        """Whether a connection can be opened from there."""

        def reach() -> bool:
            with contextlib.suppress(OSError), socket.create_connection(target, _SILENCE):
                return True
            return False

        return self.do(reach)

    def close(self) -> None:
        """It is gone, and what hung on it."""
        os.close(self.descriptor)


def server() -> Place:
    """A machine that forwards nothing."""
    made = Place()
    made.do(lambda: Path("/proc/sys/net/ipv4/ip_forward").write_text("0"))
    return made


def wire(at: Place, name: str, address: str) -> Place:
    """Another machine, with that address, at the other end of a server's interface."""
    gateway = _GATEWAY6 if ":" in address else _GATEWAY

    def there() -> None:
        netlink = Netlink()
        netlink.make_pair("eth0", name, at.descriptor)
        link = socket.if_nametoindex("eth0")
        netlink.add_address(link, address)
        netlink.switch_on(link)
        netlink.add_route(gateway, link)
        netlink.add_way_out(gateway, link)
        netlink.close()

    def here() -> None:
        netlink = Netlink()
        link = socket.if_nametoindex(name)
        netlink.add_address(link, gateway)
        netlink.switch_on(link)
        netlink.add_route(address, link)
        netlink.close()

    return _wired(at, name, there, here)


def _wired(at: Place, name: str, there: Callable[[], None], here: Callable[[], None]) -> Place:
    """A machine of its own at the other end of a cable, once both ends of it are up."""
    other = Place()
    other.do(there)
    at.do(here)
    other.do(lambda: until_running("eth0"))
    at.do(lambda: until_running(name))
    return other


def wire6(at: Place, name: str, address: str) -> Place:
    """The same over IPv6: the server's way to everything, most of which is that machine's own, to see what gets out."""

    def there() -> None:
        netlink = Netlink()
        netlink.make_pair("eth0", name, at.descriptor)
        link = socket.if_nametoindex("eth0")
        netlink.switch_on(link)
        netlink.switch_on(1)
        netlink.add_address(link, _OTHER6)
        netlink.add_way_out(_GATEWAY6, link)
        for network, bits in _ELSEWHERE:
            netlink.make_local(network, bits, 1)
        netlink.close()

    def here() -> None:
        netlink = Netlink()
        link = socket.if_nametoindex(name)
        netlink.switch_on(link)
        for each in (_GATEWAY6, address):
            netlink.add_address(link, each)
        netlink.add_way_out(_OTHER6, link)
        netlink.close()

    return _wired(at, name, there, here)


def until_running(name: str) -> None:
    """The kernel takes a moment to see that a cable is plugged in, and throws packets away until then."""
    with socket.socket() as any_socket:
        while True:
            answer = fcntl.ioctl(any_socket, _GET_FLAGS, struct.pack("16sH22x", name.encode(), 0))
            if struct.unpack_from("H", answer, 16)[0] & _RUNNING:
                return
            time.sleep(0.005)
