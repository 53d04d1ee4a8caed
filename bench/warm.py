"""Warm traffic: requests per second and latency through the edge, beside PocketBase directly, and HAProxy's CPU."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median

import psutil
from tests.pocketbases import NEWEST
from tests.server import Server, make_notes, running

from bench.client import get
from bench.figures import Figure
from bench.load import WARM_UP, Load, generate
from bench.plain_edge import plain_edge
from bench.processes import cpu_seconds, parts


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of load: GETs, or POSTs where there is a body."""

    words: str
    path: str
    body: str
    connections: int


#: Turns of direct, edge, plain, direct, edge, plain ...
TURNS = 4
SECONDS = 2.0
#: A small public file: PocketBase's cheapest answer that it does not log, so the edge's share is as large as it gets.
PATH = "/bench.txt"
NOTE = '{"text":"a note of some thirty letters"}'
#: What is asked, how, and with how many connections.
LOADS = (
    Kind("1 connection", PATH, "", 1),
    Kind("16 connections", PATH, "", 16),
    Kind("128 connections", PATH, "", 128),
    Kind("16 connections, creating records", "/api/collections/notes/records", NOTE, 16),
)
DIRECT = "PocketBase directly"
PLAIN = "HAProxy with one route and no rules"


@dataclass(frozen=True, slots=True)
class Way:
    """A way to PocketBase: where it begins, and the HAProxy in between."""

    address: tuple[str, int]
    pids: list[int]


@dataclass(frozen=True, slots=True)
class Side:
    """The runs of one way at one number of connections."""

    runs: list[Load] = field(default_factory=list)
    #: microseconds of HAProxy's processor time per request, one of each run
    edge_us: list[float] = field(default_factory=list)

    def median(self, name: str) -> float:
        """The median over the runs of a field of Load."""
        return float(median(getattr(run, name) for run in self.runs))


def measure() -> list[Figure]:
    """All figures of warm traffic."""
    with running(counted=False, sandbox="off", idle_timeout=3600) as server:
        instance = server.create("warm")
        server.put(instance["id"], f"pb_public{PATH}", "x" * 50)
        host = f"warm.localhost:{server.port}"
        assert get(("127.0.0.1", server.port), host, PATH) == 200
        with server.client("warm") as client:
            make_notes(client, NEWEST)
        direct = listens_at(server, instance["id"])
        threads = len(list(Path(f"/proc/{parts(server)['edge'][-1]}/task").iterdir()))
        with plain_edge(direct, threads) as (pid, plain):
            ways = {
                "direct": Way(direct, []),
                "edge": Way(("127.0.0.1", server.port), parts(server)["edge"]),
                "plain": Way(plain, [pid]),
            }
            return [figure for kind in LOADS for figure in _compare(ways, host, kind)]


def _compare(ways: dict[str, Way], host: str, kind: Kind) -> list[Figure]:
    sides = {name: Side() for name in ways}
    for _ in range(TURNS):
        for name, way in ways.items():
            before = cpu_seconds(way.pids)
            run = generate(way.address, host, kind.path, kind.body, kind.connections, SECONDS)
            # the warm-up's requests are in the processor time, too: count them at the same rate
            asked = run.requests * (1 + WARM_UP / run.seconds)
            sides[name].edge_us.append(1e6 * (cpu_seconds(way.pids) - before) / asked)
            sides[name].runs.append(run)
    return _figures(sides, kind.words)


def _figures(sides: dict[str, Side], words: str) -> list[Figure]:
    edge, direct, plain = sides["edge"], sides["direct"], sides["plain"]
    detail = {name: {"runs": _records(side.runs), "haproxy_us": side.edge_us} for name, side in sides.items()}

    def figure(name: str, unit: str, of: str, more: dict[str, object]) -> Figure:
        return Figure("warm", f"{words}: {name}", unit, edge.median(of), direct.median(of), DIRECT, detail=more)

    return [
        figure("requests", "/s", "rate", dict(detail)),
        figure("latency p50", "ms", "p50_ms", {}),
        figure("latency p99", "ms", "p99_ms", {}),
        Figure("warm", f"{words}: HAProxy's CPU per request", "us", median(edge.edge_us), median(plain.edge_us), PLAIN),
    ]


def _records(runs: Sequence[Load]) -> list[dict[str, float]]:
    return [{name: round(value, 3) for name, value in asdict(run).items()} for run in runs]


def listens_at(server: Server, instance_id: str) -> tuple[str, int]:
    """Where this awake instance's PocketBase listens."""
    words = psutil.Process(server.guest_pids(instance_id)[0]).cmdline()
    host, _, port = words[words.index("--http") + 1].rpartition(":")
    return host, int(port)
