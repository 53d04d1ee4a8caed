"""Node killed with -9: guests live on, the next node takes them on, and never doubles them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from pocketfleet.domain.states import Process
from pocketfleet.runtime import processes
from pocketfleet.runtime.guest import Guest
from pocketfleet.runtime.raw_output import raw_path
from tests.integration.runtime.rooms import House, request, until

ROOT = Path(__file__).resolve().parents[3]
HOOKS = """
routerAdd("GET", "/say/{what}", (e) => {
    console.log("said", e.request.pathValue("what"))
    return e.json(200, {})
})
"""


@contextlib.asynccontextmanager
async def other_node(place: House, guest: Guest) -> AsyncIterator[asyncio.subprocess.Process]:
    """Another node with this guest awake; killed with -9 at the latest at the end."""
    arguments = [place.config.home, place.config.guest_port, guest.instance_id, guest.address, guest.executable]
    node = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.integration.runtime.short_lived_node",
        *map(str, arguments),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert node.stdout is not None
        assert await node.stdout.readline() == b"ready\n"
        yield node
    finally:
        if node.returncode is None:
            node.kill()
            await node.wait()


def change_record(place: House, guest: Guest, **changes: Any) -> None:
    path = place.config.run / f"{guest.instance_id}.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


async def test_a_guest_is_adopted_and_goes_on_logging(place: House) -> None:
    guest = place.add()
    (guest.folder / "pb_hooks" / "main.pb.js").write_text(HOOKS)
    async with other_node(place, guest) as node:
        await request(guest.listens_at, "/say/before")
        await until(lambda: "said before" in place.log_text(guest))
        node.kill()
        await node.wait()
    pid = place.pid(guest)
    await request(guest.listens_at, "/say/meanwhile")
    assert await place.supervisor.adopt() == [guest.instance_id]
    assert place.supervisor.awake() == {guest.instance_id: guest.listens_at}
    assert place.last_seen(guest).process == Process.AWAKE
    assert place.last_seen(guest).awake_since is not None
    assert await place.supervisor.ensure(guest.instance_id, cause="GET /") == guest.listens_at
    await request(guest.listens_at, "/say/after")
    await until(lambda: "said after" in place.log_text(guest))
    lines = [line.text for line in place.logs.of(guest.instance_id).tail(100) if " said " in line.text]
    assert [line.split()[-1] for line in lines] == ["before", "meanwhile", "after"]
    assert await place.supervisor.sleep(guest.instance_id, cause="test", drain=0, quiet_only=True)
    assert processes.start_time(pid) is None


async def test_the_death_of_an_adopted_guest_is_noticed(place: House) -> None:
    guest = place.add()
    async with other_node(place, guest):
        pass
    await place.supervisor.adopt()
    os.kill(place.pid(guest), signal.SIGKILL)
    await until(lambda: place.last_seen(guest).process == Process.ASLEEP)
    await place.supervisor.ensure(guest.instance_id, cause="GET /")


async def test_a_guest_spawned_in_the_last_moment_is_found_by_its_lock(place: House) -> None:
    guest = place.add()
    async with other_node(place, guest):
        pass
    pid = place.pid(guest)
    change_record(place, guest, pid=0, start_time=0)
    assert await place.supervisor.adopt() == [guest.instance_id]
    assert await place.supervisor.sleep(guest.instance_id, cause="test", drain=0, quiet_only=True)
    assert processes.start_time(pid) is None


async def test_a_pid_of_somebody_else_is_never_touched(place: House) -> None:
    guest = place.add()
    async with other_node(place, guest):
        pass
    pid = place.pid(guest)
    bystander = await asyncio.create_subprocess_exec("sleep", "60")
    change_record(place, guest, pid=bystander.pid)
    assert await place.supervisor.adopt() == []
    assert processes.start_time(pid) is None, "what cannot be adopted is ended"
    assert bystander.returncode is None
    bystander.kill()
    await bystander.wait()
    await place.supervisor.ensure(guest.instance_id, cause="GET /")


async def test_without_any_record_nothing_is_doubled(place: House) -> None:
    guest = place.add()
    async with other_node(place, guest):
        pass
    pid = place.pid(guest)
    (place.config.run / f"{guest.instance_id}.json").unlink()
    assert await place.supervisor.adopt() == []
    # the lock is held by somebody unknown: it gets some time, is ended then, and only then another one starts
    place.guests[guest.instance_id] = guest
    async with asyncio.timeout(20):
        try:
            await place.supervisor.ensure(guest.instance_id, cause="GET /")
        finally:
            assert processes.start_time(pid) is None


async def test_records_of_the_dead_and_of_nonsense_are_swept(place: House) -> None:
    guest = place.add()
    async with other_node(place, guest):
        pass
    pid = place.pid(guest)
    # it listens a moment before it says so
    await until(lambda: b"Server started" in raw_path(guest.log_folder, "stdout").read_bytes())
    os.kill(pid, signal.SIGKILL)
    await until(lambda: processes.start_time(pid) is None)
    (place.config.run / "nonsense0000000.json").write_text("{")
    assert await place.supervisor.adopt() == []
    assert list(place.config.run.glob("*.json")) == []
    assert "Server started" in place.log_text(guest)
    assert [path.name for path in guest.log_folder.iterdir()] == ["instance.log"]
