"""Puts to sleep what has been idle for long enough: one look a second at the edge's counters."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Protocol

from pocketfleet.domain.limits import is_idle
from pocketfleet.errors import PocketfleetError
from pocketfleet.runtime.supervisor import Supervisor

#: Seconds between two looks.
EVERY = 1.0

_log = logging.getLogger(__name__)


class TrafficOf(Protocol):
    """One instance's traffic: connections open now, parked ones included, and requests ever."""

    @property
    def connections(self) -> int: ...

    @property
    def requests(self) -> int: ...


class CounterPort(Protocol):
    """The edge's counters."""

    async def read(self) -> Mapping[str, TrafficOf]:
        """By instance id; those without traffic may be missing."""


class ParkedPort(Protocol):
    """The gate."""

    def parked(self, instance_id: str) -> int:
        """Requests that wait there."""


@dataclass(slots=True)
class _Quiet:
    """Since when (monotonic) the count of requests has stood still with nothing in flight."""

    since: float
    requests: int


class IdleSweeper:
    """Knows awake instances only; a restart of node gives each its whole idle timeout again."""

    def __init__(
        self,
        supervisor: Supervisor,
        counters: CounterPort,
        gate: ParkedPort,
        idle_timeout: Callable[[str], float | None],
    ) -> None:
        """`idle_timeout`: seconds for an instance, None for never."""
        self._supervisor = supervisor
        self._counters = counters
        self._gate = gate
        self._idle_timeout = idle_timeout
        self._quiet: dict[str, _Quiet] = {}
        self._sleeps: dict[str, asyncio.Task[None]] = {}

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(EVERY)
            try:
                await self.sweep()
            except (PocketfleetError, OSError) as error:
                _log.warning("the edge's counters cannot be read: %s", error)

    async def sweep(self) -> None:
        """One look. Those that are idle go to sleep in tasks of their own; nothing is asked while nobody is awake."""
        awake = self._supervisor.awake()
        self._quiet = {key: quiet for key, quiet in self._quiet.items() if key in awake}
        if not awake:
            return
        traffic = await self._counters.read()
        now = time.monotonic()
        for instance_id in awake:
            idle = self._idle_seconds(instance_id, traffic.get(instance_id), now)
            if idle is not None and instance_id not in self._sleeps:
                self._put_to_sleep(instance_id, idle)

    async def longest_idle(self, among: Collection[str]) -> list[str]:
        """Those of these awake ones that have nothing in flight and may sleep, the longest idle first."""
        traffic, now = await self._counters.read(), time.monotonic()
        awake = self._supervisor.awake()
        found = {}
        for instance_id in among:
            if instance_id in awake and self._idle_timeout(instance_id) is not None:
                idle, in_flight = self._look_at(instance_id, traffic.get(instance_id), now)
                if in_flight <= 0:
                    found[instance_id] = idle
        return sorted(found, key=lambda instance_id: -found[instance_id])

    def _idle_seconds(self, instance_id: str, traffic: TrafficOf | None, now: float) -> float | None:
        """How long it has been idle, if that is long enough."""
        idle, in_flight = self._look_at(instance_id, traffic, now)
        timeout = self._idle_timeout(instance_id)
        enough = is_idle(
            in_flight=in_flight, idle_seconds=idle, idle_timeout=timeout or 0.0, always_awake=timeout is None
        )
        return idle if enough else None

    def _look_at(self, instance_id: str, traffic: TrafficOf | None, now: float) -> tuple[float, int]:
        """Seconds since something last happened, and what is in flight."""
        requests = traffic.requests if traffic else 0
        in_flight = traffic.connections - self._gate.parked(instance_id) if traffic else 0
        quiet = self._quiet.get(instance_id)
        if quiet is None or in_flight > 0 or requests not in (0, quiet.requests):
            quiet = self._quiet[instance_id] = _Quiet(now, requests)
        # no count any more is no request: the edge forgets counts that stood still for long
        quiet.requests = requests
        return now - quiet.since, in_flight

    def _put_to_sleep(self, instance_id: str, idle: float) -> None:
        task = asyncio.create_task(self._sleep(instance_id, idle), name=f"sleep {instance_id}")
        self._sleeps[instance_id] = task
        task.add_done_callback(lambda _: self._sleeps.pop(instance_id, None))

    async def _sleep(self, instance_id: str, idle: float) -> None:
        try:
            cause = f"idle for {idle:.0f} s"
            if not await self._supervisor.sleep(instance_id, cause=cause, drain=0, quiet_only=True):
                self._quiet.pop(instance_id, None)
        except PocketfleetError as error:
            _log.warning("not put to sleep: %s", error.detail, extra={"instance": instance_id})
