"""What is written down of instances' use: in few queries, once each, and kept where the database refuses."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from django.db import DatabaseError, connection
from django.test.utils import CaptureQueriesContext

from pocketfleet.actions import usage as actions
from pocketfleet.actions.usage import Used
from pocketfleet.domain.states import Process
from pocketfleet.domain.usage import HOUR, KEPT, Counts, Sample, hour_of
from pocketfleet.errors import NotAnswering
from pocketfleet.models import Change, CounterMark, Instance, Usage
from pocketfleet.operations import purge
from pocketfleet.operations import sizes as sizes_module
from pocketfleet.operations import usage as usage_module
from pocketfleet.operations.database import Database
from pocketfleet.operations.sizes import Sizes
from pocketfleet.operations.tools import Tools
from pocketfleet.operations.usage import UsageWriter
from pocketfleet.runtime.supervisor import SeenProcess
from tests.integration.operations.waiting import until as until_awaited
from tests.tables import empty_database

NOON = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)


@pytest.fixture
async def database() -> AsyncIterator[Database]:
    async with empty_database() as made:
        await made.call(make_instances, 40)
        yield made


def make_instances(count: int) -> None:
    Instance.objects.bulk_create(Instance(id=f"{n:015d}", name=f"n{n}", number=n, range="*") for n in range(count))


def instance_id(number: int) -> str:
    return f"{number:015d}"


class Counting:
    """Stands for the edge's counters, which tests/integration/routing counts with the real HAProxy."""

    def __init__(self) -> None:
        self.coming: dict[str, Sample] = {}
        self.marked: dict[str, dict[str, list[int]]] = {}
        self.resumed: Mapping[str, dict[str, list[int]]] = {}
        self.silent = False

    def request(self, key: str, count: int, at: datetime = NOON) -> None:
        """So many requests."""
        self.coming[key] = Sample(Counts(count, 0, 0, count, count), at)
        before = self.marked.get(key, {"1.5": [0]})["1.5"][0]
        self.marked[key] = {"1.5": [before + count]}

    async def read(self) -> object:
        if self.silent:
            raise NotAnswering("HAProxy does not say what it carries.")
        return {}

    def take_samples(self) -> dict[str, Sample]:
        taken, self.coming = self.coming, {}
        return taken

    def marks(self) -> dict[str, dict[str, list[int]]]:
        return dict(self.marked)

    def resume(self, marks: Mapping[str, dict[str, list[int]]]) -> None:
        self.resumed = marks


def written() -> dict[str, int]:
    return {row.instance_id: row.requests for row in Usage.objects.all()}


def is_written() -> bool:
    return Usage.objects.exists()


async def until(is_so: Callable[[], bool]) -> None:
    async def asked() -> bool:
        return is_so()

    await until_awaited(asked)


def used(number: int, **facts: Any) -> Used:
    known: dict[str, Any] = {"hours": {NOON: Counts(1, 0, 0, 2, 3)}, "last_request_at": NOON, "marks": {"1.5": [1]}}
    return Used(instance_id(number), **known | facts)


@pytest.fixture
def queries(database: Database) -> Callable[..., Any]:
    """How many statements a function needs."""

    def count(function: Callable[..., Any], *args: Any) -> int:
        with CaptureQueriesContext(connection) as seen:
            function(*args)
        return len(seen)

    return count


async def test_one_and_forty_instances_take_the_same_queries(database: Database, queries: Callable[..., Any]) -> None:
    few = await database.call(queries, actions.record_usage, [used(0)])
    again = await database.call(queries, actions.record_usage, [used(0)])
    many = await database.call(queries, actions.record_usage, [used(number) for number in range(40)])
    assert few == again == many <= 8
    assert (await database.call(written))[instance_id(0)] == 3


async def test_rows_add_up_and_the_last_request_never_goes_back(database: Database) -> None:
    def write() -> None:
        actions.record_usage([used(1, size=500, hours={NOON: Counts(1, 1, 1, 10, 20)})])
        hours = {NOON: Counts(2, 0, 0, 1, 1), NOON + HOUR: Counts(5)}
        actions.record_usage([used(1, hours=hours, last_request_at=NOON - HOUR)])
        actions.record_usage([used(1, hours={NOON + HOUR: Counts()}, last_request_at=None, size=700)])

    await database.call(write)
    row, later = await database.call(lambda: list(Usage.objects.order_by("hour")))
    assert (row.requests, row.client_errors, row.server_errors) == (3, 1, 1)
    assert (row.bytes_in, row.bytes_out, row.size_bytes) == (11, 21, 500)
    assert (later.requests, later.size_bytes) == (5, 700)
    instance = await database.call(Instance.objects.get, id=instance_id(1))
    assert (instance.last_request_at, instance.size_bytes) == (NOON, 700)
    assert (
        await database.call(lambda: list(Change.objects.values_list("kind", "key"))) == [("usage", instance_id(1))] * 3
    )


async def test_numbers_beyond_all_bounds_are_cut(database: Database) -> None:
    huge = used(1, hours={NOON: Counts(*[2**70] * 5)})
    for _ in range(2):
        await database.call(actions.record_usage, [huge])
    row = await database.call(Usage.objects.get)
    assert row.requests == row.bytes_out == 2**63 - 1


async def test_a_counter_of_no_instance_keeps_nobody_else_from_being_written(database: Database) -> None:
    await database.call(actions.record_usage, [Used("nosuchinstance1", {NOON: Counts(1)}), used(1)])
    assert await database.call(written) == {instance_id(1): 1}


async def test_old_hours_go_in_batches_and_deleted_instances_at_once(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(actions, "PRUNED_AT_ONCE", 10)
    old = hour_of(datetime.now(UTC)) - KEPT - HOUR

    def write() -> None:
        hours = {old - HOUR * number: Counts(1) for number in range(25)} | {old + 2 * HOUR: Counts(7)}
        actions.record_usage([used(1, hours=hours), used(2, hours={old + 2 * HOUR: Counts(8)})])

    await database.call(write)
    assert [await database.call(actions.prune_usage) for _ in range(4)] == [10, 10, 5, 0]
    assert await database.call(written) == {instance_id(1): 7, instance_id(2): 8}
    await database.call(actions.forget_usage, instance_id(1))
    assert await database.call(written) == {instance_id(2): 8}
    assert list(await database.call(actions.counter_marks)) == [instance_id(2)]


async def test_housekeeping_goes_on_until_all_that_is_due_is_gone(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(actions, "PRUNED_AT_ONCE", 10)
    monkeypatch.setattr(purge, "PRUNED_AT_ONCE", 10)
    old = hour_of(datetime.now(UTC)) - KEPT - HOUR
    hours = {old - HOUR * number: Counts(1) for number in range(25)} | {old + 2 * HOUR: Counts(7)}
    await database.call(actions.record_usage, [used(1, hours=hours)])
    assert await purge.prune_records(cast(Tools, SimpleNamespace(database=database))) == 25
    assert await database.call(written) == {instance_id(1): 7}


async def test_at_rest_nothing_is_written(database: Database) -> None:
    counting = Counting()
    writer = UsageWriter(database, counting)
    counting.request(instance_id(1), 3)
    await writer.write()
    before = await database.call(Change.objects.count)
    for _ in range(3):
        await writer.write()
    assert await database.call(Change.objects.count) == before
    writer.measured(instance_id(1), 100)
    await writer.write()
    writer.measured(instance_id(1), 100)
    await writer.write()
    assert await database.call(Change.objects.count) == before + 1


async def test_what_the_database_refuses_is_written_the_next_time(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    counting = Counting()
    writer = UsageWriter(database, counting)
    counting.request(instance_id(1), 3)

    def refuse(*args: object) -> None:
        raise DatabaseError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(actions, "record_usage", refuse)
        await writer.write()
        writer.measured(instance_id(1), 77)
        counting.request(instance_id(1), 4)
        await writer.write()
    assert await database.call(written) == {}
    assert await database.call(actions.counter_marks) == {}
    await writer.write()
    assert await database.call(written) == {instance_id(1): 7}
    assert await database.call(actions.counter_marks) == {instance_id(1): {"1.5": [7]}}
    assert (await database.call(Instance.objects.get, id=instance_id(1))).size_bytes == 77


async def test_a_silent_edge_loses_nothing_that_was_counted(database: Database) -> None:
    counting = Counting()
    writer = UsageWriter(database, counting)
    counting.request(instance_id(1), 3)
    counting.silent = True
    await writer.write()
    assert await database.call(written) == {instance_id(1): 3}


async def test_a_write_whose_caller_goes_away_is_not_written_twice(database: Database) -> None:
    counting = Counting()
    writer = UsageWriter(database, counting)
    counting.request(instance_id(1), 3)
    caller = asyncio.create_task(writer.write())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    caller.cancel()
    await writer.write()
    assert await database.call(written) == {instance_id(1): 3}


async def test_one_that_falls_asleep_is_written_soon_and_alone(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(usage_module, "GATHER", 0.05)
    # the clock must not show a multiple of it while this runs
    monkeypatch.setattr(usage_module, "EVERY", 10.0**9)
    counting = Counting()
    writer = UsageWriter(database, counting)
    loop = asyncio.create_task(writer.run())
    counting.request(instance_id(1), 3)
    counting.request(instance_id(2), 4)
    writer.measured(instance_id(1), 123)
    writer.seen(SeenProcess(instance_id(1), Process.ASLEEP))
    await until_awaited(lambda: database.call(is_written))
    assert await database.call(written) == {instance_id(1): 3}
    assert list(await database.call(actions.counter_marks)) == [instance_id(1)]
    loop.cancel()
    await writer.write()
    assert await database.call(written) == {instance_id(1): 3, instance_id(2): 4}
    instance = await database.call(Instance.objects.get, id=instance_id(1))
    assert (instance.last_request_at, instance.size_bytes) == (NOON, 123)


async def test_marks_are_resumed_and_go_with_their_counters(database: Database) -> None:
    counting = Counting()
    writer = UsageWriter(database, counting)
    counting.request(instance_id(1), 3)
    counting.request(instance_id(2), 4)
    await writer.write()
    counters = Counting()
    successor = UsageWriter(database, counters)
    await successor.resume()
    assert counters.resumed == {instance_id(1): {"1.5": [3]}, instance_id(2): {"1.5": [4]}}
    counters.marked = {instance_id(2): {"1.5": [4]}}
    await successor.write()
    assert await database.call(lambda: list(CounterMark.objects.values_list("instance_id", flat=True))) == [
        instance_id(2)
    ]


async def test_counts_belong_to_the_hour_in_which_they_were_made(database: Database) -> None:
    """The sample at the full hour holds what came before it."""
    counting = Counting()
    writer = UsageWriter(database, counting)
    writer._since = NOON - timedelta(minutes=5)
    counting.request(instance_id(1), 3)
    await writer.write()
    assert (await database.call(Usage.objects.get)).hour == NOON - HOUR


async def test_sizes_are_measured_when_one_falls_asleep_and_when_its_files_changed(home: Path) -> None:
    found: list[tuple[str, int]] = []
    measuring = Sizes(home, lambda key, size: found.append((key, size.amount.names)))
    loop = asyncio.create_task(measuring.run())
    (home / "shop").mkdir()
    (home / "shop" / "data.db").write_bytes(b"x" * 100)
    measuring.seen(SeenProcess("shop", Process.ASLEEP))
    measuring.changed("gone")
    measuring.seen(SeenProcess("shop", Process.AWAKE))
    measuring.seen(SeenProcess("shop", Process.ASLEEP))
    await until(lambda: found == [("shop", 1)])
    measuring._calm.clear()
    (home / "shop" / "more").write_bytes(b"x" * 23)
    measuring.changed("shop")
    await until(lambda: found == [("shop", 1), ("shop", 2)])
    assert measuring._due == {}
    loop.cancel()


async def test_one_that_stays_awake_is_measured_again_and_again(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sizes_module, "FIRST", 0.01)
    monkeypatch.setattr(sizes_module, "EVERY", 0.01)
    (home / "shop").mkdir()
    found: list[str] = []
    measuring = Sizes(home, lambda key, size: found.append(key))
    loop = asyncio.create_task(measuring.run())
    measuring.seen(SeenProcess("shop", Process.AWAKE))
    await until(lambda: len(found) >= 3)
    measuring.seen(SeenProcess("shop", Process.ASLEEP))
    await until(lambda: not measuring._due)
    loop.cancel()


async def test_measuring_takes_a_hundredth_of_the_time_at_most(home: Path) -> None:
    measuring = Sizes(home, lambda key, size: None)
    measuring._calm["shop"] = asyncio.get_running_loop().time() + 1000
    measuring.changed("shop")
    assert measuring._due["shop"] == measuring._calm["shop"]
