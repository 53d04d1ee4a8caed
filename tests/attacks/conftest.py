"""One server with an attacker and a neighbour for all attacks, and how to see whether the neighbour feels any."""

from __future__ import annotations

import contextlib
import json
import socket
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pocketfleet.runtime.sandbox.netlink import Netlink
from pocketfleet.runtime.sandbox.threads import in_own_thread, leave_network
from tests.attacks import kit
from tests.pocketbases import NEWEST
from tests.ports import free_port
from tests.server import Server, make_notes

#: Bytes that each instance may have: the kit takes some 20 MB of them.
STORAGE = 80_000_000
MEMORY = 200 * 1024**2


@dataclass(frozen=True)
class Scene:
    """A server, and the ids of the two."""

    server: Server
    attacker: str
    neighbour: str

    def attack(self, trick: str, order: Any = None) -> Any:
        """What the attacker's script says it could do."""
        with self.server.client(self.attacker) as client:
            answer = client.get("/attack", params={"trick": trick, "order": json.dumps(order)})
        assert answer.status_code == 200, f"{answer.text}\n{self.server.diagnosis()}"
        try:
            return json.loads(answer.text)
        except ValueError:
            raise AssertionError(answer.text) from None

    def neighbour_is_well(self) -> None:
        """It answers, keeps what it had, and takes more."""
        with self.server.client(self.neighbour) as client:
            made = client.post("/api/collections/notes/records", json={"text": "more"})
            assert made.status_code == 200, made.text
            first = client.get("/api/collections/notes/records?sort=@rowid").json()["items"][0]
            assert first["text"] == "the neighbour's"

    def address(self, instance_id: str) -> str:
        """Where an awake instance is reached."""
        record = json.loads((self.server.home / "run" / f"{instance_id}.json").read_text())
        return str(record["address"])


@pytest.fixture(scope="session")
def scene() -> Iterator[Scene]:
    """Both are awake, and the attacker has brought a Python."""
    with made_scene(Path(tempfile.mkdtemp(prefix="pf-", dir="/tmp"))) as made:
        yield made


@contextlib.contextmanager
def made_scene(home: Path) -> Iterator[Scene]:
    """The same in this home, which is there and empty."""
    limits: dict[str, Any] = {"instance_memory": MEMORY, "instance_processes": 100, "instance_storage": STORAGE}
    server = Server(home, counted=False, sandbox="on", idle_timeout=3600, log_bytes=1_000_000, **limits)
    try:
        server.start()
        ids = [str(server.create(name)["id"]) for name in ("attacker", "neighbour")]
        with server.client("neighbour") as client:
            make_notes(client, NEWEST)
            assert client.post("/api/collections/notes/records", json={"text": "the neighbour's"}).status_code == 200
        kit.pack(server.folder(ids[0]))
        yield Scene(server, *ids)
    finally:
        server.clean()


@pytest.fixture(scope="session")
def internet() -> Iterator[dict[str, str]]:
    """A machine elsewhere, 203.0.113.7: what listens there at `open` and `mail`. A namespace on a cable of its own."""
    ready, done, names = threading.Event(), threading.Event(), {}
    here = Netlink()

    def serve() -> None:
        with open("/proc/self/ns/net", "rb") as host:  # noqa: PTH123 - of this thread, before it leaves
            leave_network()
            there = Netlink()
            there.make_pair("eth0", "internet0", host.fileno())
        link = socket.if_nametoindex("eth0")
        there.add_address(link, "203.0.113.7")
        there.switch_on(link)
        there.add_route("203.0.113.1", link)
        there.add_way_out("203.0.113.1", link)
        with socket.create_server(("203.0.113.7", 0)) as one, socket.create_server(("203.0.113.7", 25)):
            names["open"], names["mail"] = f"203.0.113.7:{one.getsockname()[1]}", "203.0.113.7:25"
            ready.set()
            done.wait()

    thread = threading.Thread(target=lambda: in_own_thread(serve), daemon=True)
    thread.start()
    while not any(name == "internet0" for _, name in socket.if_nameindex()):
        assert thread.is_alive()
    link = socket.if_nametoindex("internet0")
    here.add_address(link, "203.0.113.1")
    here.switch_on(link)
    here.add_route("203.0.113.7", link)
    assert ready.wait(10)
    yield names
    done.set()
    thread.join(10)
    here.close()


@pytest.fixture
def hosts_service() -> Iterator[int]:
    """The port of something on this host that listens at all of its addresses."""
    with socket.create_server(("0.0.0.0", free_port())) as listening:
        yield int(listening.getsockname()[1])
