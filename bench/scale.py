"""Scale: 10,000 registered and 50 awake, beside 100 and 50: what rest costs, and how long things take."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from tests.server import EMAIL, PASSWORD, Server, running

from bench.client import get
from bench.figures import Figure
from bench.processes import commands, cpu_share, parts, pss
from bench.register import names, register

MANY = 10_000
FEW = 100
AWAKE = 50
#: Seconds at rest that are measured, after some in which what was just started settles.
REST = 30.0
SETTLE = 6.0
CREATED = 7
TEMPLATE = "template"
#: Percent of one processor by which cost at rest may differ: what one run differs from the next.
NOISE = 0.2


@dataclass(slots=True)
class Found:
    """What was found at one number of registered instances."""

    start: float = 0.0
    #: by part: percent of one processor, MB
    cpu: dict[str, float] = field(default_factory=dict)
    memory: dict[str, float] = field(default_factory=dict)
    wake: list[float] = field(default_factory=list)
    #: milliseconds: asked -> ready, and asked -> its first 200
    created: list[float] = field(default_factory=list)
    served: list[float] = field(default_factory=list)


def measure() -> list[Figure]:
    """All figures of scale; the few first."""
    few, many = measure_at(FEW), measure_at(MANY)
    return [*_rest(few, many), *_times(few, many)]


def measure_at(registered: int) -> Found:
    """Everything at so many registered ones."""
    found = Found()
    with running(counted=False, sandbox="off", idle_timeout=3600) as server:
        server.create(TEMPLATE)
        server.stop()
        register(server, TEMPLATE, registered - 1, AWAKE)
        began = time.perf_counter()
        server.start()
        found.start = time.perf_counter() - began
        for name in names(AWAKE):
            found.wake.append(_first_answer(server, name))
        time.sleep(SETTLE)
        made_of = parts(server)
        found.cpu = cpu_share(made_of, REST)
        assert _guests(server) == AWAKE, server.diagnosis()
        found.memory = {name: pss(pids) for name, pids in made_of.items()}
        for number in range(CREATED):
            _create(server, f"next{number}", found)
    return found


def _guests(server: Server) -> int:
    mark = f"{server.home}/instances/"
    return sum("serve" in words and any(mark in word for word in words) for words in commands())


def _first_answer(server: Server, name: str) -> float:
    began = time.perf_counter()
    found = get(("127.0.0.1", server.port), f"{name}.localhost:{server.port}")
    if found != 200:
        raise RuntimeError(f"{name} answered {found}\n{server.diagnosis()}")
    return 1000 * (time.perf_counter() - began)


def _create(server: Server, name: str, found: Found) -> None:
    body = {"name": name, "email": EMAIL, "password": PASSWORD}
    with server.api as api:
        # its connection is there, as a browser's would be
        api.get("/me").raise_for_status()
        began = time.perf_counter()
        answer = api.post("/instances", json=body)
        assert answer.status_code == 202, answer.text
        with api.stream("GET", f"/operations/{answer.json()['operation']['id']}/events") as events:
            last: dict[str, Any] = {}
            for line in events.iter_lines():
                last = json.loads(line.removeprefix("data:")) if line.startswith("data:") else last
        found.created.append(1000 * (time.perf_counter() - began))
        assert last["state"] == "succeeded", last
        _first_answer(server, name)
        found.served.append(1000 * (time.perf_counter() - began))


def _rest(few: Found, many: Found) -> list[Figure]:
    against = f"{FEW} registered, {AWAKE} awake"
    figures = []
    for name in few.cpu:
        grown = many.cpu[name] - few.cpu[name]
        goal, met = f"does not grow (by < {NOISE}%)", grown < NOISE
        title = f"{MANY:,} registered, {AWAKE} awake, at rest: CPU of {name}"
        figures.append(Figure("scale", title, "% of one", many.cpu[name], few.cpu[name], against, goal, met))
    for name in few.memory:
        figures.append(Figure("scale", f"… memory of {name} (PSS)", "MB", many.memory[name], few.memory[name], against))
    return figures


def _times(few: Found, many: Found) -> list[Figure]:
    against = f"{FEW} registered"
    detail = {"few": [few.created, few.served, few.wake], "many": [many.created, many.served, many.wake]}
    created, served, wake = (
        (median(getattr(many, name)), median(getattr(few, name))) for name in ("created", "served", "wake")
    )
    return [
        Figure("scale", "… serve -> greeting", "s", many.start, few.start, against),
        Figure("scale", f"… wake, median of {AWAKE}", "ms", *wake, against),
        Figure("scale", "… create the next one, ready", "ms", *created, against, "< 1 s", created[0] < 1000, detail),
        Figure("scale", "… create the next one, and its first 200", "ms", *served, against),
    ]
