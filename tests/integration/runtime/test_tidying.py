"""What is kept of instances that sleep is dropped, and nothing is lost with it: one start, the back-off, the lock."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest

from pocketfleet.errors import StartFailed
from pocketfleet.runtime.idle import IdleSweeper
from tests.integration.runtime.rooms import House, recording, starts, until
from tests.pocketbases import NEWEST, executable


def kept(place: House) -> set[str]:
    return set(place.supervisor._keepers)


async def test_a_sleeper_is_dropped_and_an_awake_one_is_not(place: House) -> None:
    sleeper, awake = place.add(), place.add()
    for guest in (sleeper, awake):
        await place.supervisor.ensure(guest.instance_id, cause="GET /")
    await place.supervisor.tidy()
    assert kept(place) == {sleeper.instance_id, awake.instance_id}
    await place.supervisor.sleep(sleeper.instance_id, cause="test", drain=0, quiet_only=False)
    await place.supervisor.tidy()
    assert kept(place) == {awake.instance_id}
    await place.supervisor.ensure(sleeper.instance_id, cause="GET /again")
    assert set(place.supervisor.awake()) == {sleeper.instance_id, awake.instance_id}


async def test_questions_about_sleepers_leave_nothing_behind(place: House) -> None:
    guest = place.add()
    assert place.supervisor.release(guest.instance_id) is None
    assert place.supervisor.failures(guest.instance_id) == 0
    place.supervisor.expect_restart(guest.instance_id)
    place.supervisor.forgive(guest.instance_id)
    assert kept(place) == set()


async def test_the_back_off_is_remembered(place: House, home: Path) -> None:
    broken = home / "broken"
    broken.write_text("#!/bin/sh\necho broken >&2\nexit 1\n")
    broken.chmod(0o755)
    guest = place.add(broken)
    with pytest.raises(StartFailed):
        await place.supervisor.ensure(guest.instance_id, cause="GET /")
    await place.supervisor.tidy()
    with pytest.raises(StartFailed, match="broken") as caught:
        await place.supervisor.ensure(guest.instance_id, cause="GET /")
    assert caught.value.retry_after > 0
    assert place.supervisor.failures(guest.instance_id) == 1
    place.supervisor.forgive(guest.instance_id)
    await place.supervisor.tidy()
    assert kept(place) == set()


async def test_who_works_on_its_files_or_waits_for_that_keeps_it(place: House, home: Path) -> None:
    guest = place.add(recording(executable(NEWEST), home))
    entered = place.supervisor.at_rest(guest.instance_id)
    await place.supervisor.tidy()
    async with entered:
        waiting = asyncio.create_task(place.supervisor.ensure(guest.instance_id, cause="GET /"))
        await until(lambda: place.supervisor._keepers[guest.instance_id].users == 2)
        waiting.cancel()
        waiting = asyncio.create_task(place.supervisor.ensure(guest.instance_id, cause="GET /"))
        await asyncio.sleep(0)
        await place.supervisor.tidy()
        assert kept(place) == {guest.instance_id}
        assert starts(home) == []
    await waiting
    assert len(starts(home)) == 1
    async with place.supervisor.peace(guest.instance_id):
        await place.supervisor.tidy()
        assert kept(place) == {guest.instance_id}


async def test_tidying_all_the_time_never_makes_two_of_one(place: House, home: Path) -> None:
    """Asked, put to sleep, rested and tidied in each other's way: starts and ends come in turns."""
    guest = place.add(recording(executable(NEWEST), home))
    chance = random.Random(7)
    over = False

    async def tidy() -> None:
        while not over:
            await place.supervisor.tidy()
            await asyncio.sleep(0)

    async def ask() -> None:
        for _ in range(15):
            await place.supervisor.ensure(guest.instance_id, cause="GET /")
            await asyncio.sleep(chance.random() / 50)

    async def disturb() -> None:
        for turn in range(10):
            await place.supervisor.sleep(guest.instance_id, cause="test", drain=0, quiet_only=bool(turn % 2))
            async with place.supervisor.at_rest(guest.instance_id):
                assert place.supervisor.awake() == {}
            await asyncio.sleep(chance.random() / 50)

    tidying = asyncio.create_task(tidy())
    await asyncio.gather(disturb(), *(ask() for _ in range(10)))
    over = True
    await tidying
    await place.supervisor.sleep(guest.instance_id, cause="test", drain=0, quiet_only=False)
    log = place.log_text(guest)
    assert log.count("awake after") == log.count("slept:") == len(starts(home))
    assert "died" not in log
    await place.supervisor.tidy()
    assert kept(place) == set()


async def test_a_count_that_the_edge_forgot_is_no_request(place: House) -> None:
    """Idle for an hour: the edge's counter is gone after a quarter of it, and that is no reason to begin anew."""
    guest = place.add()
    await place.supervisor.ensure(guest.instance_id, cause="GET /")
    await until(lambda: guest.instance_id in place.edge.routes)
    sweeper = IdleSweeper(place.supervisor, place.edge, place.edge, lambda _: 3600.0)
    place.edge.requests[guest.instance_id] = 5
    await sweeper.sweep()
    since = sweeper._quiet[guest.instance_id].since
    del place.edge.requests[guest.instance_id]
    await sweeper.sweep()
    assert sweeper._quiet[guest.instance_id].since == since
    place.edge.requests[guest.instance_id] = 1
    await sweeper.sweep()
    assert sweeper._quiet[guest.instance_id].since > since
