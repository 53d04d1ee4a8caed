"""Deaths nobody asked for: noticed at once, told, woken again, and not for ever."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import sys
import urllib.error
from pathlib import Path

import pytest

from pocketfleet.domain import limits
from pocketfleet.domain.states import Process
from pocketfleet.errors import StartFailed
from pocketfleet.runtime import probe, processes
from pocketfleet.runtime.output import GuestLog
from tests.integration.runtime.rooms import House, house, kill, recording, request, starts, until
from tests.pocketbases import NEWEST, executable

DEAFENED = """
import signal, socket, sys
listener = socket.socket()
host, port = sys.argv[3].split(":")
listener.bind((host, int(port)))
listener.listen()
signal.signal(signal.SIGUSR1, lambda *_: listener.close())
while True:
    signal.pause()
"""

HOOKS = """
routerAdd("GET", "/leave", (e) => { $os.exit(7) })
routerAdd("GET", "/litter", (e) => { $os.cmd("sleep", "600").start(); return e.json(200, {}) })
"""


async def test_a_death_is_noticed_and_the_next_request_wakes_it(place: House) -> None:
    guest = place.add()
    await place.supervisor.ensure(guest.instance_id, cause="GET /")
    await until(lambda: guest.instance_id in place.edge.routes)
    os.kill(place.pid(guest), signal.SIGKILL)
    await until(lambda: place.last_seen(guest).process == Process.ASLEEP)
    assert place.edge.routes == {}
    assert place.supervisor.awake() == {}
    assert "SIGKILL" in place.last_seen(guest).reason
    assert "died: PocketBase was ended by SIGKILL" in place.log_text(guest)
    assert await place.supervisor.ensure(guest.instance_id, cause="GET /") == guest.listens_at


async def test_a_disk_that_refuses_does_not_keep_it_among_the_living(
    place: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    guest = place.add()
    await place.supervisor.ensure(guest.instance_id, cause="GET /")

    async def refuse(_: GuestLog) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    with monkeypatch.context() as broken:
        broken.setattr(GuestLog, "finish", refuse)
        os.kill(place.pid(guest), signal.SIGKILL)
        await until(lambda: place.last_seen(guest).process == Process.ASLEEP)
    assert list(place.config.run.glob("*.json")) == []
    assert await place.supervisor.ensure(guest.instance_id, cause="GET /") == guest.listens_at


async def test_a_refused_caller_finds_it_woken_again(place: House, home: Path) -> None:
    guest = place.add(recording(executable(NEWEST), home))
    address = await place.supervisor.ensure(guest.instance_id, cause="GET /")
    for _ in range(limits.DEATHS_AT_ONCE):
        kill(place.pid(guest), address)
        assert await place.supervisor.ensure(guest.instance_id, cause="GET /", suspect=True) == address
        assert (await request(address, "/api/health"))["code"] == 200
    assert len(starts(home)) == limits.DEATHS_AT_ONCE + 1


async def test_one_that_keeps_dying_is_left_alone_for_a_while(place: House, home: Path) -> None:
    guest = place.add(recording(executable(NEWEST), home))
    for _ in range(limits.DEATHS_AT_ONCE + 1):
        await place.supervisor.ensure(guest.instance_id, cause="GET /")
        count = len(place.seen)
        os.kill(place.pid(guest), signal.SIGKILL)
        await until(lambda count=count: len(place.seen) > count)
    assert place.last_seen(guest).process == Process.FAILING
    with pytest.raises(StartFailed, match="SIGKILL"):
        await place.supervisor.ensure(guest.instance_id, cause="GET /")
    assert len(starts(home)) == limits.DEATHS_AT_ONCE + 1
    place.supervisor.forgive(guest.instance_id)
    await place.supervisor.ensure(guest.instance_id, cause="GET /")


async def test_one_that_ends_itself_says_how(place: House) -> None:
    guest = place.add()
    (guest.folder / "pb_hooks" / "main.pb.js").write_text(HOOKS)
    address = await place.supervisor.ensure(guest.instance_id, cause="GET /")
    with pytest.raises((urllib.error.URLError, ConnectionError)):
        await request(address, "/leave")
    await until(lambda: place.last_seen(guest).process == Process.ASLEEP)
    assert "exit code 7" in place.last_seen(guest).reason


async def test_what_a_dead_guest_left_running_is_ended(place: House) -> None:
    guest = place.add()
    (guest.folder / "pb_hooks" / "main.pb.js").write_text(HOOKS)
    address = await place.supervisor.ensure(guest.instance_id, cause="GET /")
    await request(address, "/litter")
    lock = place.config.run / f"{guest.instance_id}.lock"
    pids = processes.holders(lock)
    assert len(pids) == 2
    os.kill(place.pid(guest), signal.SIGKILL)
    await until(lambda: place.last_seen(guest).process == Process.ASLEEP)
    assert all(processes.start_time(pid) is None for pid in pids)
    await place.supervisor.ensure(guest.instance_id, cause="GET /")


async def test_one_that_lives_and_never_listens_again_is_ended_and_woken(home: Path) -> None:
    program = home / "deafened"
    program.write_text(f"#!{sys.executable}\n{DEAFENED}")
    program.chmod(0o755)
    async with house(home, start_timeout=1.0, stop_timeout=1.0) as place:
        guest = place.add(program)
        address = await place.supervisor.ensure(guest.instance_id, cause="GET /")
        pid = place.pid(guest)
        os.kill(pid, signal.SIGUSR1)
        await until(lambda: not probe.accepts(address))
        assert await place.supervisor.ensure(guest.instance_id, cause="GET /", suspect=True) == address
        assert processes.start_time(pid) is None
        assert place.pid(guest) != pid
        assert "accepted no connection" in place.log_text(guest)


async def test_a_refused_connection_with_a_living_pid_means_wait(place: House, home: Path) -> None:
    guest = place.add(recording(executable(NEWEST), home))
    address = await place.supervisor.ensure(guest.instance_id, cause="GET /")
    pid = place.pid(guest)
    # a hook file changes: PocketBase re-executes itself in place, its listener is away for a moment
    (guest.folder / "pb_hooks" / "main.pb.js").write_text(HOOKS)
    before = Path(f"/proc/{pid}/cmdline").read_bytes()
    async with asyncio.TaskGroup() as group:
        for _ in range(40):
            group.create_task(place.supervisor.ensure(guest.instance_id, cause="GET /", suspect=True))
            await asyncio.sleep(0.03)
    assert (await request(address, "/litter")) == {}
    assert Path(f"/proc/{pid}/cmdline").read_bytes() == before
    assert place.pid(guest) == pid
    assert len(starts(home)) <= 2  # the wrapper is not executed again: PocketBase re-executes itself
    assert Process.FAILING not in {seen.process for seen in place.seen}
