"""Warm traffic: requests per second and latency through the edge, beside PocketBase directly, and HAProxy's CPU."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import median

import psutil
from tests.server import Server, running

from bench.client import get
from bench.figures import Figure
from bench.load import WARM_UP, Load, generate
from bench.processes import cpu_seconds, parts

CONNECTIONS = (1, 16, 128)
#: Turns of direct, edge, direct, edge ...
TURNS = 4
SECONDS = 2.5
#: A small public file: PocketBase's cheapest answer that it does not log, so the edge's share is as large as it gets.
PATH = "/bench.txt"
DIRECT = "PocketBase directly"


@dataclass(frozen=True, slots=True)
class Side:
    """The runs of one way to PocketBase at one number of connections."""

    runs: list[Load]
    #: microseconds of HAProxy's processor time per request, one of each run; empty where it was not in the way
    edge_us: list[float]

    def median(self, name: str) -> float:
        """The median over the runs of a field of Load."""
        return float(median(getattr(run, name) for run in self.runs))


def measure() -> list[Figure]:
    """All figures of warm traffic."""
    with running(counted=False, idle_timeout=3600) as server:
        instance = server.create("warm")
        server.put(instance["id"], f"pb_public{PATH}", "x" * 50)
        host = f"warm.localhost:{server.port}"
        assert get(("127.0.0.1", server.port), host, PATH) == 200
        direct = listens_at(server, instance["id"])
        return [figure for count in CONNECTIONS for figure in _compare(server, host, direct, count)]


def _compare(server: Server, host: str, direct: tuple[str, int], connections: int) -> list[Figure]:
    edge, bare = Side([], []), Side([], [])
    workers = parts(server)["edge"]
    for _ in range(TURNS):
        bare.runs.append(generate(direct, host, PATH, connections, SECONDS))
        before = cpu_seconds(workers)
        run = generate(("127.0.0.1", server.port), host, PATH, connections, SECONDS)
        # the warm-up's requests are in the processor time, too: count them at the same rate
        asked = run.requests * (1 + WARM_UP / run.seconds)
        edge.edge_us.append(1e6 * (cpu_seconds(workers) - before) / asked)
        edge.runs.append(run)
    return _figures(edge, bare, connections)


def _figures(edge: Side, bare: Side, connections: int) -> list[Figure]:
    words = f"{connections} connection{'s' if connections > 1 else ''}"
    detail = {"edge": _records(edge.runs), "direct": _records(bare.runs), "edge_us": edge.edge_us}

    def figure(name: str, unit: str, field: str, more: dict[str, object]) -> Figure:
        return Figure("warm", f"{words}: {name}", unit, edge.median(field), bare.median(field), DIRECT, detail=more)

    return [
        figure("requests", "/s", "rate", detail),
        figure("latency p50", "ms", "p50_ms", {}),
        figure("latency p99", "ms", "p99_ms", {}),
        Figure("warm", f"{words}: HAProxy's CPU per request", "us", median(edge.edge_us)),
    ]


def _records(runs: Sequence[Load]) -> list[dict[str, float]]:
    return [{name: round(value, 3) for name, value in asdict(run).items()} for run in runs]


def listens_at(server: Server, instance_id: str) -> tuple[str, int]:
    """Where this awake instance's PocketBase listens."""
    words = psutil.Process(server.guest_pids(instance_id)[0]).cmdline()
    host, _, port = words[words.index("--http") + 1].rpartition(":")
    return host, int(port)
