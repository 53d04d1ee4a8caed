"""Whether a guest accepts connections: asked of its address, since what it prints may come before it listens."""

from __future__ import annotations

import asyncio
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


async def answers(address: str) -> bool:
    """Whether somebody who listens also says something: a process that is being killed accepts, and hangs up.

    One that is too busy to say anything within a second counts as alive.
    """
    host, _, port = address.rpartition(":")
    try:
        reader, writer = await asyncio.open_connection(host, int(port))
    except OSError:
        return False
    try:
        writer.write(b"HEAD /api/health HTTP/1.0\r\n\r\n")
        async with asyncio.timeout(1.0):
            return bool(await reader.read(1))
    except TimeoutError:
        return True
    except OSError:
        return False
    finally:
        writer.close()


def pause(waited: float) -> float:
    """Seconds until the next try after having waited so long: 1 ms, the event loop's finest, while it is worth it."""
    if waited < 0.1:
        return 0.001
    return 0.005 if waited < 1 else 0.025
