"""A quiet neighbour: the latency of one client of one instance while others flood, block or wake other instances."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from statistics import median

from tests.server import Server, running

from bench import PROJECT
from bench.client import get, request
from bench.figures import Figure
from bench.load import Load, generate
from bench.warm import PATH

#: Turns of quiet, disturbed, quiet, disturbed ...
TURNS = 3
SECONDS = 2.5
#: Connections that flood, and that read nothing of what they asked for.
FLOOD, SLOW = 64, 200
#: Instances that wake at once, again and again, and seconds until those with the shortest idle timeout sleep.
STORM, ASLEEP_AGAIN = 20, 2.2
#: What strangers are recommended (docs/limits.md); the flood is past the second from its beginning.
LIMITS = {"address_hourly": 1000, "address_at_once": 15, "instance_hourly": 10_000, "instance_at_once": 250}
QUIET = "the same instance while nobody else asks, in turn"

Disturbance = Callable[[], AbstractContextManager[None]]


def measure() -> list[Figure]:
    """p50 and p99 of the neighbour under each disturbance, beside its quiet runs."""
    with running(counted=False, idle_timeout=3600) as server:
        names = ("quiet", "loud", *(f"cold{number}" for number in range(STORM)))
        ids = {name: server.create(name)["id"] for name in names}
        for name in ("quiet", "loud"):
            server.put(ids[name], f"pb_public{PATH}", "x" * 50)
            assert get(("127.0.0.1", server.port), f"{name}.localhost:{server.port}", PATH) == 200
        for name in names[2:]:
            server.api.patch(f"/instances/{name}", json={"idle_timeout": 1}).raise_for_status()
        server.put(ids["loud"], "pb_public/large.bin", "x" * 5_000_000)
        found = _compare(server, "a flood without limits", lambda: _flood(server))
        server.api.patch("/instances/loud", json={"traffic_limits": LIMITS}, params={"wait": 10}).raise_for_status()
        found += _compare(server, "a flood past its limits", lambda: _flood(server))
        server.api.patch("/instances/loud", json={"traffic_limits": {}}, params={"wait": 10}).raise_for_status()
        found += _compare(server, "200 clients that do not read", lambda: _slow(server))
        return found + _compare(server, f"{STORM} instances waking again and again", lambda: _storm(server))


def _compare(server: Server, words: str, disturbed: Disturbance) -> list[Figure]:
    quiet, loud = [], []
    for _ in range(TURNS):
        quiet.append(_ask(server))
        with disturbed():
            loud.append(_ask(server))
    return [
        Figure(
            "neighbour",
            f"latency {which} beside {words}",
            "ms",
            median(getattr(run, field) for run in loud),
            median(getattr(run, field) for run in quiet),
            QUIET,
            detail={
                "disturbed": [getattr(run, field) for run in loud],
                "quiet": [getattr(run, field) for run in quiet],
            },
        )
        for which, field in (("p50", "p50_ms"), ("p99", "p99_ms"))
    ]


def _ask(server: Server) -> Load:
    return generate(("127.0.0.1", server.port), f"quiet.localhost:{server.port}", PATH, "", 1, SECONDS)


@contextlib.contextmanager
def _flood(server: Server) -> Iterator[None]:
    """Processes of its own that ask as fast as they are answered, whatever the answer is."""
    host = f"loud.localhost:{server.port}"
    words = [sys.executable, "-m", "bench.flood", "127.0.0.1", str(server.port), host, PATH, str(FLOOD)]
    process = subprocess.Popen(words, cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        assert process.stdout is not None
        process.stdout.readline()
        yield
    finally:
        process.terminate()
        process.wait()


@contextlib.contextmanager
def _slow(server: Server) -> Iterator[None]:
    """Clients that ask for 5 MB each and read none of it."""
    message = request(f"loud.localhost:{server.port}", "/large.bin", close=True)
    sockets = [socket.create_connection(("127.0.0.1", server.port), 10) for _ in range(SLOW)]
    try:
        for each in sockets:
            each.sendall(message)
        yield
    finally:
        for each in sockets:
            each.close()


@contextlib.contextmanager
def _storm(server: Server) -> Iterator[None]:
    """Clients of instances that sleep after a second: each is called all at once with the others, and left again."""
    over = threading.Event()

    def turn(number: int) -> None:
        while not over.is_set():
            get(("127.0.0.1", server.port), f"cold{number}.localhost:{server.port}", "/api/health")
            over.wait(ASLEEP_AGAIN)

    with ThreadPoolExecutor(STORM) as pool:
        turns = [pool.submit(turn, number) for number in range(STORM)]
        try:
            yield
        finally:
            over.set()
        for each in turns:
            each.result()
