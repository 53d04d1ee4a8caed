"""Free ports for tests: none that the system gives to connections, or somebody's may take it before it is used."""

from __future__ import annotations

import errno
import random
import socket

#: Below those that Linux gives of itself (`ip_local_port_range`), and above those that services have.
_PORTS = range(10_000, 32_000)
_TRIES = 100


def free_port(host: str = "127.0.0.1") -> int:
    """Nobody listens at it, there or at all addresses of this machine."""
    places = ((socket.AF_INET, host), (socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::"))
    for _ in range(_TRIES):
        port = random.choice(_PORTS)
        if all(_is_free(family, address, port) for family, address in places):
            return port
    raise AssertionError(f"of {_TRIES} ports none is free")


def _is_free(family: socket.AddressFamily, address: str, port: int) -> bool:
    try:
        with socket.socket(family) as probe:
            probe.bind((address, port))
    except OSError as error:
        # a machine may have no IPv6
        return error.errno != errno.EADDRINUSE
    return True
