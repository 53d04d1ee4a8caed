"""What real guests print: followed live, across rotation, through a flood, and when its reader is gone."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import time
from pathlib import Path

import pytest

from pocketfleet.logs import InstanceLog
from tests.integration.runtime.rooms import House, house, request, until
from tests.pocketbases import NEWEST

HOOKS = """
routerAdd("GET", "/print/{count}", (e) => {
    const count = parseInt(e.request.pathValue("count"))
    for (let number = 0; number < count; number++) console.log("line", number, "of many")
    return e.json(200, {})
})
"""


async def test_it_can_be_followed_across_rotation(home: Path) -> None:
    async with house(home, log_bytes=5_000, log_generations=30) as place:
        guest = place.add()
        (guest.folder / "pb_hooks" / "main.pb.js").write_text(HOOKS)
        address = await place.supervisor.ensure(guest.instance_id, cause="GET /")
        reader = InstanceLog(guest.log_folder, 5_000, 30)  # as control has it: another process, other objects
        got: list[int] = []

        async def follow() -> None:
            async for line in reader.follow(tail=100):
                if " of many" in line.text:
                    got.append(int(line.text.split()[-3]))
                if len(got) == 1000:
                    return

        following = asyncio.create_task(follow())
        for _ in range(10):
            await request(address, "/print/100")
            await asyncio.sleep(0.05)
        async with asyncio.timeout(10):
            await following
        assert got == list(range(100)) * 10
        assert len(list(guest.log_folder.glob("instance.log.*"))) > 5


async def test_a_flood_costs_little_and_keeps_nobody_waiting(home: Path) -> None:
    async with house(home, log_bytes=100_000, log_generations=2) as place:
        flooding, other = place.add(), place.add()
        (flooding.folder / "pb_hooks" / "main.pb.js").write_text(HOOKS)
        address = await place.supervisor.ensure(flooding.instance_id, cause="GET /")
        flood = asyncio.create_task(request(address, "/print/150000"))
        began = time.monotonic()
        await place.supervisor.ensure(other.instance_id, cause="GET /")
        assert time.monotonic() - began < 5
        await flood
        await until(lambda: "left out" in place.log_text(flooding) or "line 149999" in place.log_text(flooding), 20)
        await place.supervisor.sleep(flooding.instance_id, cause="test", drain=0, quiet_only=True)
        size = sum(path.stat().st_blocks * 512 for path in flooding.log_folder.iterdir())
        assert size < 400_000
        assert "line 149999 of many" in place.log_text(flooding)


async def test_a_guest_prints_on_when_nobody_reads(place: House) -> None:
    guest = place.add()
    (guest.folder / "pb_hooks" / "main.pb.js").write_text(HOOKS)
    address = await place.supervisor.ensure(guest.instance_id, cause="GET /")
    place.logs.unwatch(place.logs.of(guest.instance_id))
    await request(address, "/print/5")
    pid = place.pid(guest)
    os.kill(pid, signal.SIGKILL)
    await until(lambda: "died" in place.log_text(guest))
    assert "line 4 of many" in place.log_text(guest)


@pytest.mark.parametrize("release", ["0.22.27", "0.23.12", NEWEST])
async def test_the_link_by_which_anybody_could_claim_a_new_one_is_in_nothing_that_is_shown(
    place: House, release: str
) -> None:
    guest = place.add(release=release)  # without a superuser PocketBase prints one, from 0.23 on
    await place.supervisor.ensure(guest.instance_id, cause="GET /")
    raw = guest.log_folder / "stdout.raw"
    if guest.has_superusers:
        await until(lambda: b"pbinstal" in raw.read_bytes())
        assert re.search(rb"pbinstal\w*/eyJ\w+", raw.read_bytes()), "what is hidden is a token"
        await until(lambda: "pbinstal" in place.log_text(guest))
    else:
        await until(lambda: "Admin UI" in place.log_text(guest))
    reader = InstanceLog(guest.log_folder, 1_000_000, 5)
    assert "eyJ" not in "\n".join(str(line) for line in reader.tail(1000))
    await place.supervisor.sleep(guest.instance_id, cause="test", drain=0, quiet_only=False)
    left = {path.name: path.read_bytes() for path in guest.log_folder.iterdir()}
    assert list(left) == ["instance.log"], "what it printed itself is gone"
    assert b"eyJ" not in left["instance.log"]
    # a start that fails tells its reason by what was printed last
    last = place.logs.of(guest.instance_id)
    (guest.log_folder / "stdout.raw").write_text(f"x{'y' * 70_000}eyJhbGciOiJI.eyJpZCI6ImFi.c2lnbmF0dXJl\nlast words\n")
    assert last.last_output() == "last words"
