"""Map files."""

from __future__ import annotations

import resource
import signal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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
