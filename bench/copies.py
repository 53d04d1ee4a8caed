"""Copies: snapshots and backups of an instance that is written to, beside PocketBase's own backup of the same data."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from statistics import median

import httpx
from tests.pocketbases import NEWEST
from tests.server import Server, running, superuser_token

from bench.asker import Asker
from bench.figures import Figure
from bench.filling import GIGABYTE, MANY_FILES, SMALL, Amount, filled

#: Rounds of a snapshot, a backup and PocketBase's own, in turn.
ROUNDS = 3
LARGE_ROUNDS = 1
WRITE = '{"text": "written meanwhile"}'
AGAINST = "PocketBase's own backup, same instance"

#: By kind of copy: milliseconds that it took, and of the longest write meanwhile; each a sample.
Samples = dict[str, list[tuple[float, float]]]


def measure() -> list[Figure]:
    """All figures of copies, of as much data as is quick to measure."""
    return _measure(SMALL, ROUNDS)


def measure_gigabyte() -> list[Figure]:
    """Those of 1 GB in one table; takes minutes, and some GB on the disk."""
    return _measure([GIGABYTE], LARGE_ROUNDS)


def measure_many_files() -> list[Figure]:
    """Those of 50,000 small files; takes minutes."""
    return _measure([MANY_FILES], LARGE_ROUNDS)


def _measure(amounts: Sequence[Amount], rounds: int) -> list[Figure]:
    figures = []
    for amount in amounts:
        with running(counted=False, sandbox="off", idle_timeout=3600) as server:
            name = filled(server, amount, NEWEST)
            with server.client(name, timeout=900) as client:
                client.headers["authorization"] = superuser_token(client, NEWEST)
                figures += _figures(amount, _rounds(server, name, client, rounds))
    return figures


def _rounds(server: Server, name: str, client: httpx.Client, rounds: int) -> Samples:
    kinds: dict[str, Callable[[], None]] = {
        "snapshot": lambda: _ours(server, name, "snapshots"),
        "backup": lambda: _ours(server, name, "backups"),
        "theirs": lambda: _theirs(client),
    }
    found: Samples = {kind: [] for kind in kinds}
    for _ in range(rounds):
        for kind, make in kinds.items():
            found[kind].append(_beside_writer(server, name, make))
        _clear(client)
    return found


def _beside_writer(server: Server, name: str, make: Callable[[], None]) -> tuple[float, float]:
    os.sync()
    host = f"{name}.localhost:{server.port}"
    writer = Asker(("127.0.0.1", server.port), host, "/api/collections/notes/records", WRITE)
    with writer.asking():
        began = time.perf_counter()
        make()
        took = (time.perf_counter() - began) * 1000
    if writer.failed:
        raise RuntimeError(f"{writer.failed} writes failed: {writer.statuses}")
    return took, writer.longest


def _ours(server: Server, name: str, what: str) -> None:
    answer = server.api.post(f"/instances/{name}/{what}", json={}).raise_for_status()
    server.finished(answer.json()["operation"]["id"], timeout=900)


def _theirs(client: httpx.Client) -> None:
    client.post("/api/backups", json={"name": "theirs.zip"}).raise_for_status()


def _clear(client: httpx.Client) -> None:
    """PocketBase's own goes, so that the disk holds no more than one."""
    client.delete("/api/backups/theirs.zip").raise_for_status()


def _figures(amount: Amount, found: Samples) -> list[Figure]:
    figures = []
    for kind in ("snapshot", "backup"):
        (ours, stall), (other, other_stall) = (_medians(found[which]) for which in (kind, "theirs"))
        detail = {"amount": amount.words, "samples": [found[kind], found["theirs"]]}
        figures += [
            Figure("copies", f"{kind} of {amount.words}", "ms", ours, other, AGAINST, detail=detail),
            Figure("copies", "… longest write meanwhile", "ms", stall, other_stall, AGAINST),
        ]
    return figures


def _medians(samples: Sequence[tuple[float, float]]) -> tuple[float, float]:
    return median(took for took, _ in samples), median(stall for _, stall in samples)
