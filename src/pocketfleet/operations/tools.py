"""What step functions work with."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from pocketfleet.config import Config
from pocketfleet.domain.instances import InstanceFacts
from pocketfleet.operations.database import Database
from pocketfleet.runtime.guest import Guest
from pocketfleet.runtime.lock import Lock
from pocketfleet.runtime.store import ReleaseStore


class Processes(Protocol):
    """What operations need of the supervisor."""

    def at_rest(self, instance_id: str) -> AbstractAsyncContextManager[Lock]:
        """Asleep and locked; starts wait until it is left."""

    async def sleep(self, instance_id: str, *, cause: str, drain: float | None, quiet_only: bool) -> bool:
        """Put it to sleep; whether it is."""


class Registry(Protocol):
    """What operations need of the fleet."""

    async def renew(self, ids: Iterable[str]) -> Any:
        """Read these instances' facts again and make their hosts agree."""

    def facts(self, instance_id: str) -> InstanceFacts:
        """Raises InstanceNotFound."""

    def guest(self, instance_id: str) -> Guest:
        """Raises InstanceNotFound, ReleaseUnusable."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """Wired in node.py."""

    config: Config
    database: Database
    supervisor: Processes
    store: ReleaseStore
    fleet: Registry
