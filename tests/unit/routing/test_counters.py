"""Counting the edge's requests once each: whatever expires, reloads, overlaps or restarts."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pocketfleet import config as configuration
from pocketfleet.domain.usage import Counts
from pocketfleet.routing.counters import Counters

_HOME = configuration.load({}, home=Path("/tmp/pf-none"))


def line(key: str, born: int, requests: int, *, connections: int = 0, expires: int = 900_000) -> str:
    """As HAProxy 2.8 shows an entry; its other numbers follow from the requests."""
    return (
        f"0x7f483c0441b8: key={key} use=0 exp={expires} shard=0 gpt0={born} conn_cur={connections}"
        f" http_req_cnt={requests} http_err_cnt={requests // 2} bytes_in_cnt={100 * requests}"
        f" bytes_out_cnt={1000 * requests} http_fail_cnt={requests // 3}\n"
    )


def tables(workers: Mapping[int, Mapping[str, tuple[int, int]]]) -> dict[int, str]:
    """By worker, what it shows: beginning and requests by instance id."""
    return {
        worker: "# table: instances, type: string, size:204800, used:2\n"
        + "".join(line(key, born, requests) for key, (born, requests) in entries.items())
        for worker, entries in workers.items()
    }


def taken(counters: Counters) -> dict[str, int]:
    return {key: sample.counts.requests for key, sample in counters.take_samples().items()}


class Edge:
    """What HAProxy would show, and how many requests there really were."""

    def __init__(self) -> None:
        self.now = 1000
        self.worker = 1
        self.workers: dict[int, dict[str, tuple[int, int]]] = {1: {}}
        self.truth: Counter[str] = Counter()

    def request(self, key: str, count: int, worker: int | None = None) -> None:
        worker = self.worker if worker is None or worker not in self.workers else worker
        born, before = self.workers[worker].get(key, (self.now, 0))
        self.workers[worker][key] = (born, before + count)
        self.truth[key] += count

    def expire(self, key: str) -> None:
        for entries in self.workers.values():
            entries.pop(key, None)
        self.now += 1

    def reload(self) -> None:
        self.worker += 1
        self.now += 1
        self.workers[self.worker] = {}

    def end_old(self) -> None:
        self.workers = {self.worker: self.workers[self.worker]}


_ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("request"), st.sampled_from("abc"), st.integers(1, 50), st.integers(1, 4)),
        st.tuples(st.sampled_from(["expire"]), st.sampled_from("abc")),
        st.tuples(st.sampled_from(["reload", "end_old", "late", "take", "restart"])),
    ),
    max_size=40,
)


@settings(max_examples=200)
@given(_ACTIONS)
def test_every_request_is_counted_once(actions: list[tuple[object, ...]]) -> None:
    """Entries expire, HAProxy reloads, readings come late, node is killed and resumes: the sum is what there was."""
    edge, counters = Edge(), Counters(_HOME)
    written: Counter[str] = Counter()
    marks, lossy = "{}", False

    def write() -> None:
        nonlocal marks, lossy
        written.update(taken(counters))
        marks, lossy = json.dumps(counters.marks()), False

    before: dict[int, str] = {}
    for name, *facts in actions:
        late, before = before, tables(edge.workers)
        if name == "request":
            edge.request(*facts)  # type: ignore[arg-type]
        elif name in ("expire", "reload", "end_old"):
            getattr(edge, str(name))(*facts)
            lossy = lossy or name != "reload"
        elif name == "take":
            write()
        elif name == "restart":
            if lossy:
                # a kill may lose what only the reader still knew; an orderly end writes it
                write()
            counters = Counters(_HOME)
            counters.resume(json.loads(marks))
        counters._count(tables(edge.workers))
        if name == "late":
            counters._count(late)
            counters._count(tables(edge.workers))
    written.update(taken(counters))
    assert written == edge.truth


def test_a_node_that_was_killed_leaves_the_rest_to_its_successor() -> None:
    first = Counters(_HOME)
    first._count(tables({1: {"a": (10, 5), "b": (11, 2)}}))
    assert taken(first) == {"a": 5, "b": 2}
    kept = json.loads(json.dumps(first.marks()))
    first._count(tables({1: {"a": (10, 9), "b": (11, 2)}}))
    # killed: 4 requests of a were read and not written
    second = Counters(_HOME)
    second.resume(kept)
    second._count(tables({1: {"a": (10, 12), "b": (11, 2), "c": (50, 1)}}))
    assert taken(second) == {"a": 7, "c": 1}
    assert (second._traffic("a", 0, 0).requests, second._traffic("b", 0, 0).requests) == (12, 2)


def test_a_restarted_haproxy_counts_from_nothing() -> None:
    counters = Counters(_HOME)
    counters._count(tables({1: {"a": (10, 500)}}))
    assert taken(counters) == {"a": 500}
    # the same process id, as in a container
    counters._count(tables({1: {"a": (90, 3)}}))
    assert taken(counters) == {"a": 3}


def test_an_entry_that_has_only_just_begun_waits_for_the_next_reading() -> None:
    counters = Counters(_HOME)
    open_now = counters._count({1: line("a", 0, 1, connections=1)})
    assert open_now == {"a": 1}
    assert taken(counters) == {}
    counters._count({1: line("a", 1234, 1)})
    assert taken(counters) == {"a": 1}


def test_all_numbers_are_taken_and_the_traffic_adds_up() -> None:
    counters = Counters(_HOME)
    counters._count(tables({1: {"a": (10, 6)}, 2: {"a": (10, 4)}}))
    assert counters.take_samples()["a"].counts == Counts(10, 5, 3, 1000, 10_000)
    assert (counters._traffic("a", 2, 1).requests, counters._traffic("a", 2, 1).failed) == (10, 3)


def test_the_last_request_is_when_its_entry_was_touched_last(monkeypatch: pytest.MonkeyPatch) -> None:
    counters = Counters(_HOME)
    monkeypatch.setattr("time.time", lambda: 1_800_000_000.0)
    counters._count({1: line("a", 10, 1, expires=870_000), 2: line("a", 12, 1, expires=890_000)})
    assert counters.take_samples()["a"].last_request_at.timestamp() == 1_800_000_000 - 10
    # nothing new: no sample, however fresh the entry looks
    counters._count({2: line("a", 12, 1, expires=900_000)})
    assert counters.take_samples() == {}


def test_marks_of_expired_entries_go_and_others_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    counters = Counters(_HOME)
    counters._count(tables({1: {"a": (10, 1), "b": (10, 1)}}))
    now += 30
    counters._count(tables({1: {"b": (10, 1)}}))
    assert set(counters.marks()) == {"a", "b"}, "a reading that overlaps may not show it"
    now += 40
    counters._count(tables({1: {"b": (10, 1)}}))
    assert set(counters.marks()) == {"b"}


def test_counts_of_what_nobody_asks_for_are_dropped_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    counters, edge = Counters(_HOME), Edge()
    for number in range(1000):
        edge.request(f"i{number}", 7)
    counters._count(tables(edge.workers))
    for number in range(1, 1000):
        edge.expire(f"i{number}")
    edge.request("i0", 1)
    monkeypatch.setattr("pocketfleet.routing.counters._GONE_AFTER", 0.0)
    counters._count(tables(edge.workers))
    counters.marks()
    assert len(counters._totals) == 1000, "within the hour the count goes on where it was"
    monkeypatch.setattr("pocketfleet.routing.counters.FORGOTTEN_AFTER", 0.0)
    counters._count(tables(edge.workers))
    counters.marks()
    assert {key: count.requests for key, count in counters._totals.items()} == {"i0": 8}
