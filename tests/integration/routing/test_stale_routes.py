"""A route that has just gone stale turns into a wake, with real PocketBase."""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import signal
import time
from contextlib import suppress
from pathlib import Path

from pocketfleet.domain.addresses import CAPACITY, address_of
from pocketfleet.routing.gate import Go, Question, Refuse
from tests import pocketbases
from tests.conftest import free_port
from tests.integration.routing.fleets import Fleet, eventually

HOOK = """
routerAdd("POST", "/count", (e) => e.json(200, { size: toString(e.request.body, 64 << 20).length }),
    $apis.bodyLimit(64 << 20))
"""


class Guest:
    """A real PocketBase that the gate starts when it is asked."""

    def __init__(self, fleet: Fleet, folder: Path) -> None:
        self.fleet = fleet
        self.folder = folder
        self.host = address_of(random.randrange(CAPACITY))
        self.port = free_port(self.host)
        self.process: asyncio.subprocess.Process | None = None
        self.starts = 0
        self._turn = asyncio.Lock()
        (folder / "hooks").mkdir(parents=True)
        (folder / "hooks" / "count.pb.js").write_text(HOOK)

    @property
    def address(self) -> str:
        """As it stands in a route."""
        return f"{self.host}:{self.port}"

    async def wake(self, question: Question) -> Go | Refuse:
        """Start it unless it accepts, publish, answer."""
        async with self._turn:
            if not await self.accepts():
                await self.start()
                await self.fleet.routes.publish(question.instance_id, self.address)
        return Go(self.address)

    async def start(self) -> None:
        """Until it accepts."""
        self.starts += 1
        folders = {"--dir": "data", "--hooksDir": "hooks", "--migrationsDir": "migrations", "--publicDir": "public"}
        flags = [word for flag, name in folders.items() for word in (flag, str(self.folder / name))]
        command = [str(pocketbases.executable()), "serve", "--http", self.address, *flags]
        quiet = asyncio.subprocess.DEVNULL
        self.process = await asyncio.create_subprocess_exec(*command, stdout=quiet, stderr=quiet)
        await eventually(self.accepts)

    async def accepts(self) -> bool:
        """Whether a connection is taken."""
        with suppress(OSError):
            _, writer = await asyncio.open_connection(self.host, self.port)
            writer.close()
            return True
        return False

    async def kill(self) -> None:
        """SIGKILL, and gone."""
        if self.process and self.process.returncode is None:
            os.kill(self.process.pid, signal.SIGKILL)
            await self.process.wait()


async def test_a_killed_pocketbase_wakes_again_without_a_failed_request(fleet: Fleet, tmp_path: Path) -> None:
    guest = Guest(fleet, tmp_path)
    instance = await fleet.register("shop")
    fleet.answers[instance] = guest.wake
    body, times = "x" * 5_000_000, []
    try:
        async with fleet.client("shop") as client:
            assert (await client.get("/api/health")).status_code == 200
            for turn in range(4):
                await guest.kill()
                start = time.monotonic()
                if turn % 2:
                    answer = await client.post("/count", content=body)
                    assert answer.json() == {"size": len(body)}
                else:
                    assert (await client.get("/api/health")).status_code == 200
                times.append(time.monotonic() - start)
        # Where HAProxy pauses before its second try, each one takes more than a second.
        assert min(times) < 0.8
        assert guest.starts == 5
        assert [question.stale for question in fleet.asked] == [False, True, True, True, True]
        assert fleet.asked[-1].cause == "POST /count"
        assert (await fleet.counters.read())[instance].requests == 5
    finally:
        await guest.kill()


async def test_requests_from_many_clients_survive_kills(fleet: Fleet, tmp_path: Path) -> None:
    """Killed between requests, while nothing is in flight: whatever comes next starts it, once."""
    guest = Guest(fleet, tmp_path)
    instance = await fleet.register("shop")
    fleet.answers[instance] = guest.wake
    try:
        async with fleet.client("shop") as client:
            for turn in range(5):
                calls = [
                    client.post("/count", content=b"abc") if n % 2 else client.get("/api/health") for n in range(24)
                ]
                assert {answer.status_code for answer in await asyncio.gather(*calls)} == {200}
                assert guest.starts == turn + 1
                await guest.kill()
    finally:
        await guest.kill()


async def test_a_stale_request_is_counted_once_and_parked(fleet: Fleet) -> None:
    instance, upstream = await fleet.upstream("shop")
    await upstream.kill()
    released = fleet.waits(instance, upstream.address)
    async with fleet.client("shop") as client:
        request = asyncio.create_task(client.post("/", content=b"body"))
        await eventually(lambda: fleet.gate.parked(instance) == 1)
        traffic = (await fleet.counters.read())[instance]
        assert (traffic.connections, traffic.requests) == (1, 1)
        assert fleet.asked == [Question(instance, True, "POST /")]
        await upstream.start()
        released.set()
        assert (await request).json()["size"] == 4


async def test_a_stale_request_may_be_refused(fleet: Fleet) -> None:
    instance, upstream = await fleet.upstream("shop")
    await upstream.kill()
    fleet.refuses(instance, Refuse(503, "start_failed", "no such table", 3))
    async with fleet.client("shop") as client:
        answer = await client.post("/", content=b"x" * 100_000)
    assert (answer.status_code, answer.json()["detail"]) == (503, "no such table")


async def test_what_the_edge_sets_survives_the_second_way(fleet: Fleet) -> None:
    instance, upstream = await fleet.upstream("shop")
    await upstream.kill()
    released = fleet.waits(instance, upstream.address)
    content = bytes(range(256)) * 20_000
    async with fleet.client("shop") as client:
        request = asyncio.create_task(client.post("/", content=content, headers={"X-Forwarded-For": "6.6.6.6"}))
        await eventually(lambda: fleet.gate.parked(instance) == 1)
        await upstream.start()
        released.set()
        said = (await request).json()
    assert said["sha256"] == hashlib.sha256(content).hexdigest()
    assert [value for name, value in said["headers"] if name.lower() == "x-forwarded-for"] == ["127.0.0.1"]


async def test_an_address_that_never_accepts_ends_in_an_honest_answer(fleet: Fleet) -> None:
    _instance, upstream = await fleet.upstream("shop")
    await upstream.kill()
    async with fleet.client("shop") as client:
        answer = await client.post("/", content=b"x")
    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
    assert answer.headers["retry-after"] == "2"
