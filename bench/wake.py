"""Waking: a request to an asleep instance until its 200, beside bare exec until the first 200 on the same data."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Callable, Mapping
from statistics import median

from tests.server import EMAIL, PASSWORD, Server, running

from bench.bare import Bare, Outside, copy, outside, write_log_rows
from bench.client import ask, get
from bench.figures import Figure, p25, p95, spread

#: Pairs of one wake of ours and one bare start, in turn.
PAIRS = 50
LOG_PAIRS = 20
LOG_ROWS = 100_000
TOGETHER = 20
CROWD = 300
#: Storms are repeated, since one is one sample.
STORMS = 5


def measure() -> list[Figure]:
    """All figures of waking."""
    # instances go to sleep when they are told to, never by themselves in the middle of a pair
    with running(counted=False, sandbox="off", idle_timeout=3600) as server, outside(server) as place:
        figures = [*_alone(server, place), *_long_log(server, place)]
    # a wrapper counts the starts; the bare ones are started by the same wrapper, so the ratio stays honest
    with running(counted=True, idle_timeout=3600) as server, outside(server) as place:
        return [*figures, *_together(server, place), *_crowd(server, place)]


def _alone(server: Server, place: Outside) -> list[Figure]:
    server.create("alone")
    get(_edge(server), _host(server, "alone"))
    put_to_sleep(server, "alone")
    ours, bare = pairs(server, "alone", place.like("alone"), PAIRS)
    # of each pair, since what else runs on the machine slows both of it
    added = median(one - other for one, other in zip(ours, bare, strict=True))
    detail = {"ours": spread(ours), "bare": spread(bare), "pairs": PAIRS, "added": added, "samples": [ours, bare]}
    against = "bare exec -> first 200, same data"
    median_goal = f"<= 10 ms more (pair by pair: {added:.1f}); aim 1.2x"
    return [
        _figure("wake, median", "ms", ours, bare, median, against, median_goal, added <= 10, detail),
        _figure("wake, p25: the machine to itself", "ms", ours, bare, p25, against, "", None, {}),
        _figure("wake, p95", "ms", ours, bare, p95, against, "<= 2x", p95(ours) <= 2 * p95(bare), {}),
    ]


def _long_log(server: Server, place: Outside) -> list[Figure]:
    instance = server.create("logful")
    folder = server.home / "instances" / instance["id"]
    # data that nobody but PocketBase has touched, so that the bare one has nothing that we add when one goes to sleep
    bare = place.like("logful")
    shutil.rmtree(bare.folder / "pb_data")
    bare.make_superuser(EMAIL, PASSWORD)
    write_log_rows(bare.folder, LOG_ROWS)
    copy(bare.folder / "pb_data", folder / "pb_data")
    get(_edge(server), _host(server, "logful"))
    put_to_sleep(server, "logful")
    ours, untouched = pairs(server, "logful", bare, LOG_PAIRS)
    name = f"wake with {LOG_ROWS:,} rows in the request log, median"
    detail = {"ours": spread(ours), "bare": spread(untouched), "samples": [ours, untouched]}
    met = median(ours) < median(untouched)
    against = "bare exec -> first 200, untouched data"
    return [_figure(name, "ms", ours, untouched, median, against, "less than bare", met, detail)]


def _together(server: Server, place: Outside) -> list[Figure]:
    names = [f"many{number}" for number in range(TOGETHER)]
    ids = {name: str(server.create(name)["id"]) for name in names}
    bares = [place.like(name) for name in names]
    ours, bare, twice, failed = [], [], 0, 0
    for _ in range(STORMS):
        before = {name: server.starts(ids[name]) for name in names}
        took, answers = storm([(_edge(server), _host(server, name)) for name in names])
        ours.append(took)
        failed += sum(answer != 200 for answer in answers)
        twice += sum(server.starts(ids[name]) - before[name] != 1 for name in names)
        for name in names:
            put_to_sleep(server, name)
        bare.append(_bare_storm(bares, 1))
    against = f"{TOGETHER} bare execs at once"
    detail = {"ours": ours, "bare": bare}
    time_of_all = _figure(
        f"{TOGETHER} asleep, one request each: all answered, median",
        "ms",
        ours,
        bare,
        median,
        against,
        "",
        None,
        detail,
    )
    asked = f"0 of {TOGETHER * STORMS}"
    return [
        time_of_all,
        Figure("wake", "… requests without a 200", "", failed, goal=asked, met=failed == 0),
        Figure("wake", "… instances not started exactly once", "", twice, goal=asked, met=twice == 0),
    ]


def _crowd(server: Server, place: Outside) -> list[Figure]:
    instance = str(server.create("crowd")["id"])
    bares = [place.like("crowd")]
    ours, bare, starts, failed = [], [], [], 0
    for _ in range(STORMS):
        before = server.starts(instance)
        took, answers = storm([(_edge(server), _host(server, "crowd"))] * CROWD)
        ours.append(took)
        failed += sum(answer != 200 for answer in answers)
        starts.append(server.starts(instance) - before)
        put_to_sleep(server, "crowd")
        bare.append(_bare_storm(bares, CROWD))
    against = f"bare exec, {CROWD} requests"
    most, name = max(starts), f"{CROWD} requests at once on one asleep: all answered, median"
    return [
        _figure(name, "ms", ours, bare, median, against, "", None, {"ours": ours, "bare": bare}),
        Figure("wake", "… requests without a 200", "", failed, goal=f"0 of {CROWD * STORMS}", met=failed == 0),
        Figure("wake", "… starts, most of a storm", "", most, goal="1", met=set(starts) == {1}),
    ]


def pairs(server: Server, name: str, bare: Bare, count: int) -> tuple[list[float], list[float]]:
    """Milliseconds of `count` wakes of a sleeping instance and of as many bare starts, in turn."""
    ours, others = [], []
    for _ in range(count):
        ours.append(_wake(server, name))
        put_to_sleep(server, name)
        others.append(bare.wake())
        bare.stop()
    return ours, others


def _wake(server: Server, name: str) -> float:
    began = time.perf_counter()
    found = get(_edge(server), _host(server, name))
    took = (time.perf_counter() - began) * 1000
    if found != 200:
        raise RuntimeError(f"{name} answered {found} instead of 200\n{server.diagnosis()}")
    return took


def put_to_sleep(server: Server, name: str) -> None:
    """Have an instance sleep, its files in order."""
    answer = server.api.post(f"/instances/{name}/sleep")
    assert answer.status_code == 202, answer.text
    server.finished(answer.json()["operation"]["id"])
    assert not server.guest_pids(server.show(name)["id"]), "it sleeps, they say, but its process is there"


def storm(targets: list[tuple[tuple[str, int], str]]) -> tuple[float, list[int]]:
    """Milliseconds until the last of these requests, sent at once, is answered; and the answers' statuses."""

    async def all_of_them() -> tuple[float, list[int]]:
        began = time.perf_counter()
        answers = await asyncio.gather(*(ask(address, host) for address, host in targets))
        return (time.perf_counter() - began) * 1000, answers

    return asyncio.run(all_of_them())


def _bare_storm(bares: list[Bare], requests: int) -> float:
    began = time.perf_counter()
    for bare in bares:
        bare.start()
    started = (time.perf_counter() - began) * 1000
    took, answers = storm([(bare.address, "bare.localhost") for bare in bares for _ in range(requests)])
    for bare in bares:
        bare.stop()
    assert set(answers) == {200}, answers
    return started + took


def _figure(
    name: str,
    unit: str,
    ours: list[float],
    other: list[float],
    of: Callable[[list[float]], float],
    against: str,
    goal: str,
    met: bool | None,
    detail: Mapping[str, object],
) -> Figure:
    return Figure("wake", name, unit, of(ours), of(other), against, goal, met, dict(detail))


def _edge(server: Server) -> tuple[str, int]:
    return ("127.0.0.1", server.port)


def _host(server: Server, name: str) -> str:
    return f"{name}.localhost:{server.port}"
