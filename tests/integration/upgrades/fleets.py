"""Rows of instances, releases and rehearsals, and tools for those who look at them; no process anywhere."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from django.db.models import Max

from pocketfleet.actions.instances import add_instance
from pocketfleet.actions.releases import Offered, record_offers
from pocketfleet.config import Config
from pocketfleet.domain.states import OperationState
from pocketfleet.models import Instance, Operation, Rehearsal, Snapshot
from pocketfleet.operations.database import Database
from pocketfleet.operations.tools import Tools
from pocketfleet.runtime.keeper import Peace
from pocketfleet.runtime.snapshots import SnapshotStore


@dataclass
class Quiet:
    """A supervisor of instances that all sleep."""

    failed: dict[str, int] = field(default_factory=dict)

    @asynccontextmanager
    async def peace(self, instance_id: str) -> AsyncIterator[Peace]:
        """Nobody runs."""
        yield Peace(False, asyncio.Event())

    def failures(self, instance_id: str) -> int:
        """As the test says."""
        return self.failed.get(instance_id, 0)


@dataclass(frozen=True)
class Looked:
    """A kind of `Tools` for those who look."""

    config: Config
    database: Database
    supervisor: Quiet
    snapshots: SnapshotStore


def tools(home: Path, database: Database, **settings: Any) -> tuple[Tools, Quiet]:
    """Tools whose supervisor is the second."""
    quiet = Quiet()
    config = Config(home=home, **settings)
    return cast(Tools, Looked(config, database, quiet, SnapshotStore(config))), quiet


def offer(*versions: str) -> None:
    """A source has these."""
    record_offers("folder", [Offered(version) for version in versions])


def instance(name: str, follows: str, release: str, **fields: Any) -> Instance:
    """A row of a ready one."""
    made = add_instance(name, range=follows, release=release, ready=True, **fields)
    assert Instance.objects.aggregate(last=Max("number"))["last"]
    return made


def operations(kind: str = "upgrade") -> list[Operation]:
    """Of this kind, oldest first."""
    return list(Operation.objects.filter(kind=kind).order_by("created_at", "id"))


def end(operation: Operation, state: OperationState = OperationState.ASKING, **fields: Any) -> None:
    """As if node had done it."""
    from pocketfleet.actions.operations import move_operation

    move_operation(operation.id, OperationState.RUNNING)
    move_operation(operation.id, state, **fields)


def judge(
    instance: Instance, to: str, verdict: str, fingerprint: str = "f", migrations: list[str] | None = None
) -> None:
    """A rehearsal of the instance's present release against another."""
    report = {"sections": {"boot": {"facts": {"migrations": migrations or []}, "findings": []}}}
    Rehearsal.objects.create(
        instance=instance,
        operation_id="x",
        from_release=instance.release,
        to_release=to,
        verdict=verdict,
        report=report,
        fingerprint=fingerprint,
    )


def checkpoint(instance: Instance, release: str) -> str:
    """A snapshot's row."""
    return Snapshot.objects.create(instance=instance, purpose="checkpoint", release=release).id


def make_data(home: Path, instance_id: str) -> Path:
    """A folder with the smallest database that has a schema."""
    folder = home / "instances" / instance_id
    for name in ("pb_data", "pb_hooks", "pb_migrations"):
        (folder / name).mkdir(parents=True)
    with sqlite3.connect(folder / "pb_data" / "data.db") as connection:
        connection.execute("CREATE TABLE _collections (id TEXT, name TEXT, fields TEXT)")
    connection.close()
    return folder
