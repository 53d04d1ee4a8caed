"""What the supervisor asks of whatever runs a PocketBase: six verbs, so that a sandbox can take the place."""

from __future__ import annotations

import asyncio
import signal
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from pocketfleet.runtime.guest import Guest
from pocketfleet.runtime.lock import Lock


@dataclass(frozen=True, slots=True)
class Running:
    """A guest that was spawned. Two of the same pid and `since` are the same one."""

    instance_id: str
    release: str
    #: `127.x.y.z:port`
    address: str
    #: PocketBase's own, as the host sees it
    pid: int
    since: datetime


#: A guest's exit code, minus the signal that ended it, or None for one that is not our child.
ExitCode = int | None


@dataclass(frozen=True, slots=True)
class Ending:
    """How a guest ended."""

    code: ExitCode
    #: what the runner alone can know, as the end of "PocketBase was ended: ..."; "" where the code says it all
    cause: str = ""
    #: whether the kernel ended it, or something in it, for using more memory than it may
    out_of_memory: bool = False


class Runner(Protocol):
    """Starts, finds again and signals guests. Says nothing of whether they answer: the supervisor asks them."""

    def recorded(self) -> list[str]:
        """Instances that ran when last heard of; for adoption."""

    async def start(self, guest: Guest, lock: Lock) -> Running:
        """Spawn it; it inherits the lock. The caller closes its own share afterwards.

        Raises AddressTaken, DiskTrouble, ReleaseUnusable, each with the next step; then nothing was spawned.
        """

    async def adopt(self, instance_id: str) -> Running | None:
        """The guest that a former node started, if it lives; what cannot be adopted is killed, its record swept."""

    def ended(self, running: Running) -> asyncio.Future[Ending]:
        """Done as soon as the guest is dead, a zombie included, and under the sandbox all that it had started.

        The same future at every call.
        """

    def signal(self, running: Running, number: signal.Signals) -> None:
        """To PocketBase itself; nothing happens where it is dead."""

    def forget(self, running: Running) -> None:
        """It is dead and its files are in order: no record is needed any more."""
