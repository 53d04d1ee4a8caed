"""Map files."""

from __future__ import annotations

import resource
import signal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pocketfleet import config as configuration
from pocketfleet.routing.counters import Counters
from pocketfleet.routing.maps import MapFile
from pocketfleet.routing.rendering import connections_that_fit

WORDS = st.from_regex(r"\A[a-z0-9.:-]{1,30}\Z")


def test_what_is_written_is_read(home: Path) -> None:
    @settings(max_examples=30)
    @given(st.dictionaries(WORDS, WORDS), st.dictionaries(WORDS, WORDS))
    def check(first: dict[str, str], second: dict[str, str]) -> None:
        file = MapFile(home / "x.map")
        file.write(first)
        file.append({key: value for key, value in second.items() if key not in first})
        assert file.read() == second | first
        assert [path.name for path in home.iterdir()] == ["x.map"]

    check()


def test_a_line_cut_short_is_no_entry(home: Path) -> None:
    (home / "x.map").write_text("a b\nc")
    assert MapFile(home / "x.map").read() == {"a": "b"}
    assert MapFile(home / "missing.map").read() == {}


def test_a_full_disk_leaves_no_half_line(home: Path) -> None:
    file = MapFile(home / "x.map")
    file.write({"a.localhost": "b"})
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20, hard))
    try:
        with pytest.raises(OSError):
            file.append({"long.localhost": "c"})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    file.append({"d.localhost": "e"})
    assert file.read() == {"a.localhost": "b", "d.localhost": "e"}


def test_each_client_may_take_four_descriptors() -> None:
    assert connections_that_fit(4000, 1_000_000) == 4000
    for descriptors in (1024, 4096, 20_000):
        fitting = connections_that_fit(4000, descriptors)
        assert 4 * fitting + 600 <= max(descriptors, 680)


def test_requests_only_grow_over_reloads_and_forgotten_entries(home: Path) -> None:
    counters = Counters(configuration.load({}, home=home))
    seen = []
    for tables in ({1: 5}, {1: 6}, {2: 0, 1: 7}, {2: 7, 1: 7}, {2: 9}, {}, {2: 1}, {2: 1}):
        text = {
            worker: f"0x1: key=abc use=0 exp=1 shard=0 conn_cur=1 http_req_cnt={count}"
            for worker, count in tables.items()
        }
        assert counters._count(text)["abc"] == len(tables)
        seen.append(counters._requests["abc"])
    assert seen == sorted(seen)
    # Every new request shows; what did not change does not.
    assert seen[1] > seen[0]
    assert seen[6] > seen[5]
    assert seen[7] == seen[6]


def test_counts_of_what_nobody_asks_for_are_dropped_after_a_while(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counters = Counters(configuration.load({}, home=home))
    text = "0x1: key={} use=0 exp=1 shard=0 conn_cur=0 http_req_cnt={} http_fail_cnt=0"
    counters._count({1: "\n".join(text.format(f"i{number}", 7) for number in range(1000))})
    counters._count({1: text.format("i0", 8)})
    assert len(counters._requests) == 1000
    monkeypatch.setattr("pocketfleet.routing.counters.FORGOTTEN_AFTER", 0.0)
    counters._count({1: text.format("i0", 9)})
    assert (counters._requests, counters._failed, counters._absent) == ({"i0": 9}, {"i0": 0}, {})
    counters._count({1: text.format("i0", 9) + "\n" + text.format("i1", 1)})
    assert counters._requests == {"i0": 9, "i1": 1}
