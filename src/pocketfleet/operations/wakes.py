"""How many instances requests may wake: so many wait for their turn, so often a minute for one, no team before others.

Asks no database, and remembers only what waits now and what was woken within a minute."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Protocol

from pocketfleet.config import Config
from pocketfleet.domain.instances import InstanceFacts
from pocketfleet.errors import TooManyWakes, WokenTooOften
from pocketfleet.runtime.surroundings import Place

#: Seconds in which the times that one instance is woken are counted.
MINUTE = 60.0
#: Seconds after which somebody who found the queue full should try again.
QUEUE_AGAIN = 5.0


class Sleepers(Protocol):
    """Who runs: the supervisor."""

    def is_up(self, instance_id: str) -> bool:
        """Whether it has a process, or is about to."""


@dataclass(slots=True)
class _Wake:
    """One instance that requests wait for: its place among those of its team that start, and how many they are."""

    place: Place
    turn: asyncio.Task[None]
    users: int = 0


class WakeBounds:
    """A team has as many places as there are in all: alone it loses nothing, and is never all of the queue."""

    def __init__(self, config: Config, supervisor: Sleepers) -> None:
        self._config = config
        self._supervisor = supervisor
        self._wakes: dict[str, _Wake] = {}
        self._places: dict[str, asyncio.Semaphore] = {}
        #: by instance, when (monotonic) it was woken
        self._woken: dict[str, deque[float]] = {}

    @asynccontextmanager
    async def of(self, facts: InstanceFacts) -> AsyncIterator[None]:
        """`async with`: it may be woken in there, once its team has a place for it.

        Raises TooManyWakes, WokenTooOften; never for one that is up, or that others wait for already.
        """
        if facts.id not in self._wakes and self._supervisor.is_up(facts.id):
            yield
            return
        wake = self._wakes.get(facts.id) or self._begin(facts)
        wake.users += 1
        try:
            await asyncio.shield(wake.turn)
            yield
        finally:
            wake.users -= 1
            if not wake.users:
                del self._wakes[facts.id]
                wake.turn.cancel()
                await wake.place.__aexit__(None, None, None)
                if not self._wakes:
                    self._places.clear()

    def _begin(self, facts: InstanceFacts) -> _Wake:
        queued, often = self._config.wakes_queued, self._config.wakes_per_minute
        if queued and len(self._wakes) >= queued:
            raise TooManyWakes(QUEUE_AGAIN)
        self._forget()
        times = self._woken.get(facts.id, deque())
        if often and len(times) >= often:
            raise WokenTooOften(times[0] + MINUTE - time.monotonic())
        if often:
            self._woken.setdefault(facts.id, times).append(time.monotonic())
        place = Place(self._places.setdefault(facts.team, asyncio.Semaphore(self._config.starts_limit)))
        wake = self._wakes[facts.id] = _Wake(place, asyncio.create_task(place.__aenter__()))
        return wake

    def _forget(self) -> None:
        """What was woken longer ago than a minute."""
        oldest = time.monotonic() - MINUTE
        for instance_id, times in list(self._woken.items()):
            while times and times[0] <= oldest:
                times.popleft()
            if not times:
                del self._woken[instance_id]
