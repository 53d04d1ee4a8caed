"""What every runner must do; a test class for another runner derives from this one and gives its `place`."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from pocketfleet.errors import AddressTaken, DiskTrouble, ReleaseUnusable
from pocketfleet.runtime import probe, processes
from pocketfleet.runtime.guest import Guest
from pocketfleet.runtime.lock import is_held, lock_path, try_lock
from pocketfleet.runtime.runner import Runner, Running
from tests.integration.runtime.rooms import House, until


class RunnerContract:
    """Tests against a Runner and a real PocketBase."""

    @pytest.fixture
    def runner(self, place: House) -> Runner:
        return place.runner

    def occupied(self, guest: Guest) -> AbstractAsyncContextManager[None]:
        """`async with`: somebody else has the guest's address."""
        raise NotImplementedError

    async def start(self, runner: Runner, guest: Guest) -> Running:
        lock = try_lock(lock_path(guest.run_folder, guest.instance_id))
        assert lock is not None
        with lock:
            running = await runner.start(guest, lock)
        await until(lambda: probe.accepts(running.address))
        return running

    async def stop(self, runner: Runner, running: Running) -> int | None:
        runner.signal(running, signal.SIGTERM)
        async with asyncio.timeout(10):
            code = (await runner.ended(running)).code
        runner.forget(running)
        return code

    async def test_start_and_stop(self, runner: Runner, place: House) -> None:
        guest = place.add()
        running = await self.start(runner, guest)
        assert (running.instance_id, running.address) == (guest.instance_id, guest.listens_at)
        assert not runner.ended(running).done()
        assert runner.recorded() == [guest.instance_id]
        code = await self.stop(runner, running)
        assert code == 0, code
        assert runner.recorded() == []
        assert not probe.accepts(running.address)

    async def test_the_lock_lives_as_long_as_the_guest(self, runner: Runner, place: House) -> None:
        guest = place.add()
        running = await self.start(runner, guest)
        path = lock_path(guest.run_folder, guest.instance_id)
        assert is_held(path)
        await self.stop(runner, running)
        assert not is_held(path)

    async def test_nothing_of_ours_is_handed_down(
        self, runner: Runner, place: House, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("DJANGO_SECRET", "ours")
        guest = place.add(secrets={"SMTP_PASSWORD": "theirs"})
        with (place.config.home / "ours").open("w") as opened:
            running = await self.start(runner, guest)
            assert not processes.has_open(running.pid, os.fstat(opened.fileno()))
        environment = Path(f"/proc/{running.pid}/environ").read_bytes().split(b"\0")
        assert b"SMTP_PASSWORD=theirs" in environment
        assert not [item for item in environment if item.startswith((b"DJANGO", b"POCKETFLEET", b"VIRTUAL_ENV"))]
        await self.stop(runner, running)

    async def test_signals_after_the_end_hit_nobody(self, runner: Runner, place: House) -> None:
        running = await self.start(runner, place.add())
        runner.signal(running, signal.SIGKILL)
        await runner.ended(running)
        runner.signal(running, signal.SIGKILL)
        runner.forget(running)
        runner.signal(running, signal.SIGKILL)

    async def test_another_runner_adopts_what_lives(self, runner: Runner, place: House) -> None:
        running = await self.start(runner, place.add())
        later = place.make_runner()
        adopted = await later.adopt(running.instance_id)
        assert adopted == running
        await self.stop(later, adopted)

    async def test_what_is_dead_is_not_adopted(self, runner: Runner, place: House) -> None:
        running = await self.start(runner, place.add())
        runner.signal(running, signal.SIGKILL)
        await runner.ended(running)
        later = place.make_runner()
        assert later.recorded() == [running.instance_id]
        assert await later.adopt(running.instance_id) is None
        assert later.recorded() == []

    @pytest.mark.parametrize(
        "spoil, error, words",
        [
            ("executable", ReleaseUnusable, "releases --refresh"),
            ("address", AddressTaken, "(?i)another p"),
            ("folder", DiskTrouble, "restore it"),
            ("link", DiskTrouble, "symbolic link"),
        ],
    )
    async def test_refusals_name_the_next_step(
        self, runner: Runner, place: House, spoil: str, error: type[Exception], words: str
    ) -> None:
        guest = place.add(Path("/nonexistent/pocketbase")) if spoil == "executable" else place.add()
        if spoil == "folder":
            guest.data_folder.rmdir()
        if spoil == "link":
            guest.data_folder.rmdir()
            guest.data_folder.symlink_to(place.config.home)
        lock = try_lock(lock_path(guest.run_folder, guest.instance_id))
        assert lock is not None
        async with self.occupied(guest) if spoil == "address" else contextlib.nullcontext():
            with lock, pytest.raises(error, match=words):
                await runner.start(guest, lock)
        assert runner.recorded() == []
