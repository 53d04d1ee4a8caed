"""Copying an instance without stopping or starting it, and leaving PocketBase alone while it restores itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from pocketfleet.runtime.restarts import Restart, image_of
from tests.integration.runtime.rooms import House, house, request, sign_in, until


@pytest.fixture
async def place(home: Path) -> AsyncIterator[House]:
    """A house for real PocketBases."""
    async with house(home) as made:
        yield made


async def test_an_awake_one_stays_awake_while_its_files_are_copied(place: House) -> None:
    guest = place.add()
    address = await place.supervisor.ensure(guest.instance_id, cause="GET /")
    async with place.supervisor.peace(guest.instance_id) as peace:
        assert peace.awake
        assert not await place.supervisor.sleep(guest.instance_id, cause="idle", drain=0, quiet_only=True)
        assert (await request(address, "/api/health"))["code"] == 200
    assert await place.supervisor.sleep(guest.instance_id, cause="idle", drain=0, quiet_only=True)


async def test_one_that_is_stopped_by_hand_does_not_wait_for_a_copy(place: House) -> None:
    guest = place.add()
    await place.supervisor.ensure(guest.instance_id, cause="GET /")
    async with place.supervisor.peace(guest.instance_id):
        assert await place.supervisor.sleep(guest.instance_id, cause="by hand", drain=1, quiet_only=False)


async def test_a_sleeping_one_is_not_woken_and_says_when_somebody_wants_it(place: House) -> None:
    guest = place.add()
    async with place.supervisor.peace(guest.instance_id) as peace:
        assert not peace.awake
        wake = asyncio.create_task(place.supervisor.ensure(guest.instance_id, cause="GET /"))
        async with asyncio.timeout(5):
            await peace.wanted.wait()
        assert place.supervisor.awake() == {}
    assert await wake == guest.listens_at
    async with place.supervisor.peace(guest.instance_id) as peace:
        assert peace.awake


@pytest.mark.parametrize("release", ["0.22.27", "0.23.12", "0.40.6"])
async def test_a_restore_of_its_own_is_waited_for(place: House, release: str) -> None:
    guest = await place.add_claimed(release=release)
    address = await place.supervisor.ensure(guest.instance_id, cause="GET /")
    token = await sign_in(guest, address)
    await ask(address, "/api/backups", {"name": "one.zip"}, token)
    before = image_of(place.pid(guest))
    place.supervisor.expect_restart(guest.instance_id)
    await ask(address, "/api/backups/one.zip/restore", {}, token)
    assert not await place.supervisor.sleep(guest.instance_id, cause="idle", drain=0, quiet_only=True)
    async with asyncio.timeout(15), place.supervisor.peace(guest.instance_id) as peace:
        assert peace.awake
        assert image_of(place.pid(guest)) != before
    assert await place.supervisor.ensure(guest.instance_id, cause="GET /", suspect=True) == address
    assert await place.supervisor.sleep(guest.instance_id, cause="idle", drain=0, quiet_only=True)


async def test_a_stop_by_hand_comes_after_the_restore(place: House) -> None:
    guest = await place.add_claimed()
    address = await place.supervisor.ensure(guest.instance_id, cause="GET /")
    token = await sign_in(guest, address)
    people = "/api/collections/_superusers/records"
    await ask(address, "/api/backups", {"name": "one.zip"}, token)
    other = {"email": "other@example.com", "password": "0123456789", "passwordConfirm": "0123456789"}
    await request(address, people, other, token)
    assert (await request(address, people, token=token))["totalItems"] == 2
    place.supervisor.expect_restart(guest.instance_id)
    await ask(address, "/api/backups/one.zip/restore", {}, token)
    assert await place.supervisor.sleep(guest.instance_id, cause="by hand", drain=0.1, quiet_only=False)
    address = await place.supervisor.ensure(guest.instance_id, cause="GET /")
    assert (await request(address, people, token=token))["totalItems"] == 1


async def test_a_restore_that_never_happens_is_given_up(place: House) -> None:
    guest = place.add()
    await place.supervisor.ensure(guest.instance_id, cause="GET /")
    restart = Restart(place.pid(guest), longest=0.2)
    assert restart.is_coming()
    async with asyncio.timeout(5):
        await restart.over()
    gone = Restart(place.pid(guest))
    await place.supervisor.sleep(guest.instance_id, cause="test", drain=0, quiet_only=False)
    await until(lambda: not gone.is_coming())


async def ask(address: str, path: str, body: object, token: str) -> None:
    """A request whose answer is empty."""
    with pytest.raises(ValueError):
        await request(address, path, body, token)
