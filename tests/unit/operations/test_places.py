"""Room for a team's instances: made by the longest idle, never by a busy one, never more than the limit."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import cast

import pytest

from pocketfleet.domain.instances import InstanceFacts
from pocketfleet.errors import InstanceNotFound, TeamAtLimit
from pocketfleet.operations import places as module
from pocketfleet.operations.fleet import Fleet
from pocketfleet.operations.places import TeamPlaces


class Yard:
    """A fleet, its processes and how idle each is, all in one."""

    def __init__(self, limits: dict[str, int]) -> None:
        self.limits = limits
        self.known: dict[str, InstanceFacts] = {}
        self.running: set[str] = set()
        #: the longest idle first
        self.idle: list[str] = []
        self.slept: list[str] = []
        self.most = 0
        #: somebody looked for one that could sleep
        self.looked = asyncio.Event()

    def add(self, name: str, team: str = "acme", *, up: bool = False) -> InstanceFacts:
        self.known[name] = InstanceFacts(id=name, name=name, address="", release="", team=team)
        self.running |= {name} if up else set()
        return self.known[name]

    def facts(self, instance_id: str) -> InstanceFacts:
        if instance_id not in self.known:
            raise InstanceNotFound(instance_id)
        return self.known[instance_id]

    def awake_limit(self, team: str) -> int:
        return self.limits.get(team, 0)

    def up(self) -> set[str]:
        return set(self.running)

    async def sleep(self, instance_id: str, *, cause: str, drain: float | None, quiet_only: bool) -> bool:
        assert quiet_only, "requests must never be cut off to make room"
        await asyncio.sleep(0)
        if instance_id not in self.idle:
            return False
        self.running.discard(instance_id)
        self.idle.remove(instance_id)
        self.slept.append(instance_id)
        return True

    async def longest_idle(self, among: Collection[str]) -> list[str]:
        self.looked.set()
        return [each for each in self.idle if each in among]

    async def wake(self, facts: InstanceFacts) -> None:
        """As the supervisor does it: the process is there a moment after the place was taken."""
        async with self.places.of(facts):
            await asyncio.sleep(0.001)
            self.running.add(facts.id)
            team = [each for each in self.running if self.known[each].team == facts.team]
            self.most = max(self.most, len(team))

    @property
    def places(self) -> TeamPlaces:
        if not hasattr(self, "_places"):
            self._places = TeamPlaces(cast(Fleet, self), self, self)
        return self._places


@pytest.fixture(autouse=True)
def short_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0.15)
    monkeypatch.setattr(module, "_PAUSE", 0.005)


async def test_below_the_limit_nobody_sleeps() -> None:
    yard = Yard({"acme": 2})
    yard.add("one", up=True)
    await yard.wake(yard.add("two"))
    assert (yard.slept, yard.running) == ([], {"one", "two"})


async def test_at_the_limit_the_longest_idle_of_the_team_sleeps() -> None:
    yard = Yard({"acme": 2})
    for name in ("one", "two"):
        yard.add(name, up=True)
    yard.add("stranger", team="other", up=True)
    yard.idle = ["stranger", "two", "one"]
    await yard.wake(yard.add("three"))
    assert (yard.slept, yard.running) == (["two"], {"one", "three", "stranger"})


async def test_where_all_are_busy_it_is_refused_with_the_limit_and_when_to_come_again() -> None:
    yard = Yard({"acme": 1})
    yard.add("busy", up=True)
    with pytest.raises(TeamAtLimit) as refused:
        await yard.wake(yard.add("late"))
    assert "limit of 1 awake" in refused.value.detail
    assert refused.value.facts["retry_after"] > 0
    assert yard.running == {"busy"}


async def test_it_waits_a_moment_for_a_busy_one_to_have_a_quiet_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE", 60.0)
    yard = Yard({"acme": 1})
    yard.add("busy", up=True)
    waking = asyncio.create_task(yard.wake(yard.add("patient")))
    await asyncio.wait_for(yard.looked.wait(), 10)
    assert not waking.done()
    yard.idle = ["busy"]
    await waking
    assert yard.running == {"patient"}


async def test_one_that_is_up_needs_no_place_even_above_the_limit() -> None:
    yard = Yard({"acme": 1})
    one, _ = yard.add("one", up=True), yard.add("two", up=True)
    await yard.wake(one)
    assert yard.running == {"one", "two"}


async def test_many_at_once_never_pass_the_limit() -> None:
    yard = Yard({"acme": 3})
    crowd = [yard.add(f"i{number}") for number in range(20)]
    done = await asyncio.gather(*(yard.wake(facts) for facts in crowd), return_exceptions=True)
    assert yard.most == 3 == len(yard.running)
    assert sum(isinstance(each, TeamAtLimit) for each in done) == 17
    assert not yard.places._coming


async def test_without_a_limit_and_without_a_team_nothing_is_asked() -> None:
    yard = Yard({"": 1})
    await asyncio.gather(*(yard.wake(yard.add(f"i{number}", team="free")) for number in range(5)))
    assert len(yard.running) == 5


async def test_a_place_is_given_back_when_the_start_fails() -> None:
    yard = Yard({"acme": 1})
    with pytest.raises(RuntimeError):
        async with yard.places.of(yard.add("broken")):
            raise RuntimeError
    await yard.wake(yard.add("next"))
    assert yard.running == {"next"}
