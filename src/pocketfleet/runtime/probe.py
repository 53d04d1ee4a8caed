"""Whether a guest accepts connections: asked of its address, since what it prints may come before it listens."""

from __future__ import annotations

import errno
import select
import socket

#: Seconds from the spawn to the first try: no PocketBase was ever seen to listen sooner.
FIRST_PAUSE = 0.006


def accepts(address: str) -> bool:
    """Whether somebody listens at `127.x.y.z:port`. About 30 us: on the loopback the answer is there at once."""
    host, _, port = address.rpartition(":")
    with socket.socket() as probe:
        probe.setblocking(False)
        code = probe.connect_ex((host, int(port)))
        if code == errno.EINPROGRESS:
            poll = select.poll()
            poll.register(probe, select.POLLOUT)
            if not poll.poll(0):
                return False
            code = probe.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        return code == 0


def pause(waited: float) -> float:
    """Seconds until the next try after having waited so long: 1 ms, the event loop's finest, while it is worth it."""
    if waited < 0.1:
        return 0.001
    return 0.005 if waited < 1 else 0.025
