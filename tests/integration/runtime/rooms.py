"""A home with guests in it: what the runtime needs from the rest of node, in the plainest form."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import os
import signal
import time
import urllib.request
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import bcrypt

from pocketfleet.config import Config
from pocketfleet.domain.hostnames import new_id
from pocketfleet.errors import ReleaseUnusable
from pocketfleet.runtime import probe
from pocketfleet.runtime.commands import PlainCommander
from pocketfleet.runtime.guest import Guest, make_folders
from pocketfleet.runtime.output import LogKeeper
from pocketfleet.runtime.process_runner import ProcessRunner
from pocketfleet.runtime.runner import Runner
from pocketfleet.runtime.sandbox import rights
from pocketfleet.runtime.sandbox.runner import SandboxRunner
from pocketfleet.runtime.superuser import create_superuser
from pocketfleet.runtime.supervisor import Open, SeenProcess, Supervisor
from tests.conftest import free_port
from tests.pocketbases import NEWEST, executable

EMAIL, PASSWORD = "owner@example.com", "correct horse battery"
HASH = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()


class Edge:
    """Stands for the edge's routes, counters and gate where a test is about the guests alone."""

    def __init__(self) -> None:
        self.routes: dict[str, str] = {}
        self.published: list[str] = []
        self.open: dict[str, int] = {}
        self.streams: dict[str, int] = {}
        self.waiting: dict[str, int] = {}
        self.requests: dict[str, int] = {}
        self.asked = asyncio.Event()

    async def publish(self, instance_id: str, address: str) -> None:
        self.routes[instance_id] = address
        self.published.append(instance_id)

    async def withdraw(self, instance_id: str) -> None:
        self.routes.pop(instance_id, None)

    async def connections(self, instance_id: str) -> Open:
        self.asked.set()
        return Open(self.open.get(instance_id, 0), self.streams.get(instance_id, 0))

    def parked(self, instance_id: str) -> int:
        return self.waiting.get(instance_id, 0)

    async def read(self) -> Mapping[str, Traffic]:
        return {key: Traffic(self.open.get(key, 0), self.requests.get(key, 0)) for key in self.routes}


@dataclasses.dataclass(frozen=True)
class Traffic:
    """As the edge counts it."""

    connections: int
    requests: int


class House:
    """A supervisor over real processes in a home of its own."""

    def __init__(self, home: Path, *, sandboxed: bool = False, **settings: Any) -> None:
        self.config = Config(**{"home": home, "guest_port": free_port(), "stop_timeout": 5.0, **settings})
        self.config.run.mkdir(parents=True, exist_ok=True)
        self.guests: dict[str, Guest] = {}
        self.seen: list[SeenProcess] = []
        self.edge = Edge()
        self.logs = LogKeeper(self.config)
        self.sandboxed = sandboxed
        self.runner = self.make_runner()
        self.supervisor = Supervisor(
            self.runner,
            guest_of=self.guest,
            routes=self.edge,
            parked=self.edge.parked,
            connections=self.edge.connections,
            seen=self.seen.append,
            log=self.logs.of,
            config=self.config,
        )

    def make_runner(self) -> Runner:
        """One more of this house's kind; a sandbox is prepared."""
        if not self.sandboxed:
            return ProcessRunner(self.config)
        runner = SandboxRunner(self.config, rights.means(self.config))
        runner.prepare()
        return runner

    def guest(self, instance_id: str) -> Guest:
        if instance_id not in self.guests:
            raise ReleaseUnusable("PocketBase 0.0.1 is not here; fetch it first.")
        return self.guests[instance_id]

    def add(self, program: Path | None = None, *, release: str = NEWEST, **changes: Any) -> Guest:
        """A guest with folders and nothing in them."""
        instance_id, number = new_id(), len(self.guests)
        guest = Guest(
            instance_id=instance_id,
            release=release,
            executable=program or executable(release),
            folder=self.config.instances / instance_id,
            address=f"{240 if self.sandboxed else 127}.{os.getpid() % 250 + 1}.{number // 250}.{number % 250 + 1}",
            port=self.config.guest_port,
            secrets={},
            dev=False,
            log_folder=self.config.logs / instance_id,
            run_folder=self.config.run,
            limits=self.config.guest_limits,
        )
        self.guests[instance_id] = dataclasses.replace(guest, **changes)
        make_folders(guest.folder)
        return self.guests[instance_id]

    async def add_claimed(self, *, release: str = NEWEST, **changes: Any) -> Guest:
        """A guest with a superuser, so that it can be written to."""
        guest = self.add(release=release, **changes)
        commander = self.runner if isinstance(self.runner, SandboxRunner) else PlainCommander()
        await create_superuser(guest, EMAIL, HASH, commander=commander)
        return guest

    def log_text(self, guest: Guest) -> str:
        return "\n".join(str(line) for line in self.logs.of(guest.instance_id).tail(10_000))

    def last_seen(self, guest: Guest) -> SeenProcess:
        return [seen for seen in self.seen if seen.instance_id == guest.instance_id][-1]

    def pid(self, guest: Guest) -> int:
        return int(json.loads((self.config.run / f"{guest.instance_id}.json").read_text())["pid"])


@contextlib.asynccontextmanager
async def house(home: Path, **settings: Any) -> AsyncIterator[House]:
    """With its logs being written, and nothing left running at the end."""
    made = House(home, **settings)
    writing = asyncio.create_task(made.logs.run())
    try:
        yield made
    finally:
        made.edge.open.clear()
        await made.supervisor.stop_all()
        writing.cancel()
        if isinstance(made.runner, SandboxRunner):
            made.runner.close()


def recording(program: Path, into: Path) -> Path:
    """A program that notes each `serve` in a file, then becomes the real one: starts are counted from outside."""
    script = into / "pocketbase-noted"
    script.write_text(f'#!/bin/sh\n[ "$1" = serve ] && echo "$$ $*" >> "{into}/starts"\nexec "{program}" "$@"\n')
    script.chmod(0o755)
    return script


def starts(into: Path) -> list[str]:
    """What a recording program has noted."""
    noted = into / "starts"
    return noted.read_text().splitlines() if noted.exists() else []


async def request(address: str, path: str, body: Any = None, token: str = "") -> Any:
    """The JSON answer of a guest asked directly; raises urllib's errors."""

    def ask() -> Any:
        data = json.dumps(body).encode() if body is not None else None
        asked = urllib.request.Request(f"http://{address}{path}", data=data)
        asked.add_header("content-type", "application/json")
        if token:
            asked.add_header("authorization", token)
        with urllib.request.urlopen(asked, timeout=10) as answer:
            return json.load(answer)

    return await asyncio.to_thread(ask)


async def sign_in(guest: Guest, address: str) -> str:
    """A superuser's token."""
    path = (
        "/api/collections/_superusers/auth-with-password" if guest.has_superusers else "/api/admins/auth-with-password"
    )
    answer = await request(address, path, {"identity": EMAIL, "password": PASSWORD})
    return str(answer["token"])


def kill(pid: int, address: str) -> None:
    """SIGKILL, and wait until connections are refused, without letting anybody notice the death meanwhile."""
    os.kill(pid, signal.SIGKILL)
    while probe.accepts(address):
        time.sleep(0.0005)


async def until(true: Any, seconds: float = 10) -> None:
    """Wait for a condition that no event tells of."""
    async with asyncio.timeout(seconds):
        while not true():  # noqa: ASYNC110
            await asyncio.sleep(0.01)
