"""Which new releases are watched, and when one is taken back."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from pocketfleet.domain.states import OperationState
from pocketfleet.models import Event, Instance, Operation
from pocketfleet.operations.database import Database
from pocketfleet.operations.watch import Watcher, is_worse
from tests.integration.upgrades import fleets


@dataclass
class Traffic:
    """What the edge counted."""

    requests: int
    failed: int


class Edge:
    """Counters as the test sets them."""

    def __init__(self) -> None:
        self.counts: dict[str, Traffic] = {}

    async def read(self) -> dict[str, Traffic]:
        """All of them."""
        return self.counts


def switched() -> Instance:
    """An instance whose upgrade has just ended."""
    fleets.offer("0.36.9", "0.40.6")
    shop = fleets.instance("shop", "latest", "0.40.6")
    operation = Operation.objects.create(kind="upgrade", instance=shop, actor="operator")
    result = {"from": "0.36.9", "to": "0.40.6", "held_ms": 300, "snapshot": fleets.checkpoint(shop, "0.36.9")}
    fleets.end(operation, OperationState.SUCCEEDED, result=result)
    return shop


async def test_what_fails_is_taken_back_once(home: Path, database: Database) -> None:
    shop = await database.call(switched)
    tools, _ = fleets.tools(home, database)
    watcher = Watcher(tools, Edge().read)
    await watcher.look()
    assert await database.call(fleets.operations, "rollback") == []
    await database.call(Instance.objects.filter(id=shop.id).update, process="failing")
    await watcher.look()
    (back,) = await database.call(fleets.operations, "rollback")
    assert back.params["by_itself"]
    assert not back.params["accept_loss"]
    assert back.params["release"] == "0.36.9"
    await watcher.look()
    await database.call(fleets.end, back)
    await Watcher(tools, Edge().read).look()
    assert len(await database.call(fleets.operations, "rollback")) == 1


async def test_early_deaths_count_as_failing(home: Path, database: Database) -> None:
    shop = await database.call(switched)
    tools, supervisor = fleets.tools(home, database)
    supervisor.failed[shop.id] = 1
    await Watcher(tools, Edge().read).look()
    assert await database.call(fleets.operations, "rollback") == []
    supervisor.failed[shop.id] = 2
    await Watcher(tools, Edge().read).look()
    assert len(await database.call(fleets.operations, "rollback")) == 1


@pytest.mark.parametrize("seconds", [0, 0.001])
async def test_after_a_while_nobody_watches(home: Path, database: Database, seconds: float) -> None:
    shop = await database.call(switched)
    await database.call(Instance.objects.filter(id=shop.id).update, process="failing")
    tools, _ = fleets.tools(home, database, watch_seconds=seconds)
    await Watcher(tools, Edge().read).look()
    assert await database.call(fleets.operations, "rollback") == []


async def test_a_rehearsal_and_another_release_since_are_not_watched(home: Path, database: Database) -> None:
    def prepare() -> None:
        shop = switched()
        Instance.objects.filter(id=shop.id).update(release="0.39.0", process="failing")
        other = fleets.instance("other", "latest", "0.40.6", process="failing")
        operation = Operation.objects.create(kind="upgrade", instance=other, actor="operator")
        fleets.end(operation, OperationState.SUCCEEDED, result={"from": "0.36.9", "to": "0.40.6"})

    await database.call(prepare)
    tools, _ = fleets.tools(home, database)
    await Watcher(tools, Edge().read).look()
    assert await database.call(fleets.operations, "rollback") == []


async def test_more_errors_than_before_are_told_once(home: Path, database: Database) -> None:
    shop = await database.call(switched)
    tools, _ = fleets.tools(home, database)
    edge = Edge()
    watcher = Watcher(tools, edge.read)
    edge.counts[shop.id] = Traffic(1000, 10)
    await watcher.look()
    edge.counts[shop.id] = Traffic(1100, 13)
    await watcher.look()
    assert await database.call(Event.objects.count) == 0
    edge.counts[shop.id] = Traffic(1200, 60)
    await watcher.look()
    await watcher.look()
    (event,) = await database.call(lambda: list(Event.objects.all()))
    assert (event.kind, event.weight) == ("errors", "warning")
    assert "50 of 200" in event.text


@pytest.mark.parametrize(
    ("before", "after", "worse"),
    [
        ((0, 0), (19, 19), False),
        ((0, 0), (20, 1), True),
        ((0, 0), (100, 4), False),
        ((1000, 100), (100, 20), False),
        ((1000, 100), (100, 30), True),
    ],
)
def test_when_errors_are_worth_a_word(before: tuple[int, int], after: tuple[int, int], worse: bool) -> None:
    assert is_worse(before, after) is worse
