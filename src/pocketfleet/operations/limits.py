"""What comes of an instance that meets its limits: its owner is told, and one that is over its storage sleeps.

A full disk is the one thing that SQLite must not meet halfway: so writes stop by an orderly end, with nothing lost, and
requests are answered with the reason and the next step until there is room again.
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass

from pocketfleet.actions import events
from pocketfleet.operations.database import Database
from pocketfleet.operations.fleet import Fleet
from pocketfleet.runtime.supervisor import SeenProcess, Supervisor

log = logging.getLogger(__name__)

#: The part of its storage at which an instance's owner is warned.
_LOW = 0.9
#: Seconds that requests and streams get to end when an instance has used all of it.
_DRAIN = 5.0
#: Seconds in which one instance's ends for memory are one event.
_QUIET = 3600.0


@dataclass(frozen=True, slots=True)
class _Event:
    instance_id: str
    kind: str
    text: str
    weight: str


class Limits:
    """Takes note of sizes and deaths, never blocks for that, and acts in a loop of its own."""

    def __init__(self, fleet: Fleet, supervisor: Supervisor, database: Database, storage: int) -> None:
        """`storage`: bytes that an instance may have; 0 for any."""
        self._fleet = fleet
        self._supervisor = supervisor
        self._database = database
        self._storage = storage
        #: what was told of each instance's storage last
        self._told: dict[str, str] = {}
        #: monotonic, by instance id
        self._died: dict[str, float] = {}
        self._events: asyncio.Queue[_Event] = asyncio.Queue()

    def measured(self, instance_id: str, size: int) -> None:
        """An instance's files are so large now."""
        if not self._storage:
            return
        full = size > self._storage
        self._fleet.is_full(instance_id, full)
        kind = "storage_full" if full else "storage_low" if size > _LOW * self._storage else ""
        if kind != self._told.get(instance_id, "") and kind:
            self._put(instance_id, kind, _words(kind, size, self._storage))
        self._told[instance_id] = kind

    def seen(self, seen: SeenProcess) -> None:
        """What became of an instance's process."""
        now = time.monotonic()
        if seen.out_of_memory and now - self._died.get(seen.instance_id, -_QUIET) >= _QUIET:
            self._died[seen.instance_id] = now
            self._put(seen.instance_id, "out_of_memory", seen.reason)

    async def run(self) -> None:
        """Tell, and put to sleep what must, until cancelled."""
        while True:
            event = await self._events.get()
            log.info("%s", event.kind, extra={"instance": event.instance_id})
            if event.kind == "storage_full" and not self._fleet.may_run(event.instance_id):
                await self._supervisor.sleep(
                    event.instance_id, cause="its storage is used up", drain=_DRAIN, quiet_only=False
                )
            await self._database.insist(events.tell, event.instance_id, event.kind, event.text, event.weight)

    def _put(self, instance_id: str, kind: str, text: str) -> None:
        weight = events.WARNING if kind == "storage_low" else events.PROBLEM
        self._events.put_nowait(_Event(instance_id, kind, text, weight))


def _words(kind: str, size: int, limit: int) -> str:
    used = f"{size / 1e6:.0f} MB of {limit / 1e6:.0f} MB of storage are used"
    if kind == "storage_low":
        return f"{used}. At the limit it is put to sleep: delete records and files, or ask the operator for more room."
    return (
        f"{used}, so it was put to sleep; nothing is lost. Switch it off and on (`pocketfleet power NAME off`, then "
        "`on`): that gives ten minutes in which to delete records and files. Or go back to a snapshot, or ask the "
        "operator for more room."
    )
