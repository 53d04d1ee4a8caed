"""The first superuser on data at rest, in every release of the journeys, and a life after it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal

import pytest

from pocketfleet.errors import ReleaseUnusable
from pocketfleet.runtime import processes
from pocketfleet.runtime.lock import lock_path, try_lock
from pocketfleet.runtime.superuser import create_superuser
from tests.integration.runtime.rooms import EMAIL, HASH, House, kill, request, sign_in
from tests.pocketbases import JOURNEY_VERSIONS


@pytest.mark.parametrize("release", JOURNEY_VERSIONS)
async def test_claimed_woken_written_to_slept_killed_and_read_back(place: House, release: str) -> None:
    guest = await place.add_claimed(release=release)
    for path in [guest.folder, *guest.folder.iterdir()]:
        assert path.stat().st_mode & 0o777 == 0o700
    before = {path.name for path in guest.data_folder.iterdir()}
    assert not [name for name in before if name.endswith(("-wal", "-shm"))]

    address = await place.supervisor.ensure(guest.instance_id, cause="GET /")
    token = await sign_in(guest, address)
    assert "pbinstal" not in place.log_text(guest)
    field = {"name": "text", "type": "text"}
    fields = {"fields": [field]} if guest.has_superusers else {"schema": [field]}
    await request(address, "/api/collections", {"name": "notes", "type": "base", **fields}, token)
    records = "/api/collections/notes/records"
    await request(address, records, {"text": "before sleep"}, token)

    assert await place.supervisor.sleep(guest.instance_id, cause="test", drain=0, quiet_only=True)
    await place.supervisor.ensure(guest.instance_id, cause="GET /")
    token = await sign_in(guest, address)
    await request(address, records, {"text": "before the kill"}, token)
    kill(place.pid(guest), address)
    await place.supervisor.ensure(guest.instance_id, cause="GET /", suspect=True)
    answer = await request(address, records, token=await sign_in(guest, address))
    assert {item["text"] for item in answer["items"]} == {"before sleep", "before the kill"}


@pytest.mark.parametrize("release", ["0.22.27", JOURNEY_VERSIONS[-1]])
async def test_killed_at_any_moment_and_called_again_it_ends_the_same(place: House, release: str) -> None:
    guest = place.add(release=release)
    lock = lock_path(place.config.run, guest.instance_id)
    for delay in (0.02, 0.08, 0.15, 0.25):
        work = asyncio.create_task(create_superuser(guest, EMAIL, HASH))
        await asyncio.sleep(delay)
        for pid in processes.holders(lock):
            with contextlib.suppress(ProcessLookupError):  # it may have ended by itself right then
                os.kill(pid, signal.SIGKILL)
        await asyncio.gather(work, return_exceptions=True)
    await create_superuser(guest, EMAIL, HASH)
    address = await place.supervisor.ensure(guest.instance_id, cause="GET /")
    assert await sign_in(guest, address)


async def test_under_a_lock_that_the_caller_holds(place: House) -> None:
    guest = place.add()
    async with place.supervisor.at_rest(guest.instance_id) as lock:
        await create_superuser(guest, EMAIL, HASH, lock=lock)
    freed = try_lock(lock_path(place.config.run, guest.instance_id))
    assert freed is not None
    freed.close()


async def test_what_pocketbase_refuses_is_said(place: House) -> None:
    guest = place.add()
    with pytest.raises(ReleaseUnusable, match="could not make the superuser"):
        await create_superuser(guest, "no address", HASH)
