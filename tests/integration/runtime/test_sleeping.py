"""Sleeping: nothing in flight is cut off, a request in between changes its mind or wakes it again."""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from pathlib import Path

import pytest

from pocketfleet.domain.states import Process
from pocketfleet.errors import StartFailed
from pocketfleet.runtime import idle as idle_module
from pocketfleet.runtime import processes
from pocketfleet.runtime.idle import IdleSweeper
from pocketfleet.runtime.lock import is_held, lock_path
from tests.integration.runtime.rooms import House, house, recording, request, starts, until
from tests.pocketbases import NEWEST, executable


async def test_a_quiet_one_sleeps_and_leaves_nothing_behind(place: House) -> None:
    guest = place.add()
    await place.supervisor.ensure(guest.instance_id, cause="GET /")
    pid = place.pid(guest)
    assert await place.supervisor.sleep(guest.instance_id, cause="idle for 60 s", drain=0, quiet_only=True)
    assert processes.start_time(pid) is None
    assert place.edge.routes == {}
    assert place.last_seen(guest).process == Process.ASLEEP
    assert {path.name for path in guest.data_folder.iterdir()} >= {"data.db", "auxiliary.db"}
    assert not list(guest.data_folder.glob("auxiliary.db-*"))
    assert [path.name for path in guest.log_folder.iterdir()] == ["instance.log"]
    assert list(place.config.run.glob("*.json")) == []
    assert "slept: idle for 60 s" in place.log_text(guest)
    assert "Server started" in place.log_text(guest)


async def test_one_asleep_needs_nothing(place: House) -> None:
    guest = place.add()
    assert await place.supervisor.sleep(guest.instance_id, cause="test", drain=0, quiet_only=False)
    assert place.seen == []


async def test_quiet_only_gives_up_when_requests_are_in_flight(place: House) -> None:
    guest = place.add()
    await place.supervisor.ensure(guest.instance_id, cause="GET /")
    place.edge.open[guest.instance_id] = 1
    assert not await place.supervisor.sleep(guest.instance_id, cause="test", drain=0, quiet_only=True)
    assert place.edge.routes == {guest.instance_id: guest.listens_at}
    assert (await request(guest.listens_at, "/api/health"))["code"] == 200


async def test_quiet_only_gives_up_when_a_request_is_parked(place: House, home: Path) -> None:
    guest = place.add(recording(executable(NEWEST), home))
    await place.supervisor.ensure(guest.instance_id, cause="GET /")
    place.edge.open[guest.instance_id] = 1
    place.edge.asked.clear()
    asleep = asyncio.create_task(place.supervisor.sleep(guest.instance_id, cause="test", drain=None, quiet_only=True))
    await place.edge.asked.wait()
    assert place.edge.routes == {}
    address = await place.supervisor.ensure(guest.instance_id, cause="GET /late")
    assert not await asleep
    assert address == guest.listens_at
    assert place.edge.routes == {guest.instance_id: address}
    assert len(starts(home)) == 1


async def test_halting_waits_neither_for_streams_nor_for_who_waits_at_the_gate(place: House) -> None:
    guest = place.add()
    await place.supervisor.ensure(guest.instance_id, cause="GET /")
    place.edge.open[guest.instance_id] = 5
    place.edge.streams[guest.instance_id] = 3
    place.edge.waiting[guest.instance_id] = 2
    assert await place.supervisor.halt(guest.instance_id, cause="upgrade", drain=5)
    assert place.supervisor.release(guest.instance_id) is None


async def test_halting_cuts_nobody_off(place: House) -> None:
    guest = place.add()
    await place.supervisor.ensure(guest.instance_id, cause="GET /")
    place.edge.open[guest.instance_id] = 4
    place.edge.streams[guest.instance_id] = 3
    assert not await place.supervisor.halt(guest.instance_id, cause="upgrade", drain=0.1)
    assert place.edge.routes == {guest.instance_id: guest.listens_at}
    assert place.supervisor.release(guest.instance_id) == NEWEST
    assert (await request(guest.listens_at, "/api/health"))["code"] == 200


async def test_what_is_in_flight_gets_its_time(place: House) -> None:
    guest = place.add()
    await place.supervisor.ensure(guest.instance_id, cause="GET /")
    pid = place.pid(guest)
    place.edge.open[guest.instance_id] = 1
    place.edge.asked.clear()
    asleep = asyncio.create_task(place.supervisor.sleep(guest.instance_id, cause="off", drain=30, quiet_only=False))
    await place.edge.asked.wait()
    assert processes.start_time(pid) is not None
    place.edge.open[guest.instance_id] = 0
    assert await asleep
    assert processes.start_time(pid) is None


async def test_drain_ends_when_time_is_up(place: House) -> None:
    guest = place.add()
    await place.supervisor.ensure(guest.instance_id, cause="GET /")
    place.edge.open[guest.instance_id] = 1  # an event stream that never ends
    assert await place.supervisor.sleep(guest.instance_id, cause="off", drain=0.1, quiet_only=False)


async def test_parked_requests_are_not_in_flight(place: House) -> None:
    guest = place.add()
    await place.supervisor.ensure(guest.instance_id, cause="GET /")
    place.edge.open[guest.instance_id] = place.edge.waiting[guest.instance_id] = 3
    began = time.monotonic()
    assert await place.supervisor.sleep(guest.instance_id, cause="off", drain=30, quiet_only=False)
    assert time.monotonic() - began < 20


async def test_requests_that_come_past_the_signal_wake_it_again(place: House, home: Path) -> None:
    guest = place.add(recording(executable(NEWEST), home))
    for round_number in range(5):
        await place.supervisor.ensure(guest.instance_id, cause="GET /")
        asleep = asyncio.create_task(
            place.supervisor.sleep(guest.instance_id, cause="by hand", drain=0, quiet_only=False)
        )
        await until(lambda: guest.instance_id not in place.edge.routes)
        asked = (place.supervisor.ensure(guest.instance_id, cause="GET /") for _ in range(20))
        assert set(await asyncio.gather(*asked)) == {guest.listens_at}
        assert await asleep
        assert (await request(guest.listens_at, "/api/health"))["code"] == 200
        assert len(starts(home)) == round_number + 2


async def test_one_that_ignores_the_signal_is_killed(home: Path) -> None:
    async with house(home, stop_timeout=0.3) as place:
        guest = place.add()
        await place.supervisor.ensure(guest.instance_id, cause="GET /")
        pid = place.pid(guest)
        os.kill(pid, 19)  # SIGSTOP: it cannot act on SIGTERM
        assert await place.supervisor.sleep(guest.instance_id, cause="off", drain=0, quiet_only=False)
        assert processes.start_time(pid) is None
        assert "killed after 0.3 s" in place.log_text(guest)


async def test_a_start_without_end_is_not_waited_for_by_who_has_no_time(home: Path) -> None:
    deaf = home / "deaf"
    deaf.write_text("#!/bin/sh\ntrap '' TERM\nwhile :; do sleep 0.05; done\n")
    deaf.chmod(0o755)
    async with house(home, start_timeout=3600, stop_timeout=3600) as place:
        guest = place.add(deaf)
        waking = asyncio.create_task(place.supervisor.ensure(guest.instance_id, cause="GET /"))
        await until(lambda: (place.config.run / f"{guest.instance_id}.json").exists() and place.pid(guest))
        pid = place.pid(guest)
        assert not await place.supervisor.halt(guest.instance_id, cause="hold", drain=0.1, grace=0.1)
        assert processes.start_time(pid) is not None
        assert await place.supervisor.sleep(guest.instance_id, cause="back", drain=0, quiet_only=False, grace=0.1)
        assert processes.start_time(pid) is None
        with pytest.raises(StartFailed):
            await waking


async def test_at_rest_holds_the_lock_and_starts_wait(place: House, home: Path) -> None:
    guest = place.add(recording(executable(NEWEST), home))
    await place.supervisor.ensure(guest.instance_id, cause="GET /")
    path = lock_path(place.config.run, guest.instance_id)
    async with place.supervisor.at_rest(guest.instance_id):
        assert place.supervisor.awake() == {}
        assert is_held(path)
        asked = asyncio.create_task(place.supervisor.ensure(guest.instance_id, cause="GET /"))
        second = asyncio.create_task(_at_rest(place, guest.instance_id))
        await asyncio.sleep(0.1)
        assert len(starts(home)) == 1
    await second
    assert await asked == guest.listens_at
    assert len(starts(home)) == 2


async def test_at_rest_gets_its_turn_however_many_ask(place: House) -> None:
    guest = place.add()
    wanted = True

    async def keep_asking() -> None:
        while wanted:
            await place.supervisor.ensure(guest.instance_id, cause="GET /")
            await asyncio.sleep(0)

    clients = [asyncio.create_task(keep_asking()) for _ in range(8)]
    await until(lambda: place.supervisor.awake())
    async with asyncio.timeout(10):
        await _at_rest(place, guest.instance_id)
    wanted = False
    await asyncio.gather(*clients)


async def test_the_lock_goes_with_the_instance(place: House) -> None:
    guest = place.add()
    async with place.supervisor.at_rest(guest.instance_id):
        shutil.rmtree(guest.folder)
    assert not lock_path(place.config.run, guest.instance_id).exists()


async def test_idle_ones_go_to_sleep_and_busy_ones_do_not(place: House) -> None:
    idle, busy, streaming, never = (place.add() for _ in range(4))
    for guest in (idle, busy, streaming, never):
        await place.supervisor.ensure(guest.instance_id, cause="GET /")
    timeouts: dict[str, float | None] = {never.instance_id: None}
    sweeper = IdleSweeper(place.supervisor, place.edge, place.edge, lambda key: timeouts.get(key, 0.3))
    place.edge.open[streaming.instance_id] = 1
    end = time.monotonic() + 0.8
    # until it has slept, too: on a busy machine there may be a single look in that time
    while time.monotonic() < end or idle.instance_id in place.supervisor.awake():
        place.edge.requests[busy.instance_id] = place.edge.requests.get(busy.instance_id, 0) + 1
        await sweeper.sweep()
        await asyncio.sleep(0.05)
    assert set(place.supervisor.awake()) == {guest.instance_id for guest in (busy, streaming, never)}
    assert idle_module.EVERY == 1.0


async def _at_rest(place: House, instance_id: str) -> None:
    async with place.supervisor.at_rest(instance_id):
        assert place.supervisor.awake() == {}
