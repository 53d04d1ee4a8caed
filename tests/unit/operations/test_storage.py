"""Room that is taken without showing in any size is counted, and an instance over its limit is told of once."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from pocketfleet.domain.states import Process
from pocketfleet.operations.limits import Limits
from pocketfleet.runtime.errands import Errand
from pocketfleet.runtime.sizes import measure_folder, nameless_bytes
from pocketfleet.runtime.surroundings import SeenProcess

_KEEP_SIZE = 1


class Fleet:
    """Takes note of who is full."""

    def __init__(self) -> None:
        self.full: dict[str, bool] = {}

    def is_full(self, instance_id: str, full: bool) -> None:
        self.full[instance_id] = full


def limits(storage: int) -> tuple[Limits, Fleet]:
    fleet = Fleet()
    nobody: Any = SimpleNamespace()
    return Limits(cast(Any, fleet), nobody, nobody, storage), fleet


def told(of: Limits) -> list[str]:
    """Kinds of the events that wait to be told."""
    kinds = []
    while not of._events.empty():
        kinds.append(of._events.get_nowait().kind)
    return kinds


def test_room_taken_ahead_counts(tmp_path: Path) -> None:
    with (tmp_path / "ahead").open("wb") as opened:
        library = ctypes.CDLL(None, use_errno=True)
        library.fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]
        assert library.fallocate(opened.fileno(), _KEEP_SIZE, 0, 5_000_000) == 0
    (tmp_path / "small").write_text("abc")
    assert 5_000_003 <= measure_folder(tmp_path, Errand()).bytes < 5_100_000


def test_files_without_a_name_count(tmp_path: Path) -> None:
    before = nameless_bytes([os.getpid()])
    with (tmp_path / "ghost").open("wb", buffering=0) as opened:
        opened.write(b"x" * 100_000)
        assert nameless_bytes([os.getpid()]) == before
        (tmp_path / "ghost").unlink()
        assert nameless_bytes([os.getpid(), os.getpid()]) == before + 100_000


def test_each_step_is_told_once() -> None:
    of, fleet = limits(1000)
    for size in (500, 950, 960):
        of.measured("one", size)
    assert (told(of), fleet.full["one"]) == (["storage_low"], False)
    for size in (1001, 1500):
        of.measured("one", size)
    assert (told(of), fleet.full["one"]) == (["storage_full"], True)
    of.measured("one", 100)
    assert (told(of), fleet.full["one"]) == ([], False)
    of.measured("one", 2000)
    assert told(of) == ["storage_full"]


def test_without_a_limit_nothing_is_full() -> None:
    of, fleet = limits(0)
    of.measured("one", 10**12)
    assert (told(of), fleet.full) == ([], {})


def test_ends_for_memory_are_one_event_an_hour() -> None:
    of, _ = limits(0)
    for _ in range(3):
        of.seen(SeenProcess("one", Process.ASLEEP, "PocketBase was ended: too much", out_of_memory=True))
    of.seen(SeenProcess("two", Process.ASLEEP))
    assert told(of) == ["out_of_memory"]
