"""Steady load while instances sleep, routes change, the edge reloads and node is killed: nothing is lost."""

from __future__ import annotations

import os
import random
import time
from pathlib import Path

import psutil
import pytest

from tests.load import Load
from tests.pocketbases import NEWEST
from tests.server import Server, make_notes, running, until

SETTINGS = {"log_bytes": 50_000_000, "versions": ("0.22.27", "0.36.9", NEWEST)}
LOADED = {"orders": NEWEST, "notes-app": "0.36.9", "legacy": "0.22.27"}
#: Seconds that the long version takes; `POCKETFLEET_SOAK_SECONDS` sets another time.
SOAK_SECONDS = float(os.environ.get("POCKETFLEET_SOAK_SECONDS", "3600"))


class Unrest:
    """What is done to a server under load, one thing after the other, and how often."""

    def __init__(self, server: Server, load: Load, seed: int) -> None:
        self.server = server
        self.load = load
        self.sleeps: dict[str, int] = dict.fromkeys(LOADED, 0)
        self.route_changes = self.reloads = self.kills = 0
        self._random = random.Random(seed)
        self._others = 0

    def round(self, *, sleeps: int, route_changes: int, reloads: int, kills: int) -> None:
        """So many of each, mixed: kills and reloads fall into the middle of a sleep."""
        disturbances = [self.change_a_route] * route_changes + [self.reload_edge] * reloads + [self.kill_node] * kills
        self._random.shuffle(disturbances)
        total = len(disturbances)
        for number in range(sleeps):
            operation = self.begin_sleep(list(LOADED)[number % len(LOADED)])
            for _ in range((number + 1) * total // sleeps - number * total // sleeps):
                disturbances.pop()()
            self.server.finished(operation)
            self._until_traffic_goes_on()

    def begin_sleep(self, name: str) -> str:
        """Ask for an orderly sleep; answers the operation's id."""
        answer = self.server.api.post(f"/instances/{name}/sleep")
        assert answer.status_code == 202, answer.text
        self.sleeps[name] += 1
        return str(answer.json()["operation"]["id"])

    def change_a_route(self) -> None:
        """An instance beside the loaded ones comes, gets another name, is switched off, or goes."""
        name, renamed = f"beside-{self._others}", f"moved-{self._others}"
        step = self.route_changes % 4
        if step == 0:
            self.server.create(name)
            with self.server.client(name) as client:
                assert client.get("/api/health").status_code == 200
        elif step == 1:
            self._patch(name, {"name": renamed})
        elif step == 2:
            self._patch(renamed, {"power": "off"})
        else:
            operation = self.server.api.delete(f"/instances/{renamed}").json()["operation"]
            self.server.finished(operation["id"])
            self._others += 1
        self.route_changes += 1

    def reload_edge(self) -> None:
        """See Server.reload_edge."""
        self.server.reload_edge()
        self.reloads += 1

    def kill_node(self) -> None:
        """SIGKILL; `serve` starts another one."""
        before = self.server.pid("node")
        self.server.kill("node")
        self.server.revived("node", before)
        self.kills += 1

    def _patch(self, name: str, body: dict[str, object]) -> None:
        answer = self.server.api.patch(f"/instances/{name}", params={"wait": 30}, json=body)
        assert answer.status_code == 200, answer.text
        assert answer.json()["observed_generation"] >= answer.json()["generation"], answer.text

    def _until_traffic_goes_on(self) -> None:
        count = self.load.requests
        until(lambda: self.load.requests > count + 20, 30, "traffic to go on")


def prepare(server: Server) -> dict[str, str]:
    """The loaded instances, awake, each with a public collection; answers their ids by name."""
    ids = {}
    for name, version in LOADED.items():
        ids[name] = str(server.create(name, version)["id"])
        with server.client(name) as client:
            make_notes(client, version)
    return ids


def require_starts_add_up(server: Server, ids: dict[str, str], unrest: Unrest) -> None:
    """The starts counted by the executable itself, those in the logs, and those that the sleeps explain."""
    for name, instance_id in ids.items():
        counted = server.starts(instance_id)
        lines = (server.home / "logs" / instance_id / "instance.log").read_text().splitlines()
        logged = [line for line in lines if "\tplatform\twoken by " in line]
        # a wake is written down after it, so each kill of node may cost one its line, and never adds one
        assert 0 <= counted - len(logged) <= unrest.kills, f"{name}: {counted} starts, {len(logged)} in its log"
        # a sleep that a killed node had half done is taken up again and may find the instance awake once more
        most = 1 + unrest.sleeps[name] + unrest.kills
        assert 1 + unrest.sleeps[name] - 1 <= counted <= most, f"{name}: {counted} starts, {unrest.sleeps[name]} sleeps"


@pytest.mark.timeout(300)
def test_nothing_fails_and_nothing_is_lost_under_load(server: Server, tmp_path: Path) -> None:
    ids = prepare(server)
    with Load(server, list(LOADED), folder=tmp_path) as load:
        unrest = Unrest(server, load, seed=1)
        unrest.round(sleeps=50, route_changes=20, reloads=5, kills=5)
    assert (sum(unrest.sleeps.values()), unrest.route_changes, unrest.reloads, unrest.kills) == (50, 20, 5, 5)
    print(load.summary())
    load.require_nothing_failed()
    load.require_nothing_lost()
    require_starts_add_up(server, ids, unrest)
    assert load.requests > 2000, load.summary()


@pytest.mark.soak
@pytest.mark.timeout(0)
def test_an_hour_of_load(tmp_path: Path) -> None:
    with running(**SETTINGS) as server:
        ids = prepare(server)
        memory = [_memory(server)]
        began = time.monotonic()
        rounds = 0
        with Load(server, list(LOADED), folder=tmp_path) as load:
            unrest = Unrest(server, load, seed=2)
            while time.monotonic() - began < SOAK_SECONDS:
                unrest.round(sleeps=50, route_changes=20, reloads=1, kills=2)
                rounds += 1
                memory.append(_memory(server))
                print(f"{time.monotonic() - began:6.0f} s  {load.summary()}  {memory[-1]}", flush=True)
                load.require_nothing_failed()
        print(
            f"{rounds} rounds: {sum(unrest.sleeps.values())} sleeps, {unrest.route_changes} route changes, "
            f"{unrest.reloads} edge reloads, node killed {unrest.kills} times\n{load.summary()}\n"
            f"memory in MB at first {memory[0]}, at last {memory[-1]}; ledgers in {tmp_path}"
        )
        load.require_nothing_failed()
        load.require_nothing_lost()
        require_starts_add_up(server, ids, unrest)
        for name, most in {"control": 150, "edge": 150}.items():
            grown = memory[-1][name] - memory[min(1, len(memory) - 1)][name]
            assert grown < most, f"{name} grew by {grown} MB"


def _memory(server: Server) -> dict[str, int]:
    """Resident memory of each of our processes in MB, the edge's workers together."""
    result = {}
    for name in ("edge", "node", "control"):
        process = psutil.Process(server.pid(name))
        family = [process, *(process.children() if name == "edge" else [])]
        result[name] = sum(member.memory_info().rss for member in family) // 1_000_000
    return result
