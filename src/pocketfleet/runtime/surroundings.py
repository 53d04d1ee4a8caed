"""What every keeper of an instance needs from outside, wired once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import Protocol

from pocketfleet.config import Config
from pocketfleet.domain.states import Process
from pocketfleet.runtime.guest import Guest
from pocketfleet.runtime.output import GuestLog
from pocketfleet.runtime.runner import Runner

#: Seconds after which a start that still goes on (a long migration) gives its place to the next one.
_PLACE_SECONDS = 1.0


class RoutePort(Protocol):
    """Where the edge sends an instance's requests."""

    async def publish(self, instance_id: str, address: str) -> None:
        """To `127.x.y.z:port`."""

    async def withdraw(self, instance_id: str) -> None:
        """To the gate."""


@dataclass(frozen=True, slots=True)
class Open:
    """An instance's open requests: all, and of them those that stay open (event streams, WebSockets)."""

    connections: int = 0
    streams: int = 0


@dataclass(frozen=True, slots=True)
class SeenProcess:
    """What became of an instance's process; `retry_at` and `awake_since` in UTC."""

    instance_id: str
    process: Process
    reason: str = ""
    retry_at: datetime | None = None
    awake_since: datetime | None = None
    #: it was just ended by the kernel for using more memory than it may
    out_of_memory: bool = False


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Shared by all keepers; `places` bounds how many guests start at once."""

    runner: Runner
    guest_of: Callable[[str], Guest]
    routes: RoutePort
    parked: Callable[[str], int]
    connections: Callable[[str], Awaitable[Open]]
    seen: Callable[[SeenProcess], None]
    log: Callable[[str], GuestLog]
    config: Config
    places: asyncio.Semaphore


class Place:
    """One of the places for a starting guest: waited for, and given back at the end or after a second."""

    def __init__(self, places: asyncio.Semaphore) -> None:
        self._places = places
        self._timer: asyncio.TimerHandle | None = None

    async def __aenter__(self) -> None:
        await self._places.acquire()
        self._timer = asyncio.get_running_loop().call_later(_PLACE_SECONDS, self._release)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self._release()

    def _release(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self._places.release()
