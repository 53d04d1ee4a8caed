"""Writes down what became of the guests, off the path of any request: many changes, one transaction."""

from __future__ import annotations

import asyncio
import logging

from pocketfleet.actions import observations
from pocketfleet.actions.observations import Seen
from pocketfleet.domain.states import Process
from pocketfleet.operations.database import Database
from pocketfleet.runtime.supervisor import SeenProcess

log = logging.getLogger(__name__)

#: Seconds that a first change waits for others, so that a storm of wakes is a few writes.
GATHER = 0.05


class SeenWriter:
    """Keeps the last word per instance until it is written; a database that refuses is tried again."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._pending: dict[str, Seen] = {}
        self._waiting = asyncio.Event()

    def put(self, seen: SeenProcess) -> None:
        """Take note; never blocks."""
        self._pending[seen.instance_id] = Seen(
            seen.instance_id, seen.process, seen.reason, seen.retry_at, seen.awake_since
        )
        self._waiting.set()

    async def reset(self, adopted: set[str]) -> None:
        """At start: what the database holds for awake but did not survive is asleep."""
        for instance_id in await self._database.call(observations.not_asleep):
            if instance_id not in adopted:
                self._pending.setdefault(instance_id, Seen(instance_id, Process.ASLEEP))
        await self.flush()

    async def run(self) -> None:
        """Write until cancelled."""
        while True:
            await self._waiting.wait()
            await asyncio.sleep(GATHER)
            await self.flush()

    async def flush(self) -> None:
        """Write what is pending; where the database refuses, it is kept and written a second later."""
        self._waiting.clear()
        batch, self._pending = self._pending, {}
        if not batch:
            return
        try:
            await self._database.call(observations.record_processes, list(batch.values()))
        except Exception as error:
            self._pending = batch | self._pending
            log.warning("states of %d instances not written, trying again: %s", len(batch), error)
            asyncio.get_running_loop().call_later(1.0, self._waiting.set)
