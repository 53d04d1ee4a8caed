"""Writes down what instances are used for: a sample of the edge's counters every few minutes, all in one transaction.

Every request is in one hour exactly once. What was counted and up to where are written together, so a node that is
killed in between leaves both as they were, and its successor counts on from there.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Protocol

from pocketfleet.actions import usage as actions
from pocketfleet.actions.usage import Used
from pocketfleet.domain.states import Process
from pocketfleet.domain.usage import Counts, Sample, hour_of
from pocketfleet.errors import PocketfleetError
from pocketfleet.operations.database import Database
from pocketfleet.runtime.supervisor import SeenProcess

log = logging.getLogger(__name__)

#: Seconds between two samples, taken when the clock shows a multiple of it: an hour's last one ends with the hour.
EVERY = 300.0
#: Seconds that one which fell asleep waits for others, and to be measured, before it is written down.
GATHER = 2.0


class CounterPort(Protocol):
    """The edge's counters."""

    async def read(self) -> object:
        """Count what came since the last reading."""

    def take_samples(self) -> dict[str, Sample]:
        """By instance id, what was counted since the last call."""

    def marks(self) -> dict[str, dict[str, list[int]]]:
        """By instance id, up to where everything was counted."""

    def resume(self, marks: Mapping[str, dict[str, list[int]]]) -> None:
        """Count on from there."""


@dataclass(slots=True)
class _Pending:
    """What is not written yet of one instance."""

    hours: dict[datetime, Counts] = field(default_factory=dict)
    last_request_at: datetime | None = None
    marks: dict[str, list[int]] | None = None

    def add(self, hour: datetime, sample: Sample) -> None:
        """What was counted in this hour."""
        self.hours[hour] = self.hours.get(hour, Counts()) + sample.counts
        self.last_request_at = max(sample.last_request_at, self.last_request_at or sample.last_request_at)


class UsageWriter:
    """Knows those that had a request, or another size, since this was last written."""

    def __init__(self, database: Database, counters: CounterPort) -> None:
        self._database = database
        self._counters = counters
        self._pending: dict[str, _Pending] = {}
        #: bytes of each instance's files, of those that were measured since this node began
        self._sizes: dict[str, int] = {}
        #: ids whose marks are written down
        self._marked: set[str] = set()
        self._awake: set[str] = set()
        #: ids of those that are written down soon: they will not be used for a while
        self._soon: set[str] = set()
        self._since = datetime.now(UTC)
        self._news = asyncio.Event()
        self._turn = asyncio.Lock()

    async def resume(self) -> None:
        """Count on from where the last node stopped; before the counters are read."""
        marks = await self._database.call(actions.counter_marks)
        self._marked = set(marks)
        self._counters.resume(marks)

    def seen(self, seen: SeenProcess) -> None:
        """What became of an instance's process: one that fell asleep is written down soon. Never blocks."""
        if seen.process == Process.AWAKE:
            self._awake.add(seen.instance_id)
        elif seen.process in (Process.ASLEEP, Process.FAILING):
            self._awake.discard(seen.instance_id)
            self._write_soon(seen.instance_id)

    def measured(self, instance_id: str, size: int) -> None:
        """The bytes of its files, to be written down if they are others than before. Never blocks."""
        if self._sizes.get(instance_id) != size:
            self._sizes[instance_id] = size
            self._pending.setdefault(instance_id, _Pending())
            if instance_id not in self._awake:
                self._write_soon(instance_id)

    async def run(self) -> None:
        """Write until cancelled."""
        while True:
            await self.write(everything=await self._is_time())

    async def write(self, *, everything: bool = True) -> None:
        """Sample, and write what is pending of all, or of those that fell asleep. It goes on when the caller goes away.

        Where the database refuses, what is pending is kept, to be written with the next sample.
        """
        await asyncio.shield(asyncio.create_task(self._write(everything)))

    def _write_soon(self, instance_id: str) -> None:
        self._soon.add(instance_id)
        self._news.set()

    async def _is_time(self) -> bool:
        """Waits until it is time for a sample of all, or only of those that fell asleep."""
        try:
            async with asyncio.timeout(EVERY - time.time() % EVERY):
                await self._news.wait()
                await asyncio.sleep(GATHER)
        except TimeoutError:
            return True
        return False

    async def _write(self, everything: bool) -> None:
        async with self._turn:
            self._news.clear()
            soon, self._soon = self._soon, set()
            marks = await self._sample()
            batch = {key: self._pending.pop(key) for key in list(self._pending) if everything or key in soon}
            expired = self._marked - set(marks) if everything else set()
            if not batch and not expired:
                return
            try:
                await self._database.call(actions.record_usage, self._used(batch), expired)
                self._marked = self._marked - expired | {key for key, item in batch.items() if item.marks is not None}
            except Exception as error:
                # all that can have come meanwhile is a size, and sizes are known apart
                self._pending |= batch
                log.warning("usage of %d instances not written, trying again later: %s", len(batch), error)

    async def _sample(self) -> dict[str, dict[str, list[int]]]:
        """Count what came since the last sample, for the hour in which that was; answers the marks of all."""
        try:
            await self._counters.read()
        except (PocketfleetError, OSError) as error:
            log.debug("the edge's counters cannot be read: %s", error)
        hour, self._since = hour_of(self._since), datetime.now(UTC)
        # from here to the end nothing else runs: samples and marks belong together
        for key, sample in self._counters.take_samples().items():
            self._pending.setdefault(key, _Pending()).add(hour, sample)
        marks = self._counters.marks()
        for key, item in self._pending.items():
            item.marks = marks.get(key, item.marks)
        return marks

    def _used(self, batch: Mapping[str, _Pending]) -> list[Used]:
        now = hour_of(self._since)
        return [
            Used(key, item.hours or {now: Counts()}, item.last_request_at, self._sizes.get(key), item.marks)
            for key, item in batch.items()
        ]
