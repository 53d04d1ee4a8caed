"""What step functions work with."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol

from pocketfleet.config import Config
from pocketfleet.domain.instances import InstanceFacts
from pocketfleet.operations.database import Database
from pocketfleet.runtime.commands import Commander, PlainCommander
from pocketfleet.runtime.guest import Guest
from pocketfleet.runtime.keeper import Peace
from pocketfleet.runtime.lock import Lock
from pocketfleet.runtime.snapshots import SnapshotStore
from pocketfleet.runtime.store import ReleaseStore


class Processes(Protocol):
    """What operations need of the supervisor."""

    def at_rest(self, instance_id: str, *, cause: str = "work on its files") -> AbstractAsyncContextManager[Lock]:
        """Asleep and locked; starts wait until it is left."""

    async def sleep(
        self, instance_id: str, *, cause: str, drain: float | None, quiet_only: bool, grace: float | None = None
    ) -> bool:
        """Put it to sleep; whether it is."""

    async def halt(self, instance_id: str, *, cause: str, drain: float, grace: float | None = None) -> bool:
        """Put to sleep what the gate holds, without cutting any request off; whether it is."""

    async def ensure(self, instance_id: str, *, cause: str, suspect: bool = False) -> str:
        """Its address, once it accepts connections. Raises StartFailed."""

    async def publish(self, instance_id: str) -> None:
        """Tell the edge where it is, if it is awake."""

    def forgive(self, instance_id: str) -> None:
        """Forget failures."""

    def release(self, instance_id: str) -> str | None:
        """The release that runs, None where none does."""

    def failures(self, instance_id: str) -> int:
        """How often in a row it failed to start or died young."""

    def peace(self, instance_id: str) -> AbstractAsyncContextManager[Peace]:
        """Its files may be copied; nobody is stopped or started for that."""

    def awake(self) -> dict[str, str]:
        """Those that answer, and where."""


class Holds(Protocol):
    """What operations need of the gate."""

    def hold(self, instance_id: str) -> None:
        """From now on its requests wait."""

    def resume(self, instance_id: str) -> None:
        """They go through."""


class Registry(Protocol):
    """What operations need of the fleet."""

    async def renew(self, ids: Iterable[str]) -> Any:
        """Read these instances' facts again and make their hosts agree."""

    def facts(self, instance_id: str) -> InstanceFacts:
        """Raises InstanceNotFound."""

    def guest(self, instance_id: str) -> Guest:
        """Raises InstanceNotFound, ReleaseUnusable."""

    def storage(self, instance_id: str) -> int:
        """Bytes that an instance's files may have; 0 for any."""

    def may_run(self, instance_id: str) -> bool:
        """Whether it exists, is complete, switched on and not suspended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """Wired in node.py."""

    config: Config
    database: Database
    supervisor: Processes
    store: ReleaseStore
    fleet: Registry
    gate: Holds
    snapshots: SnapshotStore
    commander: Commander = field(default_factory=PlainCommander)
