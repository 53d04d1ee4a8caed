"""Room that is taken without showing in any size is counted, and an instance over its limit is told of once."""

from __future__ import annotations

import ctypes
import mmap
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from pocketfleet.domain.guest_limits import GuestLimits
from pocketfleet.domain.states import Process
from pocketfleet.errors import InstanceNotFound
from pocketfleet.operations.limits import Limits
from pocketfleet.runtime.errands import Errand
from pocketfleet.runtime.sizes import Amount, Measured, measure_folder, nameless_bytes
from pocketfleet.runtime.surroundings import SeenProcess

_KEEP_SIZE = 1


class Fleet:
    """Takes note of who is full; knows one instance."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.full: dict[str, bool] = {}
        self.excused = False

    def storage(self, instance_id: str) -> int:
        return self.limit if instance_id == "one" else 0

    def must_make_room(self, instance_id: str) -> bool:
        return self.full[instance_id] and not self.excused

    def guest_limits(self, instance_id: str) -> GuestLimits:
        if instance_id != "one":
            raise InstanceNotFound(instance_id)
        return GuestLimits(storage=self.limit)

    def is_full(self, instance_id: str, full: bool) -> None:
        self.full[instance_id] = full


def limits(storage: int) -> tuple[Limits, Fleet, list[Amount | str | None]]:
    """The third: what it may have in all, each time that was said, and "measure" where that was asked for."""
    fleet = Fleet(storage)
    said: list[Amount | str | None] = []
    nobody: Any = SimpleNamespace()
    of = Limits(
        cast(Any, fleet),
        nobody,
        nobody,
        bound=lambda _, most: said.append(most),
        measure=lambda _: said.append("measure"),
    )
    return of, fleet, said


def size(count: int, names: int = 1, *, whole: bool = True, too_deep: bool = False) -> Measured:
    return Measured(Amount(count, names), whole, too_deep)


def told(of: Limits) -> list[str]:
    """Kinds of the events that wait to be told."""
    kinds = []
    while not of._events.empty():
        kinds.append(of._events.get_nowait().kind)
    return kinds


def test_room_taken_ahead_counts(tmp_path: Path) -> None:
    library = ctypes.CDLL(None, use_errno=True)
    library.fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]
    for name, ahead in (("large", 5_000_000), ("small", 60_000)):
        with (tmp_path / name).open("wb") as opened:
            assert library.fallocate(opened.fileno(), _KEEP_SIZE, 0, ahead) == 0
    assert 5_060_000 <= measure_folder(tmp_path, Errand()).bytes < 5_100_000


def test_what_is_on_the_disk_counts_and_what_is_said_to_be(tmp_path: Path) -> None:
    empty = measure_folder(tmp_path, Errand()).bytes
    (tmp_path / "small").write_text("abc")
    with (tmp_path / "sparse").open("wb") as opened:
        opened.truncate(10_000_000)
    blocks = (tmp_path / "small").stat().st_blocks * 512
    assert measure_folder(tmp_path, Errand()).bytes == empty + max(blocks, 3) + 10_000_000
    # folders take room, too, and keep it when they are empty again
    (tmp_path / "folder").mkdir()
    for number in range(2000):
        (tmp_path / "folder" / f"{number}-{'x' * 200}").touch()
    full = (tmp_path / "folder").stat().st_blocks * 512
    assert measure_folder(tmp_path, Errand()).bytes == empty + max(blocks, 3) + 10_000_000 + full


def test_files_without_a_name_count(tmp_path: Path) -> None:
    before = nameless_bytes([os.getpid()])
    with (tmp_path / "ghost").open("wb", buffering=0) as opened:
        opened.write(b"x" * 100_000)
        assert nameless_bytes([os.getpid()]) == before
        (tmp_path / "ghost").unlink()
        assert nameless_bytes([os.getpid(), os.getpid()]) == before + max(
            100_000, os.fstat(opened.fileno()).st_blocks * 512
        )


def test_files_in_memory_without_a_name_count(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("ONLY ROOT SEES WHAT A PROCESS HAS MAPPED: not tested here")
    before = nameless_bytes([os.getpid()])
    with (tmp_path / "ghost").open("w+b") as opened:
        opened.write(b"x" * 1_048_576)
        opened.flush()
        mapped = mmap.mmap(opened.fileno(), 0)
    (tmp_path / "ghost").unlink()
    assert nameless_bytes([os.getpid()]) >= before + 1_048_576
    mapped.close()
    assert nameless_bytes([os.getpid()]) == before


def test_each_step_is_told_once() -> None:
    of, fleet, _ = limits(1_000_000)
    for count in (500_000, 950_000, 960_000):
        of.measured("one", size(count))
    assert (told(of), fleet.full["one"]) == (["storage_low"], False)
    for count in (1_000_001, 1_500_000):
        of.measured("one", size(count))
    assert (told(of), fleet.full["one"]) == (["storage_full"], True)
    of.measured("one", size(100_000))
    assert (told(of), fleet.full["one"]) == ([], False)
    of.measured("one", size(2_000_000))
    assert told(of) == ["storage_full"]


def test_without_a_limit_nothing_is_full() -> None:
    of, fleet, said = limits(0)
    of.measured("one", size(10**12, 10**7, whole=False, too_deep=True))
    assert (told(of), fleet.full, said) == ([], {"one": False}, [None])


def test_many_small_files_take_room_too() -> None:
    of, fleet, _ = limits(204_800)
    of.measured("one", size(0, 90))
    assert (told(of), fleet.full["one"]) == ([], False)
    of.measured("one", size(0, 91))
    text = of._events._queue[0].text  # type: ignore[attr-defined]
    assert text.startswith("0 MB of 0 MB of storage are used, and 91 files and folders, where there may be 100. At the")
    of.measured("one", size(0, 101, whole=False))
    assert (told(of), fleet.full["one"]) == (["storage_low", "storage_full"], True)


def test_what_lies_too_deep_to_be_measured_is_not_free() -> None:
    of, fleet, _ = limits(10**9)
    of.measured("one", size(0, 100, whole=False, too_deep=True))
    assert fleet.full["one"]
    assert of._events.get_nowait().text.startswith("Its folders lie in each other too deeply to be measured, so it")


def test_more_names_than_can_be_counted_in_time_are_too_many() -> None:
    of, fleet, _ = limits(2**40)
    of.measured("one", size(10**9, 1_000_000))
    assert not fleet.full["one"]
    of.measured("one", size(10**9, 1_000_001, whole=False))
    assert fleet.full["one"]


def test_the_kernel_is_told_what_it_may_have() -> None:
    of, fleet, said = limits(204_800)
    for count, names in ((9_600, 40), (500_000, 140)):
        of.measured("one", size(count, names))
    # the same, however much it has; and as much again while it is to make room
    assert said == [Amount(204_800, 100)] * 2
    fleet.excused = True
    of.renew(["one"])
    fleet.limit = 0
    of.renew_all()
    assert said[2:] == [Amount(409_600, 200), None]
    assert not fleet.full["one"]


def test_another_limit_counts_at_once() -> None:
    of, fleet, said = limits(3_000_000)
    of.measured("one", size(2_000_000))
    of.renew_all()
    assert len(said) == 1
    fleet.limit = 1_000_000
    of.renew(["one", "other"])
    assert (told(of), fleet.full["one"], len(said)) == (["storage_full"], True, 2)
    fleet.limit = 3_000_000
    of.renew_all()
    assert (told(of), fleet.full["one"]) == ([], False)


def test_what_was_not_looked_through_is_measured_anew_and_so_is_what_had_no_limit() -> None:
    of, fleet, said = limits(204_800)
    of.measured("one", size(0, 101, whole=False))
    fleet.limit = 2_048_000
    of.renew_all()
    assert said[1:] == ["measure"]
    of.measured("one", size(0, 500))
    assert not fleet.full["one"]
    fleet.limit = 0
    of.renew_all()
    fleet.limit = 100
    of.renew_all()
    assert said[-2:] == [None, "measure"]
    assert not fleet.full["one"]


def test_one_that_is_gone_is_forgotten() -> None:
    of, fleet, said = limits(1000)
    of.measured("other", size(5000))
    of.renew_all()
    assert (told(of), fleet.full, said, of._measured) == ([], {}, [], {})


def test_ends_for_memory_are_one_event_an_hour() -> None:
    of, _, _ = limits(0)
    for _ in range(3):
        of.seen(SeenProcess("one", Process.ASLEEP, "PocketBase was ended: too much", out_of_memory=True))
    of.seen(SeenProcess("two", Process.ASLEEP))
    assert told(of) == ["out_of_memory"]
