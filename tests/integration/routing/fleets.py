"""A real HAProxy with routes and a gate around it, and helpers to ask it things."""

from __future__ import annotations

import asyncio
import inspect
import os
import random
import signal
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx

from pocketfleet import config as configuration
from pocketfleet.domain.addresses import CAPACITY, address_of
from pocketfleet.domain.hostnames import new_id
from pocketfleet.routing import edge
from pocketfleet.routing.counters import Counters
from pocketfleet.routing.gate import Gate, Go, Question, Refuse
from pocketfleet.routing.master import EdgeAway, Master
from pocketfleet.routing.routes import Routes
from tests.conftest import free_port
from tests.integration.routing.upstreams import Upstream

Answer = Callable[[Question], Awaitable[Go | Refuse]]


class Fleet:
    """Starts HAProxy as serve does. `answers` holds, by instance id, what the gate's resolver does."""

    def __init__(self, home: Path, **settings: Any) -> None:
        self.config = configuration.load({}, home=home, port=free_port(), **{"wake_timeout": 10.0, **settings})
        self.answers: dict[str, Answer] = {}
        self.asked: list[Question] = []
        self.upstreams: list[Upstream] = []
        self.output = home / "haproxy.out"
        self.haproxy: asyncio.subprocess.Process | None = None
        self.master = Master(self.config.master_socket)
        self.routes = Routes(self.config)
        self.counters = Counters(self.config)
        self.gate = Gate(self.config.gate_socket, self._resolve, wake_timeout=self.config.wake_timeout)

    async def start(self, *, gate: bool = True) -> None:
        """HAProxy accepts connections, and the gate questions."""
        await self.start_haproxy()
        if gate:
            await self.gate.start()

    async def start_haproxy(self) -> None:
        """As serve starts it: in the foreground, its output to a file."""
        command = await asyncio.to_thread(edge.prepare, self.config)
        with self.output.open("ab") as output:
            self.haproxy = await asyncio.create_subprocess_exec(*command, stdout=output, stderr=output)
        await eventually(self._accepts)

    async def kill_haproxy(self) -> None:
        """SIGKILL for the master and its workers, each by its pid."""
        if self.haproxy and self.haproxy.returncode is None:
            for pid in [*children(self.haproxy.pid), self.haproxy.pid]:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            await self.haproxy.wait()

    async def stop(self) -> None:
        """Everything away."""
        await self.gate.stop()
        await self.kill_haproxy()
        for upstream in self.upstreams:
            await upstream.kill()

    async def _accepts(self) -> bool:
        with suppress(OSError, EdgeAway):
            _, writer = await asyncio.open_connection("127.0.0.1", self.config.port)
            writer.close()
            return (await self.master.workers()).newest is not None
        return False

    async def _resolve(self, question: Question) -> Go | Refuse:
        self.asked.append(question)
        return await self.answers[question.instance_id](question)

    async def upstream(self, name: str, *, awake: bool = True) -> tuple[str, Upstream]:
        """A new instance with this name: its id, and a server at its address, published where it is awake."""
        host = address_of(random.randrange(CAPACITY))
        upstream = Upstream(name, host, free_port(host))
        self.upstreams.append(upstream)
        await upstream.start()
        instance_id = await self.register(name)
        self.goes(instance_id, upstream.address)
        if awake:
            await self.routes.publish(instance_id, upstream.address)
        return instance_id, upstream

    async def register(self, name: str) -> str:
        """Make a host known; the new id."""
        instance_id = new_id()
        await self.routes.change_hosts({f"{name}.localhost": instance_id, f"{instance_id}.localhost": instance_id})
        return instance_id

    def goes(self, instance_id: str, address: str) -> None:
        """Let the gate answer with this address at once."""

        async def go(question: Question) -> Go | Refuse:
            return Go(address)

        self.answers[instance_id] = go

    def refuses(self, instance_id: str, refusal: Refuse) -> None:
        """Let the gate refuse."""

        async def refuse(question: Question) -> Go | Refuse:
            return refusal

        self.answers[instance_id] = refuse

    def waits(self, instance_id: str, address: str) -> asyncio.Event:
        """Let the gate answer with this address once the event is set."""
        event = asyncio.Event()

        async def wait(question: Question) -> Go | Refuse:
            await event.wait()
            return Go(address)

        self.answers[instance_id] = wait
        return event

    def client(self, name: str = "", **options: Any) -> httpx.AsyncClient:
        """A client of one host that never retries."""
        host = f"{name}.localhost" if name else "localhost"
        return httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{self.config.port}",
            headers={"Host": f"{host}:{self.config.port}"},
            timeout=20,
            trust_env=False,
            verify=False,
            **options,
        )

    async def raw(self, text: bytes, *, timeout: float = 10.0) -> bytes:
        """Send these bytes; everything that comes back until the edge closes."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.config.port)
        writer.write(text)
        async with asyncio.timeout(timeout):
            answer = await reader.read()
        writer.close()
        return answer


async def eventually(holds: Callable[[], Any], *, within: float = 10.0) -> Any:
    """What `holds` answers, or what its awaitable answers, once it is true."""
    end = time.monotonic() + within
    while not (value := await answer if inspect.isawaitable(answer := holds()) else answer):
        if time.monotonic() > end:
            raise AssertionError(f"not within {within} s: {holds}")
        await asyncio.sleep(0.005)
    return value


def children(pid: int) -> list[int]:
    """The processes that this one started."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
