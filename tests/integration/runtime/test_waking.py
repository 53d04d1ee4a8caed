"""Waking: one start however many ask, failures with their reason and back-off, bounded starts."""

from __future__ import annotations

import asyncio
import contextlib
import time
from pathlib import Path

import pytest

from pocketfleet.domain import limits
from pocketfleet.domain.states import Process
from pocketfleet.errors import StartFailed, Unavailable
from pocketfleet.runtime import failures as failures_module
from pocketfleet.runtime import preflight, supervisor
from tests.integration.runtime.rooms import House, house, recording, request, starts, until
from tests.pocketbases import NEWEST, executable


async def test_three_hundred_ask_and_one_starts(place: House, home: Path) -> None:
    guest = place.add(recording(executable(NEWEST), home))
    asked = (place.supervisor.ensure(guest.instance_id, cause=f"GET /{number}") for number in range(300))
    assert set(await asyncio.gather(*asked)) == {guest.listens_at}
    assert len(starts(home)) == 1
    assert (await request(guest.listens_at, "/api/health"))["code"] == 200
    assert place.supervisor.awake() == {guest.instance_id: guest.listens_at}
    await until(lambda: place.edge.routes == {guest.instance_id: guest.listens_at})
    assert [seen.process for seen in place.seen] == [Process.WAKING, Process.AWAKE]
    assert "woken by GET /0" in place.log_text(guest)


async def test_a_start_goes_on_when_the_caller_goes_away(place: House, home: Path) -> None:
    guest = place.add(recording(executable(NEWEST), home))
    caller = asyncio.create_task(place.supervisor.ensure(guest.instance_id, cause="GET /"))
    await until(lambda: starts(home))
    caller.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await caller
    await until(lambda: guest.instance_id in place.supervisor.awake())
    await place.supervisor.ensure(guest.instance_id, cause="GET /")
    assert len(starts(home)) == 1


async def test_twenty_wake_at_once(place: House, home: Path) -> None:
    noted = recording(executable(NEWEST), home)
    guests = [place.add(noted) for _ in range(20)]
    await asyncio.gather(*(place.supervisor.ensure(guest.instance_id, cause="GET /") for guest in guests))
    answers = await asyncio.gather(*(request(guest.listens_at, "/api/health") for guest in guests))
    assert {answer["code"] for answer in answers} == {200}
    assert len(starts(home)) == 20


async def test_a_migration_that_fails_is_told_and_not_tried_in_a_loop(place: House, home: Path) -> None:
    guest = place.add(recording(executable(NEWEST), home))
    migration = guest.folder / "pb_migrations" / "1700000000_bad.js"
    migration.write_text("migrate((app) => { throw new Error('no such thing as ' + 'luck') })")
    with pytest.raises(StartFailed, match="luck") as caught:
        await place.supervisor.ensure(guest.instance_id, cause="GET /")
    assert "correct or remove its file in pb_migrations" in caught.value.reason
    assert caught.value.retry_after == limits.backoff(1)
    for _ in range(3):
        with pytest.raises(StartFailed, match="luck"):
            await place.supervisor.ensure(guest.instance_id, cause="GET /")
    assert len(starts(home)) == 1
    seen = place.last_seen(guest)
    assert seen.process == Process.FAILING
    assert seen.retry_at is not None
    assert "luck" in seen.reason
    assert "did not start" in place.log_text(guest)
    assert "luck" in place.log_text(guest)

    migration.unlink()
    place.supervisor.forgive(guest.instance_id)
    await place.supervisor.ensure(guest.instance_id, cause="GET /")
    assert place.last_seen(guest).reason == ""


async def test_the_next_try_comes_after_the_back_off(place: House, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failures_module, "backoff", lambda count: 0.1 * count)
    broken = home / "broken"
    broken.write_text(f'#!/bin/sh\necho x >> "{home}/starts"\necho out; echo err >&2; exit 3\n')
    broken.chmod(0o755)
    guest = place.add(broken)
    began = time.monotonic()
    for expected in (1, 2, 3):
        with pytest.raises(StartFailed, match="exit code 3") as caught:
            await place.supervisor.ensure(guest.instance_id, cause="GET /")
        assert caught.value.retry_after == pytest.approx(0.1 * expected)
        assert "out\nerr" in caught.value.reason
        await asyncio.sleep(caught.value.retry_after)
    assert len(starts(home)) == 3
    assert time.monotonic() - began >= 0.6


async def test_what_never_accepts_is_ended(home: Path) -> None:
    deaf = home / "deaf"
    deaf.write_text("#!/bin/sh\ntrap '' TERM\necho thinking\nwhile :; do sleep 0.05; done\n")
    deaf.chmod(0o755)
    async with house(home, start_timeout=0.3, stop_timeout=0.2) as place:
        guest = place.add(deaf)
        with pytest.raises(StartFailed, match="accepted no connection"):
            await place.supervisor.ensure(guest.instance_id, cause="GET /")
        assert list(place.config.run.glob("*.json")) == []
        assert place.supervisor.awake() == {}


async def test_what_cannot_even_be_described_counts_as_a_failed_start(place: House) -> None:
    with pytest.raises(StartFailed, match="not here; fetch it first"):
        await place.supervisor.ensure("nosuchinstance1", cause="GET /")
    assert place.seen[-1].process == Process.FAILING


async def test_slow_starts_do_not_keep_the_others_from_starting(home: Path) -> None:
    slow = home / "slow"
    slow.write_text(f'#!/bin/sh\nsleep 4\nexec "{executable(NEWEST)}" "$@"\n')
    slow.chmod(0o755)
    async with house(home, starts_at_once=1) as place:
        first, second = place.add(slow), place.add()
        sluggish = asyncio.create_task(place.supervisor.ensure(first.instance_id, cause="GET /"))
        await until(lambda: place.seen)
        await place.supervisor.ensure(second.instance_id, cause="GET /")
        assert not sluggish.done()
        await sluggish


async def test_a_full_disk_is_said(place: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "FREE_BYTES", 1 << 62)
    guest = place.add()
    with pytest.raises(StartFailed, match="disk is full: free some space"):
        await place.supervisor.ensure(guest.instance_id, cause="GET /")


async def test_open_streams_delay_the_end_of_all_once(place: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "_STOPS_AT_ONCE", 1)
    monkeypatch.setattr(supervisor, "_LAST_DRAIN", 1.0)
    guests = [place.add() for _ in range(4)]
    for guest in guests:
        await place.supervisor.ensure(guest.instance_id, cause="GET /api/realtime")
        place.edge.open[guest.instance_id] = 1
    began = time.monotonic()
    await place.supervisor.stop_all()
    assert place.supervisor.awake() == {}
    assert time.monotonic() - began < 3


async def test_nothing_wakes_once_all_stops(place: House) -> None:
    guest = place.add()
    await place.supervisor.ensure(guest.instance_id, cause="GET /")
    await place.supervisor.stop_all()
    with pytest.raises(Unavailable, match="stopping"):
        await place.supervisor.ensure(guest.instance_id, cause="GET /")
    assert place.supervisor.awake() == {}
