"""Upgrades: how long requests are held, there and back, beside stop + copy + start by hand on the same data."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from statistics import median
from typing import Any

from tests.pocketbases import JOURNEY_VERSIONS, NEWEST, executable
from tests.server import Server, running

from bench.asker import Asker
from bench.bare import Bare, Outside, outside
from bench.client import first_ok
from bench.figures import Figure
from bench.filling import GIGABYTE, MANY_FILES, SMALL, Amount, filled

OLD, NEW = JOURNEY_VERSIONS[-2], NEWEST
#: Pairs of one of ours and one by hand; fewer of what takes long.
PAIRS = 3
LARGE_PAIRS = 1
#: A list without its count, which costs the same whatever the size of the data.
PATH = "/api/collections/notes/records?perPage=1&skipTotal=1"
#: A safe probe that the new release cannot pass, so that everything is put back.
FAILING = {"method": "GET", "path": "/api/health", "expect_status": 418, "safe": True}
BY_HAND = "by hand: stop, cp -a, start -> 200"
BACK_BY_HAND = "by hand: that, stop, mv, start -> 200"


@dataclass(slots=True)
class Found:
    """Milliseconds, a sample each, of one amount of data."""

    longest: list[float] = field(default_factory=list)
    held: list[float] = field(default_factory=list)
    by_hand: list[float] = field(default_factory=list)
    rehearsal: list[float] = field(default_factory=list)
    steps: list[dict[str, float]] = field(default_factory=list)
    requests: int = 0
    failed: int = 0


def measure() -> list[Figure]:
    """All figures of upgrades, of as much data as is quick to measure."""
    return _measure(SMALL, PAIRS)


def measure_gigabyte() -> list[Figure]:
    """Those of 1 GB in one table; takes minutes, and some GB on the disk."""
    return _measure([GIGABYTE], LARGE_PAIRS)


def measure_many_files() -> list[Figure]:
    """Those of 50,000 small files; takes minutes."""
    return _measure([MANY_FILES], LARGE_PAIRS)


def _measure(amounts: Sequence[Amount], pairs: int) -> list[Figure]:
    figures = []
    for amount in amounts:
        # a server each, so that no more than one amount lies on the disk
        with (
            running(counted=False, sandbox="off", idle_timeout=3600, versions=(OLD, NEW)) as server,
            outside(server) as place,
        ):
            name = filled(server, amount, OLD)
            hand = ByHand(place, name)
            back = [_pair(server, name, hand, forced=True) for _ in range(pairs)]
            there = [_pair(server, name, hand, forced=False) for _ in range(pairs)]
            figures += [*_figures(amount, _together(there)), *_figures_back(amount, _together(back))]
    return figures


class ByHand:
    """The same data, changed by hand."""

    def __init__(self, place: Outside, name: str) -> None:
        self.old = place.like(name)
        self.new = Bare(executable(NEW), self.old.folder)
        place.made.append(self.new)
        self.data = self.old.folder / "pb_data"
        self.pristine = self.old.folder / "pristine"
        _cp(self.data, self.pristine)

    def change(self, *, forced: bool) -> float:
        """Milliseconds from the stop of the old release to the first 200; `forced`: of the old one, put back."""
        shutil.rmtree(self.data)
        _cp(self.pristine, self.data)
        copy = self.data.with_name("copy")
        self.old.wake()
        first_ok(self.old.address, "bare.localhost")
        os.sync()
        began = time.perf_counter()
        self.old.stop()
        _cp(self.data, copy)
        self.new.wake()
        if forced:
            self.new.stop()
            self.data.rename(self.data.with_name("changed"))
            copy.rename(self.data)
            self.old.wake()
        took = (time.perf_counter() - began) * 1000
        self.old.stop()
        self.new.stop()
        shutil.rmtree(copy, ignore_errors=True)
        shutil.rmtree(self.data.with_name("changed"), ignore_errors=True)
        return took


def _cp(source: os.PathLike[str], target: os.PathLike[str]) -> None:
    subprocess.run(["cp", "-a", "--reflink=auto", os.fspath(source), os.fspath(target)], check=True)


def _pair(server: Server, name: str, hand: ByHand, *, forced: bool) -> Found:
    found = Found(by_hand=[hand.change(forced=forced)])
    with server.api as api:
        probes = [FAILING] if forced else []
        api.put(f"/instances/{name}/probes", json={"items": probes}).raise_for_status()
    os.sync()
    asker = Asker(("127.0.0.1", server.port), f"{name}.localhost:{server.port}", PATH)
    with asker.asking():
        operation = _upgrade(server, name, "rolled_back" if forced else "succeeded")
    found.longest, found.held = [asker.longest], [float(operation["held_ms"])]
    found.requests, found.failed = len(asker.took), asker.failed
    found.steps = [{step["name"]: _took(step) for step in operation["steps"]}]
    found.rehearsal = [found.steps[0]["rehearse"]]
    if not forced:
        _go_back(server, name, str(operation["result"]["snapshot"]))
    return found


def _upgrade(server: Server, name: str, state: str) -> dict[str, Any]:
    body = {"range": NEW, "accept_changes": True}
    answer = server.api.post(f"/instances/{name}/upgrade", json=body).raise_for_status()
    return server.finished(answer.json()["operation"]["id"], state, timeout=900)


def _go_back(server: Server, name: str, snapshot: str) -> None:
    body = {"snapshot": snapshot, "accept_loss": True, "export": False}
    answer = server.api.post(f"/instances/{name}/rollback", json=body).raise_for_status()
    server.finished(answer.json()["operation"]["id"], timeout=900)


def _took(step: dict[str, Any]) -> float:
    if not step["started_at"] or not step["finished_at"]:
        return 0.0
    began, ended = (datetime.fromisoformat(step[key]) for key in ("started_at", "finished_at"))
    return (ended - began).total_seconds() * 1000


def _together(pairs: Sequence[Found]) -> Found:
    whole = Found()
    for found in pairs:
        for name in ("longest", "held", "by_hand", "rehearsal", "steps"):
            getattr(whole, name).extend(getattr(found, name))
        whole.requests += found.requests
        whole.failed += found.failed
    return whole


def _figures(amount: Amount, found: Found) -> list[Figure]:
    return [
        *_held(amount, found, f"upgrade of {amount.words}", BY_HAND),
        Figure("upgrade", "… its rehearsal", "s", median(found.rehearsal) / 1000),
    ]


def _figures_back(amount: Amount, found: Found) -> list[Figure]:
    return _held(amount, found, f"forced way back with {amount.words}", BACK_BY_HAND)


def _held(amount: Amount, found: Found, title: str, against: str) -> list[Figure]:
    hand, longest, held = median(found.by_hand), median(found.longest), median(found.held)
    detail = {
        "amount": amount.words,
        "samples": [found.longest, found.held, found.by_hand],
        "steps": found.steps,
        "requests": found.requests,
    }
    goal = f"no request fails ({found.failed} of {found.requests:,})"
    return [
        Figure("upgrade", f"{title}: longest request", "ms", longest, hand, against, goal, found.failed == 0, detail),
        Figure("upgrade", "… held, as we say", "ms", held, hand, against),
    ]
