"""Says when somebody changes the packet filter's rules: the kernel tells all who ask, over nfnetlink."""

from __future__ import annotations

import asyncio
import contextlib
import socket

#: linux/netlink.h and linux/netfilter/nfnetlink.h
_NETFILTER, _RULES = 12, 7
#: Seconds until whoever changes them has come to an end, mostly.
_REST = 0.1


class RuleChanges:
    """Of the network namespace of the thread that made it."""

    def __init__(self) -> None:
        kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
        self._socket = socket.socket(socket.AF_NETLINK, kind, _NETFILTER)
        self._socket.bind((0, 1 << (_RULES - 1)))

    def close(self) -> None:
        """It hears nothing any more."""
        self._socket.close()

    async def next(self, seconds: float) -> None:
        """Return when they were changed, or after so many seconds. What changes after that is for the next time."""
        # one error is of interest, too: there were so many changes that some could not be told
        with contextlib.suppress(TimeoutError, OSError):
            async with asyncio.timeout(seconds):
                await asyncio.get_running_loop().sock_recv(self._socket, 65536)
        await asyncio.sleep(_REST)
        with contextlib.suppress(OSError):
            while self._socket.recv(65536):
                pass
