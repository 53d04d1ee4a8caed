"""A reload: no request fails, and old workers are still told and counted."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from pathlib import Path

import pytest

from pocketfleet.errors import NotAnswering, WrongConfiguration
from pocketfleet.routing import edge
from pocketfleet.routing.counters import Counters
from tests.integration.routing.fleets import Fleet, children, eventually


async def test_reloads_under_load_cost_no_request(fleet: Fleet) -> None:
    _, upstream = await fleet.upstream("busy")
    done = asyncio.Event()

    async def work(number: int) -> list[int]:
        statuses = []
        async with fleet.client("busy") as client:
            while not done.is_set():
                answer = await client.post("/", content=b"x" * 1000) if number % 2 else await client.get("/")
                statuses.append(answer.status_code)
        return statuses

    async with fleet.client("busy") as client, client.stream("GET", "/events") as stream:
        lines = (line async for line in stream.aiter_lines() if line)
        assert await anext(lines) == "data: hello"
        workers = [asyncio.create_task(work(number)) for number in range(8)]
        for _ in range(5):
            await asyncio.sleep(0.3)
            await edge.reload(fleet.config)
        done.set()
        results = await asyncio.gather(*workers)
        await upstream.say("still here")
        assert await anext(lines) == "data: still here"
    assert {status for result in results for status in result} == {200}
    assert min(map(len, results)) > 10
    assert fleet.asked == []


async def test_idle_clients_are_served_after_a_reload(fleet: Fleet) -> None:
    """A client that does not retry sends its next POST on the connection it had before."""
    await fleet.upstream("shop")
    async with fleet.client("shop") as client:
        await client.get("/")
        await edge.reload(fleet.config)
        await asyncio.sleep(0.2)
        assert (await client.post("/", content=b"x")).status_code == 200


async def test_old_workers_are_told_and_counted(fleet: Fleet) -> None:
    instance, _upstream = await fleet.upstream("live")
    async with fleet.client("live") as client, client.stream("GET", "/events") as stream:
        lines = stream.aiter_lines()
        await anext(lines)
        await edge.reload(fleet.config)
        await edge.reload(fleet.config)
        # the one in between carries nothing, and ends by itself
        await eventually(lambda: _older_workers(fleet, 1))
        workers = await fleet.master.workers()
        assert (await fleet.counters.read())[instance].connections == 1

        cold, _ = await fleet.upstream("cold")
        await fleet.routes.withdraw(instance)
        for worker in workers.prefixes:
            upstreams = await fleet.master.ask(f"{worker} show map upstreams.map")
            assert cold in upstreams
            assert instance not in upstreams
            assert "cold.localhost" in await fleet.master.ask(f"{worker} show map hosts.map")
        assert await fleet.routes.check() == 0

        async with fleet.client("live") as other, other.stream("GET", "/events") as second:
            more = second.aiter_lines()
            await anext(more)
            assert (await fleet.counters.read())[instance].connections == 2
    await eventually(lambda: _all_closed(fleet, instance))


async def test_a_parked_request_outlives_a_reload(fleet: Fleet) -> None:
    instance, upstream = await fleet.upstream("cold", awake=False)
    released = fleet.waits(instance, upstream.address)
    async with fleet.client("cold") as client:
        request = asyncio.create_task(client.post("/", content=b"abc"))
        await eventually(lambda: fleet.gate.parked(instance) == 1)
        await edge.reload(fleet.config)
        traffic = (await fleet.counters.read())[instance]
        assert traffic.connections - fleet.gate.parked(instance) == 0
        released.set()
        assert (await request).json()["size"] == 3


async def test_every_request_is_counted_once_over_reloads(fleet: Fleet) -> None:
    """Two reloads while an old worker lives on for its stream, and a reader that takes over from another in between."""
    instance, _ = await fleet.upstream("shop")
    counted = 0

    async def sample() -> int:
        await fleet.counters.read()
        found = fleet.counters.take_samples().get(instance)
        return found.counts.requests if found else 0

    async with fleet.client("shop") as other, other.stream("GET", "/events") as stream:
        lines = stream.aiter_lines()
        await anext(lines)
        for turn in range(3):
            async with fleet.client("shop") as client:
                for _ in range(7):
                    await client.get("/")
            counted += await sample()
            assert counted == 1 + 7 * (turn + 1)
            await edge.reload(fleet.config)
            assert await sample() == 0
            marks = fleet.counters.marks()
            fleet.counters = Counters(fleet.config)
            fleet.counters.resume(marks)
        assert (await fleet.counters.read())[instance].connections == 1
    assert await sample() == 0


async def test_a_killed_haproxy_takes_no_counted_request_with_it(fleet: Fleet) -> None:
    instance, _ = await fleet.upstream("shop")
    async with fleet.client("shop") as client:
        for _ in range(3):
            await client.get("/")
    await fleet.counters.read()
    await fleet.kill_haproxy()
    await fleet.start_haproxy()
    async with fleet.client("shop") as client:
        for _ in range(2):
            await client.get("/")
    await fleet.counters.read()
    assert fleet.counters.take_samples()[instance].counts.requests == 5


async def test_changes_during_reloads_reach_every_worker(fleet: Fleet) -> None:
    """20 route changes and 5 reloads in one another's way: afterwards nothing is wrong anywhere."""
    instance, upstream = await fleet.upstream("shop")
    other, _ = await fleet.upstream("other")

    async def change() -> None:
        for number in range(40):
            await fleet.routes.withdraw(instance)
            await fleet.routes.change_hosts({f"n{number}.localhost": other})
            await fleet.routes.publish(instance, upstream.address)
            await fleet.routes.change_hosts({}, [f"n{number}.localhost"] if number % 2 else [])

    changes = asyncio.create_task(change())
    for _ in range(5):
        await asyncio.sleep(0.05)
        await edge.reload(fleet.config)
    await changes
    assert await fleet.routes.check() == 0
    async with fleet.client("n38") as client:
        assert (await client.get("/")).json()["upstream"] == "other"


async def test_a_configuration_that_does_not_load_changes_nothing(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fleet.upstream("shop")
    before = (fleet.config.edge / "haproxy.cfg").read_text()
    monkeypatch.setattr("pocketfleet.routing.rendering._strip_lines", lambda: ["    no such line"])
    with pytest.raises(WrongConfiguration, match="unknown keyword"):
        await edge.reload(fleet.config)
    assert (fleet.config.edge / "haproxy.cfg").read_text() == before
    async with fleet.client("shop") as client:
        assert (await client.get("/")).status_code == 200


async def test_a_reload_without_haproxy_says_so(fleet: Fleet) -> None:
    await fleet.kill_haproxy()
    with pytest.raises(NotAnswering, match="not running"):
        await edge.reload(fleet.config)


async def test_haproxy_says_nothing_while_all_is_well(fleet: Fleet) -> None:
    await fleet.upstream("shop")
    await edge.reload(fleet.config)
    async with fleet.client("shop") as client:
        await client.get("/")
    assert fleet.output.read_text() == ""


async def test_an_orderly_end_leaves_nothing_behind(fleet: Fleet) -> None:
    assert fleet.haproxy is not None
    pids = [fleet.haproxy.pid, *children(fleet.haproxy.pid)]
    fleet.haproxy.terminate()
    await fleet.haproxy.wait()
    await eventually(lambda: not any(_lives(pid) for pid in pids))


async def test_a_killed_master_takes_its_workers_along_and_can_be_started_again(fleet: Fleet) -> None:
    await fleet.upstream("shop")
    assert fleet.haproxy is not None
    pids = children(fleet.haproxy.pid)
    fleet.haproxy.send_signal(signal.SIGKILL)
    await fleet.haproxy.wait()
    start = time.monotonic()
    await fleet.start_haproxy()
    assert time.monotonic() - start < 3
    assert not any(_lives(pid) for pid in pids)
    async with fleet.client("shop") as client:
        assert (await client.get("/")).status_code == 200


def _lives(pid: int) -> bool:
    """A zombie that nobody has waited for is dead."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


async def _all_closed(fleet: Fleet, instance: str) -> bool:
    # the master does not answer for a worker that ends at that very moment
    with contextlib.suppress(NotAnswering):
        return (await fleet.counters.read())[instance].connections == 0
    return False


async def _older_workers(fleet: Fleet, count: int) -> bool:
    return len((await fleet.master.workers()).older) == count
