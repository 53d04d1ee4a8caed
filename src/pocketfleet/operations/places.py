"""How many of a team's instances are awake at once: room is made for one that is wanted, or it is told that there is
none. Asks no database."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from typing import Protocol

from pocketfleet.domain.instances import InstanceFacts
from pocketfleet.errors import InstanceNotFound, TeamAtLimit
from pocketfleet.operations.fleet import Fleet

log = logging.getLogger(__name__)

#: Seconds that a request waits for one of the others to have a quiet moment, and between two looks for it.
PATIENCE = 1.0
_PAUSE = 0.05


class Sleepers(Protocol):
    """Who runs, and how one is put to sleep: the supervisor."""

    def up(self) -> set[str]:
        """Ids of those that have a process, or are about to."""

    async def sleep(self, instance_id: str, *, cause: str, drain: float | None, quiet_only: bool) -> bool:
        """Whether it sleeps."""


class Idle(Protocol):
    """Who has been idle for how long: the sweeper."""

    async def longest_idle(self, among: Collection[str]) -> list[str]:
        """Those that have nothing in flight and may sleep, the longest idle first."""


class TeamPlaces:
    """A place for every instance that wakes; one that is up has its place already."""

    def __init__(self, fleet: Fleet, supervisor: Sleepers, idle: Idle) -> None:
        self._fleet = fleet
        self._supervisor = supervisor
        self._idle = idle
        #: one at a time looks for room in a team: two must not put two to sleep for the same place
        self._turns: dict[str, asyncio.Lock] = {}
        #: instances that were given a place, and may not have a process yet
        self._coming: Counter[str] = Counter()

    @asynccontextmanager
    async def of(self, facts: InstanceFacts) -> AsyncIterator[None]:
        """`async with`: it has a place while it is woken in there. Raises TeamAtLimit where no other can sleep."""
        if not self._fleet.awake_limit(facts.team) or facts.id in self._supervisor.up():
            yield
            return
        await self._take(facts)
        try:
            yield
        finally:
            self._coming[facts.id] -= 1
            self._coming += Counter()

    async def _take(self, facts: InstanceFacts) -> None:
        give_up = time.monotonic() + PATIENCE
        async with self._turns.setdefault(facts.team, asyncio.Lock()):
            while facts.id not in self._present() and not await self._makes_room(facts):
                if time.monotonic() >= give_up:
                    raise TeamAtLimit(self._fleet.awake_limit(facts.team))
                await asyncio.sleep(_PAUSE)
            self._coming[facts.id] += 1

    async def _makes_room(self, facts: InstanceFacts) -> bool:
        limit = self._fleet.awake_limit(facts.team)
        if not limit or len(self._team(facts.team)) < limit:
            return True
        cause = f"{facts.name} of the same team wakes, and {limit} may be awake at once"
        for other in await self._idle.longest_idle(self._team(facts.team)):
            # only one that nobody asks for: requests in flight are never cut off to make room
            if await self._supervisor.sleep(other, cause=cause, drain=0, quiet_only=True):
                log.info("put to sleep for %s", facts.name, extra={"instance": other})
                if len(self._team(facts.team)) < limit:
                    return True
        return False

    def _present(self) -> set[str]:
        return self._supervisor.up() | set(self._coming)

    def _team(self, team: str) -> set[str]:
        return {instance_id for instance_id in self._present() if self._team_of(instance_id) == team}

    def _team_of(self, instance_id: str) -> str:
        try:
            return self._fleet.facts(instance_id).team
        except InstanceNotFound:
            return ""
