"""Processor time of those that are awake follows what counts for them, however it changed; nothing is told twice."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from pocketfleet.domain.guest_limits import GuestLimits
from pocketfleet.domain.states import Process
from pocketfleet.errors import InstanceNotFound
from pocketfleet.operations.processor_time import ProcessorTime
from pocketfleet.runtime.guest import Guest
from pocketfleet.runtime.surroundings import SeenProcess

ONE, HALF = GuestLimits(cpus=1.0), GuestLimits(cpus=0.5)


class Yard:
    """A fleet with limits by instance, and what was told of them."""

    def __init__(self, **limits: GuestLimits) -> None:
        self.limits = limits
        self.told: list[tuple[str, float]] = []
        self.time = ProcessorTime(cast(Any, self), lambda key, limits: self.told.append((key, limits.cpus)))

    def guest_limits(self, instance_id: str) -> GuestLimits:
        if instance_id not in self.limits:
            raise InstanceNotFound(instance_id)
        return self.limits[instance_id]

    def guest(self, instance_id: str) -> Guest:
        here = Path("/")
        return Guest(instance_id, "0.40.6", here, here, "240.0.0.1", 1, {}, False, here, here, self.limits[instance_id])

    def see(self, instance_id: str, process: Process) -> None:
        self.time.seen(SeenProcess(instance_id, process))

    def wake(self, instance_id: str) -> None:
        self.see(instance_id, Process.WAKING)
        assert self.time.guest(instance_id).limits == self.limits[instance_id]
        self.see(instance_id, Process.AWAKE)


def test_a_wake_with_what_counts_is_told_nothing() -> None:
    yard = Yard(one=ONE)
    yard.wake("one")
    yard.time.renew_all()
    assert yard.told == []


def test_a_change_reaches_those_that_are_awake_once() -> None:
    yard = Yard(one=ONE, two=ONE, asleep=ONE)
    yard.wake("one")
    yard.wake("two")
    yard.limits |= {"one": HALF, "asleep": HALF}
    for _ in range(2):
        yard.time.renew_all()
        yard.time.renew(["one", "two", "asleep", "unknown"])
    assert yard.told == [("one", 0.5)]


def test_a_change_while_it_starts_is_told_when_it_is_up() -> None:
    yard = Yard(one=ONE)
    yard.see("one", Process.WAKING)
    yard.time.guest("one")
    yard.limits["one"] = HALF
    yard.time.renew_all()
    assert yard.told == [], "it has no group yet"
    yard.see("one", Process.AWAKE)
    assert yard.told == [("one", 0.5)]


def test_what_a_former_node_started_is_told() -> None:
    yard = Yard(one=HALF)
    yard.see("one", Process.AWAKE)
    yard.time.renew_all()
    assert yard.told == [("one", 0.5)]


def test_nothing_is_kept_of_those_that_sleep_failed_or_are_gone() -> None:
    yard = Yard(one=ONE, two=ONE, three=ONE)
    yard.wake("one")
    yard.see("one", Process.ASLEEP)
    yard.time.guest("two")
    yard.see("two", Process.FAILING)
    yard.wake("three")
    del yard.limits["three"]
    yard.limits |= {"one": HALF, "two": HALF}
    yard.time.renew_all()
    assert yard.told == []
    yard.see("three", Process.ASLEEP)
    assert (yard.time._given, yard.time._starting) == ({}, {})
