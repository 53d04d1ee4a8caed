"""What the sandbox costs a wake: a server with it and one without, the same instance in both, in turn."""

from __future__ import annotations

import socket
import time
from pathlib import Path
from statistics import median

from tests.server import Server, running

from bench.client import get
from bench.figures import Figure, p25, spread
from bench.wake import put_to_sleep
from pocketfleet.config import Config
from pocketfleet.runtime.sandbox import rights
from pocketfleet.runtime.sandbox.networks import READY

PAIRS = 50
#: Wakes before the first that counts.
WARM_UP = 3
NAME = "alone"


def measure() -> list[Figure]:
    """Figures of waking in a cell. Raises where this machine has no sandbox."""
    with (
        running(counted=False, sandbox="on", idle_timeout=3600) as locked,
        running(counted=False, sandbox="off", idle_timeout=3600) as plain,
    ):
        for server in (locked, plain):
            server.create(NAME)
            for _ in range(WARM_UP):
                _wake(server)
        ours, others = _pairs(locked, plain)
        left = _left_behind(locked)
    # of each pair, since what else runs on the machine slows both of it
    added = median(one - other for one, other in zip(ours, others, strict=True))
    detail = {"sandbox": spread(ours), "plain": spread(others), "pairs": PAIRS, "samples": [ours, others]}
    goal = f"<= 15 ms more (pair by pair: {added:.1f})"
    against = "the same without the sandbox"
    return [
        Figure("sandbox", "wake, median", "ms", median(ours), median(others), against, goal, added <= 15, detail),
        Figure("sandbox", "wake, p25: the machine to itself", "ms", p25(ours), p25(others), against, "", None, {}),
        Figure("sandbox", "cables left after all sleep, but those that lie ready", "", left, goal="0", met=left == 0),
    ]


def _pairs(locked: Server, plain: Server) -> tuple[list[float], list[float]]:
    ours: list[float] = []
    others: list[float] = []
    for number in range(PAIRS):
        # who comes first changes, since the second finds a warmer machine
        for server in (locked, plain) if number % 2 else (plain, locked):
            (ours if server is locked else others).append(_wake(server))
    return ours, others


def _wake(server: Server) -> float:
    began = time.perf_counter()
    status = get(("127.0.0.1", server.port), f"{NAME}.localhost:{server.port}")
    took = (time.perf_counter() - began) * 1000
    if status != 200:
        raise RuntimeError(f"{NAME} answered {status} instead of 200\n{server.diagnosis()}")
    put_to_sleep(server, NAME)
    return took


def _left_behind(server: Server) -> int:
    """More of this home's interfaces than lie ready; the kernel takes those of the dead away a moment later."""
    prefix = _prefix(server.home)
    time.sleep(1)
    return max(0, sum(name.startswith(prefix) for _, name in socket.if_nameindex()) - READY)


def _prefix(home: Path) -> str:
    return rights.means(Config(home=home)).networks.prefix
