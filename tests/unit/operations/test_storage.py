"""Room that is taken without showing in any size is counted, and an instance over its limit is told of once."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from pocketfleet.domain.guest_limits import GuestLimits
from pocketfleet.domain.states import Process
from pocketfleet.errors import InstanceNotFound
from pocketfleet.operations.limits import Limits
from pocketfleet.runtime.errands import Errand
from pocketfleet.runtime.sizes import Room, Size, measure_folder, nameless_bytes
from pocketfleet.runtime.surroundings import SeenProcess

_KEEP_SIZE = 1


class Fleet:
    """Takes note of who is full; knows one instance."""

    def __init__(self, storage: int) -> None:
        self.storage = storage
        self.full: dict[str, bool] = {}
        self.excused = False

    def must_make_room(self, instance_id: str) -> bool:
        return self.full[instance_id] and not self.excused

    def guest_limits(self, instance_id: str) -> GuestLimits:
        if instance_id != "one":
            raise InstanceNotFound(instance_id)
        return GuestLimits(storage=self.storage)

    def is_full(self, instance_id: str, full: bool) -> None:
        self.full[instance_id] = full


def limits(storage: int) -> tuple[Limits, Fleet, list[Room | None]]:
    """The third: what it was given besides what it had, each time."""
    fleet = Fleet(storage)
    rooms: list[Room | None] = []
    nobody: Any = SimpleNamespace()
    return Limits(cast(Any, fleet), nobody, nobody, lambda _, room: rooms.append(room)), fleet, rooms


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
    of, fleet, _ = limits(1_000_000)
    for size in (500_000, 950_000, 960_000):
        of.measured("one", Size(size))
    assert (told(of), fleet.full["one"]) == (["storage_low"], False)
    for size in (1_000_001, 1_500_000):
        of.measured("one", Size(size))
    assert (told(of), fleet.full["one"]) == (["storage_full"], True)
    of.measured("one", Size(100_000))
    assert (told(of), fleet.full["one"]) == ([], False)
    of.measured("one", Size(2_000_000))
    assert told(of) == ["storage_full"]


def test_without_a_limit_nothing_is_full() -> None:
    of, fleet, rooms = limits(0)
    of.measured("one", Size(10**12, 10**7, whole=False))
    assert (told(of), fleet.full, rooms) == ([], {"one": False}, [None])


def test_many_small_files_take_room_too() -> None:
    of, fleet, _ = limits(409_600)
    of.measured("one", Size(0, 90))
    assert (told(of), fleet.full["one"]) == ([], False)
    of.measured("one", Size(0, 91))
    text = of._events._queue[0].text  # type: ignore[attr-defined]
    assert text.startswith("0 MB of 0 MB of storage are used, and 91 files and folders of the 100 that have room there")
    of.measured("one", Size(0, 101, whole=False))
    assert (told(of), fleet.full["one"]) == (["storage_low", "storage_full"], True)


def test_what_lies_too_deep_to_be_measured_is_not_free() -> None:
    of, fleet, _ = limits(10**9)
    of.measured("one", Size(0, 100, whole=False))
    assert fleet.full["one"]
    assert of._events.get_nowait().text.startswith("Its folders lie in each other too deeply to be measured, so it")


def test_the_kernel_is_told_what_is_left() -> None:
    of, fleet, rooms = limits(409_600)
    of.measured("one", Size(9_600, 40))
    of.measured("one", Size(500_000, 140))
    fleet.excused = True
    of.renew_all()
    fleet.storage = 0
    of.renew_all()
    # whoever is over it gets nothing more, and as much again once it is to make room
    assert rooms == [Room(400_000, 60), Room(-90_400, -40), Room(409_600, 100), None]
    assert not fleet.full["one"]


def test_another_limit_counts_for_what_was_measured() -> None:
    of, fleet, rooms = limits(0)
    of.measured("one", Size(2_000_000))
    fleet.storage = 1_000_000
    of.renew(["one", "other"])
    assert (told(of), fleet.full["one"], len(rooms)) == (["storage_full"], True, 2)
    fleet.storage = 3_000_000
    of.renew_all()
    assert (told(of), fleet.full["one"]) == ([], False)


def test_one_that_is_gone_is_forgotten() -> None:
    of, fleet, rooms = limits(1000)
    of.measured("other", Size(5000))
    of.renew_all()
    assert (told(of), fleet.full, rooms, of._sizes) == ([], {}, [], {})


def test_ends_for_memory_are_one_event_an_hour() -> None:
    of, _, _ = limits(0)
    for _ in range(3):
        of.seen(SeenProcess("one", Process.ASLEEP, "PocketBase was ended: too much", out_of_memory=True))
    of.seen(SeenProcess("two", Process.ASLEEP))
    assert told(of) == ["out_of_memory"]
