"""Bounds of waking: the queue's length, how often a minute, and no team before all others."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, cast

import pytest

from pocketfleet import config as configuration
from pocketfleet.domain.instances import InstanceFacts
from pocketfleet.errors import TooManyWakes, WokenTooOften
from pocketfleet.operations import wakes as module
from pocketfleet.operations.fleet import Fleet
from pocketfleet.operations.places import TeamPlaces
from pocketfleet.operations.resolve import Resolver
from pocketfleet.operations.wakes import WakeBounds
from pocketfleet.routing.gate import Question, Refuse
from pocketfleet.runtime.supervisor import Supervisor


class Yard:
    """Starts that end when they are let, and who runs."""

    def __init__(self, home: Path, **settings: Any) -> None:
        config = configuration.load({}, home=home, **{"starts_at_once": 2, **settings})
        self.running: set[str] = set()
        self.starting: list[str] = []
        self.ends = asyncio.Event()
        self.bounds = WakeBounds(config, self)

    def is_up(self, instance_id: str) -> bool:
        return instance_id in self.running

    async def ask(self, name: str, team: str = "acme") -> None:
        """One request for one instance."""
        async with self.bounds.of(InstanceFacts(id=name, name=name, address="", release="", team=team)):
            self.starting.append(name)
            await self.ends.wait()
            self.running.add(name)

    async def asks(self, *names: str, team: str = "acme") -> list[asyncio.Task[None]]:
        tasks = [asyncio.create_task(self.ask(name, team)) for name in names]
        await settled()
        return tasks

    async def finish(self, *tasks: asyncio.Task[None]) -> None:
        self.ends.set()
        await asyncio.gather(*tasks)

    @property
    def is_empty(self) -> bool:
        """Whether nothing is remembered of those that wait."""
        places = self.bounds._places.values()
        return not self.bounds._wakes and all(each._value == 2 for each in places)


async def settled() -> None:
    """Every task has come as far as it can."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_a_team_that_wakes_many_leaves_others_their_turn(home: Path) -> None:
    yard = Yard(home)
    many = await yard.asks(*(f"a{number}" for number in range(50)))
    other = await yard.asks("b0", team="bakery")
    assert yard.starting == ["a0", "a1", "b0"]
    await yard.finish(*many, *other)
    assert len(yard.starting) == 51
    assert yard.is_empty


async def test_many_requests_for_one_take_one_place(home: Path) -> None:
    yard = Yard(home)
    tasks = await yard.asks(*["one"] * 300, "two")
    assert yard.starting.count("one") == 300
    assert yard.starting.count("two") == 1
    await yard.finish(*tasks)
    assert yard.is_empty


async def test_the_queue_has_an_end(home: Path) -> None:
    yard = Yard(home, wakes_queued=3)
    tasks = await yard.asks("one", "two", "three")
    with pytest.raises(TooManyWakes) as refused:
        await yard.ask("four")
    assert refused.value.facts["retry_after"] > 0
    # those that are waited for already are no more in it
    tasks += await yard.asks("three")
    yard.running.add("awake")
    tasks += await yard.asks("awake")
    await yard.finish(*tasks)
    await yard.ask("four")
    assert yard.is_empty


async def test_whoever_goes_away_leaves_the_queue(home: Path) -> None:
    yard = Yard(home, wakes_queued=3)
    tasks = await yard.asks("one", "two", "three")
    for task in tasks[1:]:
        task.cancel()
    await settled()
    tasks = [tasks[0], *await yard.asks("four", "five")]
    assert yard.starting == ["one", "two", "four"]
    await yard.finish(*tasks)
    assert yard.is_empty


async def test_one_instance_is_woken_so_often_a_minute(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    yard = Yard(home, wakes_per_minute=2)
    yard.ends.set()
    for _ in range(2):
        await yard.ask("loop")
        yard.running.clear()
    with pytest.raises(WokenTooOften) as refused:
        await yard.ask("loop")
    assert 0 < refused.value.facts["retry_after"] <= 60
    await yard.ask("another")
    monkeypatch.setattr(module, "MINUTE", 0.0)
    await yard.ask("loop")
    assert "another" not in yard.bounds._woken


async def test_without_a_number_nothing_is_remembered(home: Path) -> None:
    yard = Yard(home)
    yard.ends.set()
    for _ in range(100):
        await yard.ask("loop")
        yard.running.clear()
    assert not yard.bounds._woken


class OneInstance:
    """A fleet of one that is ready, whatever it is asked for."""

    def facts(self, instance_id: str) -> InstanceFacts:
        return InstanceFacts(id=instance_id, name=instance_id, address="", release="", team="acme", ready=True)

    def must_make_room(self, instance_id: str) -> bool:
        return False


@pytest.mark.parametrize(
    ("settings", "code"), [({"wakes_queued": 1}, "wakes_queued"), ({"wakes_per_minute": 1}, "woken_too_often")]
)
async def test_who_comes_too_late_is_told_when_to_come_again(home: Path, settings: dict[str, int], code: str) -> None:
    yard = Yard(home, **settings)
    tasks = await yard.asks("one")
    if code == "woken_too_often":
        await yard.finish(*tasks)
        yard.running.clear()
    resolver = Resolver(cast(Fleet, OneInstance()), cast(Supervisor, yard), cast(TeamPlaces, yard), yard.bounds)
    asked = "two" if code == "wakes_queued" else "one"
    answer = await resolver.resolve(Question(asked, False, "GET /"))
    assert isinstance(answer, Refuse)
    assert (answer.status, answer.code) == (503, code)
    assert answer.retry_after is not None
    assert answer.retry_after >= 1
    await yard.finish(*tasks)
