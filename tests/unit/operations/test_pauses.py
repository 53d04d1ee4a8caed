"""Pauses that grow, and what an instance without a place does in them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

from pocketfleet.actions import observations
from pocketfleet.domain.instances import InstanceFacts
from pocketfleet.errors import TeamAtLimit
from pocketfleet.operations.pauses import Pauses
from pocketfleet.operations.reconcile import PLACE_AGAIN_MOST, Reconciler


def test_a_pause_doubles_up_to_its_bound_and_is_forgotten() -> None:
    now = [0.0]
    pauses = Pauses(1.0, 5.0, clock=lambda: now[0])
    assert pauses.is_over("one")
    lengths = []
    for _ in range(5):
        pauses.grow("one")
        begun = now[0]
        while not pauses.is_over("one"):
            now[0] += 0.5
        lengths.append(now[0] - begun)
    assert lengths == [1.0, 2.0, 4.0, 5.0, 5.0]
    pauses.grow("one")
    pauses.grow("two")
    pauses.forget("one")
    assert (pauses.is_over("one"), pauses.is_over("two")) == (True, False)
    pauses.forget_all()
    assert pauses.is_over("two")


class Full:
    """A fleet of one that should be awake, in a team without a place, and all that a reconciler asks."""

    def __init__(self) -> None:
        self.tries = 0
        self.told: list[Any] = []
        self.full = True
        self.one = InstanceFacts(id="one", name="one", address="", release="", team="acme", always_awake=True)

    def awake(self) -> dict[str, str]:
        return {}

    def kept_awake(self) -> list[str]:
        return ["one"]

    def facts(self, _: str) -> InstanceFacts:
        return self.one

    def may_run(self, _: str) -> bool:
        return True

    async def ensure(self, _: str, *, cause: str) -> str:
        return "127.0.0.2:1"

    async def call(self, function: Any, *arguments: Any) -> None:
        self.told.append((function, *arguments))

    @asynccontextmanager
    async def of(self, _: InstanceFacts) -> AsyncIterator[None]:
        self.tries += 1
        if self.full:
            raise TeamAtLimit(1)
        yield


async def looked(reconciler: Reconciler) -> None:
    """One second's look, and what follows from it."""
    await reconciler.keep_awake()
    await asyncio.gather(*reconciler._tasks.values())


async def test_without_a_place_it_is_tried_ever_more_seldom_and_at_once_when_limits_change() -> None:
    world, now = Full(), [0.0]
    anything = cast(Any, world)
    reconciler = Reconciler(anything, anything, anything, anything, settle=anything)
    reconciler._without_place = Pauses(1.0, PLACE_AGAIN_MOST, clock=lambda: now[0])
    for second in range(120):
        now[0] = float(second)
        await looked(reconciler)
    assert 5 <= world.tries <= 10
    assert {told[0] for told in world.told} == {observations.record_without_place}
    tried = world.tries
    reconciler.limits_changed()
    world.full = False
    await looked(reconciler)
    await looked(reconciler)
    assert world.tries == tried + 2, "nothing is left of the pause"
