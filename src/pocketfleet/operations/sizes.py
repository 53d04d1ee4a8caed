"""Measures instances' files: when one falls asleep, when an operation has ended on it, and hourly while it is awake,
six times a minute where its room is limited."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from pathlib import Path

from pocketfleet.domain.states import Process
from pocketfleet.runtime.errands import Errand, carry_out
from pocketfleet.runtime.sizes import MOST_NAMES, Amount, Measured, measure_folder, most_names, nameless_bytes
from pocketfleet.runtime.supervisor import SeenProcess

log = logging.getLogger(__name__)

#: Seconds between two measurements of one that stays awake, and until the first one of this node's life.
EVERY = 3600.0
FIRST = 60.0
#: One that took long is left alone for so many times as long: measuring takes a hundredth of the time at most.
CALM = 100.0
#: The same for one that has a limit: noticed within a minute, whatever it costs up to a tenth of the time.
EVERY_LIMITED = 10.0
CALM_LIMITED = 10.0


class Sizes:
    """One measurement at a time, in a thread. Knows those that are awake or were since this node began."""

    def __init__(
        self,
        instances: Path,
        found: Callable[[str, Measured], None],
        *,
        limit: Callable[[str], int] = lambda instance_id: 0,
        processes: Callable[[str], Iterable[int]] = lambda instance_id: (),
        counted: Callable[[str], Amount | None] = lambda instance_id: None,
    ) -> None:
        """`found`: takes an instance's id and what was found; never blocks. `limit`: bytes that it may have, 0 for any.
        `processes`: pids of an instance's, whose nameless files count. `counted`: what the kernel counts as its."""
        self._instances = instances
        self._processes = processes
        self._limit = limit
        self._counted = counted
        self._found = found
        self._awake: set[str] = set()
        #: monotonic, by instance id: when it is to be measured
        self._due: dict[str, float] = {}
        #: monotonic, of those that were measured: before when they are left alone
        self._calm: dict[str, float] = {}
        self._news = asyncio.Event()

    def seen(self, seen: SeenProcess) -> None:
        """What became of an instance's process."""
        instance_id, now = seen.instance_id, time.monotonic()
        if seen.process == Process.AWAKE:
            self._awake.add(instance_id)
            every = self._every(instance_id)
            self._want(instance_id, now + (every if instance_id in self._calm else min(FIRST, every)))
        elif seen.process in (Process.ASLEEP, Process.FAILING) and instance_id in self._awake:
            self._awake.discard(instance_id)
            self._want(instance_id, now)

    def changed(self, instance_id: str) -> None:
        """Its files may be others now."""
        self._want(instance_id, time.monotonic())

    async def run(self) -> None:
        """Measure what is due, until cancelled."""
        while True:
            instance_id = await self._next()
            del self._due[instance_id]
            began = time.monotonic()
            size = await self._measure(instance_id)
            ended = time.monotonic()
            if size is None:
                self._calm.pop(instance_id, None)
                continue
            calmly = CALM_LIMITED if self._limit(instance_id) else CALM
            self._calm[instance_id] = ended + calmly * (ended - began)
            if instance_id in self._awake:
                self._want(instance_id, ended + self._every(instance_id))
            self._found(instance_id, size)

    def _every(self, instance_id: str) -> float:
        """Seconds between two measurements while it is awake."""
        return EVERY_LIMITED if self._limit(instance_id) else EVERY

    def _want(self, instance_id: str, at: float) -> None:
        """At this time, or when it was due anyway; not before its calm is over."""
        soonest = min(at, self._due.get(instance_id, at))
        self._due[instance_id] = max(soonest, self._calm.get(instance_id, soonest))
        self._news.set()

    async def _next(self) -> str:
        """Waits for it."""
        while True:
            self._news.clear()
            instance_id = min(self._due, key=self._due.__getitem__, default=None)
            wait = self._due[instance_id] - time.monotonic() if instance_id is not None else None
            if instance_id is not None and wait is not None and wait <= 0:
                return instance_id
            with suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._news.wait()

    async def _measure(self, instance_id: str) -> Measured | None:
        """None where there is nothing to measure: it is on its way to quarantine, or not made yet."""
        limit = self._limit(instance_id)
        try:
            measured = await carry_out(partial(self._look, instance_id, most_names(limit) + 1 if limit else MOST_NAMES))
        except FileNotFoundError:
            return None
        except OSError as error:
            log.warning("files not measured: %s", error, extra={"instance": instance_id})
            return None
        if not measured.whole and not limit:
            size = measured.amount.bytes
            log.warning("too many files to measure: more than %d bytes", size, extra={"instance": instance_id})
        return measured

    def _look(self, instance_id: str, most: int, errand: Errand) -> Measured:
        before = self._counted(instance_id)
        size = measure_folder(self._instances / instance_id, errand, most=most)
        nameless = nameless_bytes(self._processes(instance_id))
        after = self._counted(instance_id)
        counted = (before, after) if before is not None and after is not None else None
        return Measured(Amount(size.bytes + nameless, size.names), size.whole, size.too_deep, counted)
