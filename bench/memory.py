"""Memory: of an awake instance and what it adds to us, beside bare PocketBase; of an open event stream at the edge."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator

from tests.server import Server, running

from bench.bare import outside
from bench.client import get
from bench.figures import Figure
from bench.processes import parts, pss, rss
from bench.wake import put_to_sleep, storm

AWAKE = 20
STREAMS = 500
#: Open before anything is weighed, so that what HAProxy and PocketBase take once is not counted per stream.
STREAMS_BEFORE = 50
REQUESTS_BEFORE = 200
#: Seconds in which what was just started takes its memory.
SETTLE = 2.0


def measure() -> list[Figure]:
    """All figures of memory."""
    figures: list[Figure] = []
    # each on a server of its own: an edge that has carried much has room to spare, and would seem to need none
    for part in (_per_awake, _per_stream):
        with running(counted=False, sandbox="off", idle_timeout=3600) as server:
            figures += part(server)
    return figures


def _per_awake(server: Server) -> list[Figure]:
    names = [f"memory{number}" for number in range(AWAKE)]
    ids = [str(server.create(name)["id"]) for name in names]
    with outside(server) as place:
        bares = [place.like(name) for name in names]
        _use_the_edge(server)
        made_of = parts(server)
        before = {name: pss(pids) for name, pids in made_of.items()}
        for name in names:
            assert get(("127.0.0.1", server.port), f"{name}.localhost:{server.port}") == 200
        time.sleep(SETTLE)
        guests = pss(pid for instance in ids for pid in server.guest_pids(instance)) / AWAKE
        growth = {name: 1000 * (pss(pids) - before[name]) / AWAKE for name, pids in made_of.items()}
        for name in names:
            server.api.post(f"/instances/{name}/sleep")
        for instance, name in zip(ids, names, strict=True):
            server.reaches(name, "asleep")
            assert not server.guest_pids(instance)
        for bare in bares:
            bare.wake()
        time.sleep(SETTLE)
        alone = pss(bare.pid for bare in bares) / AWAKE
    against = f"bare PocketBase, {AWAKE} awake"
    return [
        Figure("memory", f"per awake instance, {AWAKE} awake: PocketBase (PSS)", "MB", guests, alone, against),
        *(Figure("memory", f"… growth of {name} (PSS)", "kB", value) for name, value in growth.items()),
    ]


def _use_the_edge(server: Server) -> None:
    """Have the edge take the buffers that it keeps once it has carried anything, so they are not counted as growth."""
    server.create("before")
    storm([(("127.0.0.1", server.port), f"before.localhost:{server.port}")] * REQUESTS_BEFORE)
    put_to_sleep(server, "before")


def _per_stream(server: Server) -> list[Figure]:
    instance = str(server.create("streams")["id"])
    host = f"streams.localhost:{server.port}"
    edge = ("127.0.0.1", server.port)
    assert get(edge, host) == 200
    guest, workers = server.guest_pids(instance), parts(server)["edge"]
    with streams(edge, host, STREAMS_BEFORE):
        before = rss(workers), rss(guest)
        with streams(edge, host, STREAMS):
            ours, behind = _grown(workers, before[0]), _grown(guest, before[1])
    detail = {"PocketBase behind the edge, kB per stream": behind}
    put_to_sleep(server, "streams")
    with outside(server) as place, place.like("streams").running() as bare, streams(bare.address, host, STREAMS_BEFORE):
        before_direct = rss([bare.pid])
        with streams(bare.address, host, STREAMS):
            direct = _grown([bare.pid], before_direct)
    name = f"per open event stream, {STREAMS} open: HAProxy (RSS)"
    return [Figure("memory", name, "kB", ours, direct, "PocketBase itself, for a direct one", detail=detail)]


def _grown(pids: list[int], before: float) -> float:
    """kB per stream."""
    time.sleep(SETTLE)
    return 1000 * (rss(pids) - before) / STREAMS


@contextlib.contextmanager
def streams(address: tuple[str, int], host: str, count: int) -> Iterator[None]:
    """So many event streams of PocketBase's realtime API, each greeted before the next is opened.

    All at once would weigh the buffers of that burst, which HAProxy keeps for later.
    """
    message = f"GET /api/realtime HTTP/1.1\r\nHost: {host}\r\nAccept: text/event-stream\r\n\r\n".encode()
    with contextlib.ExitStack() as stack:
        for _ in range(count):
            connection = stack.enter_context(socket.create_connection(address, 30))
            connection.sendall(message)
            received = b""
            while b"PB_CONNECT" not in received:
                piece = connection.recv(65536)
                if not piece:
                    raise RuntimeError(f"a stream ended: {received[:200]!r}")
                received += piece
        yield
