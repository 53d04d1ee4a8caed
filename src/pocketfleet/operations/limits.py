"""What comes of an instance that meets its limits: its owner is told, and one that is over its storage sleeps.

A full disk is the one thing that SQLite must not meet halfway: so writes stop by an orderly end, with nothing lost, and
requests are answered with the reason and the next step until there is room again. Where the file system has project
quotas, the kernel keeps an instance from much more than its storage until that is noticed.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from pocketfleet.actions import events
from pocketfleet.errors import InstanceNotFound
from pocketfleet.operations.database import Database
from pocketfleet.operations.fleet import Fleet
from pocketfleet.runtime.sizes import Amount, Measured, most_names
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

    def __init__(
        self,
        fleet: Fleet,
        supervisor: Supervisor,
        database: Database,
        *,
        bound: Callable[[str, Amount | None], None] = lambda instance_id, most: None,
        measure: Callable[[str], None] = lambda instance_id: None,
    ) -> None:
        """`bound`: holds an instance to so much in all, None for any amount. `measure`: has it measured soon."""
        self._fleet = fleet
        self._supervisor = supervisor
        self._database = database
        self._bound = bound
        self._measure = measure
        #: as it was measured last, and the limit that it was judged by, by instance id
        self._measured: dict[str, Measured] = {}
        self._judged: dict[str, int] = {}
        #: what was told of each instance's storage last
        self._told: dict[str, str] = {}
        #: monotonic, by instance id
        self._died: dict[str, float] = {}
        self._events: asyncio.Queue[_Event] = asyncio.Queue()

    def measured(self, instance_id: str, measured: Measured) -> None:
        """What an instance's files take now."""
        self._measured[instance_id] = measured
        self._judge(instance_id)

    def renew(self, ids: Iterable[str]) -> None:
        """These may have another limit than before, or be excused now."""
        for instance_id in ids:
            if (measured := self._measured.get(instance_id)) is None:
                continue
            before, now = self._judged.get(instance_id, 0), self._fleet.storage(instance_id)
            if now and (not before or (now != before and not measured.whole)):
                # what is known of it is old, or was not looked through to its end
                self._measure(instance_id)
            else:
                self._judge(instance_id)

    def renew_all(self) -> None:
        """Some team's limits may have changed."""
        self.renew([key for key in self._measured if self._fleet.storage(key) != self._judged.get(key)])

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

    def _judge(self, instance_id: str) -> None:
        try:
            limit = self._fleet.guest_limits(instance_id).storage
        except InstanceNotFound:
            self._forget(instance_id)
            return
        measured, self._judged[instance_id] = self._measured[instance_id], limit
        used = _used(measured, limit)
        full = used > 1
        self._fleet.is_full(instance_id, full)
        excused = full and not self._fleet.must_make_room(instance_id)
        self._bound(instance_id, _most(limit, excused=excused))
        kind = "storage_full" if full else "storage_low" if used > _LOW else ""
        if kind != self._told.get(instance_id, "") and kind:
            self._put(instance_id, kind, _words(kind, measured, limit))
        self._told[instance_id] = kind

    def _forget(self, instance_id: str) -> None:
        for known in (self._measured, self._judged, self._told, self._died):
            known.pop(instance_id, None)

    def _put(self, instance_id: str, kind: str, text: str) -> None:
        weight = events.WARNING if kind == "storage_low" else events.PROBLEM
        self._events.put_nowait(_Event(instance_id, kind, text, weight))


def _used(measured: Measured, limit: int) -> float:
    """The part of its storage, in bytes or in names; 0 without a limit."""
    if not limit:
        return 0.0
    # what lies below so many levels of folders may be of any size
    deep = 2.0 if measured.too_deep else 0.0
    return max(measured.amount.bytes / limit, measured.amount.names / most_names(limit), deep)


def _most(limit: int, *, excused: bool) -> Amount | None:
    """What it may have in all.

    `excused`: it is to make room, and needs some for that: deleting grows the log, and a VACUUM copies the database.
    """
    if not limit:
        return None
    most = Amount.of(limit)
    return most + most if excused else most


def _words(kind: str, measured: Measured, limit: int) -> str:
    size, names, most = measured.amount.bytes, measured.amount.names, most_names(limit)
    used = f"{size / 1e6:.0f} MB of {limit / 1e6:.0f} MB of storage are used"
    if names > _LOW * most:
        used += f", and {names:,} files and folders, where there may be {most:,}"
    elif measured.too_deep:
        used = "Its folders lie in each other too deeply to be measured"
    if kind == "storage_low":
        return f"{used}. At the limit it is put to sleep: delete records and files, or ask the operator for more room."
    return (
        f"{used}, so it was put to sleep; nothing is lost. Switch it off and on (`pocketfleet power NAME off`, then "
        "`on`): that gives ten minutes in which to delete records and files. Or go back to a snapshot, or ask the "
        "operator for more room."
    )
