"""How far the kernel lets an instance grow: the wall stands still, and what else is counted becomes less alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from pocketfleet.domain.guest_limits import GuestLimits
from pocketfleet.runtime.guest import Guest
from pocketfleet.runtime.sandbox import walls as module
from pocketfleet.runtime.sandbox.walls import SLACK, Walls
from pocketfleet.runtime.sizes import Amount, Measured

LIMIT = 1_000_000_000


class Kernel:
    """Counts and holds one project."""

    def __init__(self) -> None:
        self.now = Amount(0, 0)
        self.held: list[Amount | None] = []
        self.trouble: OSError | None = None

    def open(self) -> str:
        return ""

    def used(self, project: int) -> Amount:
        return self.now

    def hold(self, project: int, most: Amount | None) -> None:
        if self.trouble is not None:
            raise self.trouble
        self.held.append(most)

    def close(self) -> None:
        pass


class Instance:
    """One instance, its walls and what the kernel was told."""

    def __init__(self, folder: Path) -> None:
        self.kernel = Kernel()
        self.walls = Walls(cast(Any, self.kernel))
        self.walls.open([])
        self.folder = folder
        #: whether what lies there is what was there at the last start
        self.is_marked = False

    def begin(self, storage: int = LIMIT) -> None:
        self.walls.begin(
            Guest(
                instance_id="one",
                release="0.40.6",
                executable=self.folder,
                folder=self.folder,
                address="240.1.0.1",
                port=1,
                secrets={},
                dev=False,
                log_folder=self.folder,
                run_folder=self.folder,
                limits=GuestLimits(storage=storage),
            )
        )

    def measure(self, measured: Amount, before: Amount, after: Amount | None = None) -> None:
        self.kernel.now = after or before
        self.walls.measured("one", Measured(measured, counted=(before, after or before)))

    @property
    def told(self) -> list[Amount | None]:
        """Since it was asked for last."""
        if self.walls._thread is not None:
            self.walls._thread.submit(lambda: None).result()
        told, self.kernel.held = self.kernel.held, []
        return told


@pytest.fixture
def one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Instance:
    made = Instance(tmp_path)

    def marked(guest: Guest) -> bool:
        was, made.is_marked = made.is_marked, True
        return not was

    monkeypatch.setattr(module, "_marked", marked)
    return made


def wall(others: int, limit: int = LIMIT) -> Amount:
    return Amount(others, 0) + Amount.of(limit) + SLACK


def test_until_it_is_measured_it_may_have_its_storage_once_more(one: Instance) -> None:
    one.kernel.now = Amount(300_000_000, 0)
    one.begin()
    assert one.told == [wall(300_000_000)]


def test_the_wall_stands_still_while_somebody_writes(one: Instance) -> None:
    one.kernel.now = Amount(50_000_000, 0)
    one.begin()
    for gigabytes in (0.2, 0.9, 1.5, 3.0):
        size = Amount(int(gigabytes * 10**9), 0)
        one.measure(size, size + Amount(20_000_000, 0))
        one.walls.bound("one", Amount.of(LIMIT))
    # of what else was counted as it started 20 MB were left when it was measured first
    assert one.told == [wall(50_000_000), *[wall(20_000_000)] * 4]


def test_what_is_hidden_from_the_measurement_is_counted_all_the_same(one: Instance) -> None:
    one.begin()
    one.measure(Amount(0, 0), Amount(700_000_000, 0))
    one.walls.bound("one", Amount.of(LIMIT))
    assert one.told == [wall(0)] * 2


def test_what_is_written_or_deleted_while_it_is_measured_makes_the_wall_no_lower(one: Instance) -> None:
    one.kernel.now = Amount(500_000_000, 0)
    one.begin()
    # 100 MB were measured and are gone again; then 100 MB came after their folder had been looked at
    one.measure(Amount(200_000_000, 0), Amount(300_000_000, 0), Amount(200_000_000, 0))
    one.measure(Amount(200_000_000, 0), Amount(200_000_000, 0), Amount(300_000_000, 0))
    one.walls.bound("one", Amount.of(LIMIT))
    assert one.told[-1] == wall(100_000_000)


def test_what_has_taken_its_place_is_looked_at_anew(one: Instance) -> None:
    one.begin()
    one.measure(Amount(100, 0), Amount(100, 0))
    one.walls.end("one")
    assert one.told == [wall(0), None]
    # the same again, grown while it was at rest by somebody's hand
    one.kernel.now = Amount(400_000_000, 0)
    one.begin()
    one.walls.end("one")
    assert one.told == [wall(0), None]
    # another tree, and the one that it has replaced is counted, too
    one.kernel.now, one.is_marked = Amount(800_000_000, 0), False
    one.begin()
    assert one.told == [wall(800_000_000)]


def test_another_limit_counts_at_once_and_none_is_none(one: Instance) -> None:
    one.begin()
    one.measure(Amount(100, 0), Amount(100, 0))
    assert one.told == [wall(0)]
    one.walls.bound("one", Amount.of(2 * LIMIT))
    assert one.told == [wall(0, 2 * LIMIT)]
    one.walls.bound("one", None)
    one.walls.bound("one", None)
    assert one.told == [None]


def test_without_a_limit_the_kernel_is_left_alone(one: Instance) -> None:
    one.begin(storage=0)
    one.walls.bound("one", None)
    one.walls.end("one")
    assert one.told == []


def test_one_that_a_former_node_started_keeps_its_wall_until_it_is_measured(one: Instance) -> None:
    one.walls.found("one", 5)
    one.walls.bound("one", Amount.of(LIMIT))
    assert one.told == []
    one.measure(Amount(100, 0), Amount(300, 0))
    one.walls.bound("one", Amount.of(LIMIT))
    assert one.told == [wall(200)]
    one.walls.end("one")
    assert one.told == [None]


def test_walls_of_the_dead_are_taken_away(one: Instance) -> None:
    one.walls.close()
    one.walls.open([7, 8])
    assert one.told == [None, None]


def test_a_kernel_that_refuses_keeps_nobody_from_starting(one: Instance, caplog: pytest.LogCaptureFixture) -> None:
    one.kernel.trouble = OSError(5, "Input/output error")
    one.begin()
    one.walls.end("one")
    assert "not held by the file system: Input/output error" in caplog.text


def test_where_there_are_none_nothing_is_done(tmp_path: Path) -> None:
    one = Instance(tmp_path)
    one.walls.close()
    one.begin()
    one.walls.bound("one", Amount.of(LIMIT))
    one.walls.end("one")
    assert one.walls.counted("one") is None
    assert one.told == []
