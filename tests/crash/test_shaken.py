"""SIGKILL at random instants while instances change their release there and back; then a check of everything."""

from __future__ import annotations

import contextlib
import os
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from tests.crash.shaking import VICTIMS, Shaker
from tests.load import Load, texts
from tests.server import Server, make_notes, running, superuser_token, until

#: No system migration lies between them, so an upgrade leads either way, again and again.
THERE_AND_BACK = ("0.23.12", "0.30.4")
#: One lies between these, so what is taken back had been migrated.
MIGRATING = ("0.36.9", "0.40.6")
ENDED = ("succeeded", "failed", "rolled_back")
#: A safe probe that no release passes, so that a switch is always taken back.
FAILING = {"method": "GET", "path": "/api/health", "expect_status": 418, "safe": True}
#: Seconds between two kills: some fall into one step, some into the restart from the one before.
PAUSES = (0.1, 2.0)
#: One kill of so many falls into a cutover, which is short beside its rehearsal: soon after one has begun.
CUTOVERS = 5
SOON = (0.0, 0.4)
#: Seconds that such a kill waits for one.
PATIENCE = 15.0


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """Executables without the counting wrapper, which the rehearsal's sandbox would not let in."""
    with running(versions=(*THERE_AND_BACK, *MIGRATING), counted=False) as started:
        yield started


@dataclass
class Journey:
    """One instance that goes from release to release, one operation after the other."""

    server: Server
    name: str
    #: each of its switches is to be taken back
    fails: bool
    id: str = ""
    release: str = ""
    operation: str = ""
    ended: list[str] = field(default_factory=list)

    @property
    def releases(self) -> tuple[str, str]:
        """It goes from one of them to the other."""
        return MIGRATING if self.fails else THERE_AND_BACK

    def prepare(self) -> None:
        """Make the instance."""
        self.release = self.releases[0]
        self.id = str(self.server.create(self.name, self.release)["id"])
        with self.server.client(self.name) as client:
            make_notes(client, self.release)
        if self.fails:
            self.server.api.put(f"/instances/{self.name}/probes", json={"items": [FAILING]}).raise_for_status()

    def go_on(self) -> None:
        """Begin the next operation where the last one is over; whoever dies at this moment, it is asked again."""
        with contextlib.suppress(httpx.HTTPError, OSError, ValueError):
            if self.operation:
                answer = self.server.api.get(f"/operations/{self.operation}")
                if answer.status_code != 200 or answer.json()["state"] not in ENDED:
                    return
                self._note(answer.json())
            self._begin()

    def in_cutover(self) -> bool:
        """Whether its requests are held, or were a moment ago."""
        with contextlib.suppress(httpx.HTTPError, OSError, ValueError):
            answer = self.server.api.get(f"/operations/{self.operation}")
            return answer.status_code == 200 and any(step["name"] == "hold" for step in answer.json()["steps"])
        return False

    def _begin(self) -> None:
        self.release = self.server.show(self.name)["release"]
        wanted = self.releases[1 - self.releases.index(self.release)]
        answer = self.server.api.post(f"/instances/{self.name}/upgrade", json={"range": wanted, "accept_changes": True})
        if answer.status_code == 202:
            self.operation = str(answer.json()["operation"]["id"])
        elif answer.status_code == 409:
            # its answer was lost, and the operation is under way
            self.operation = self._open()

    def _open(self) -> str:
        items = self.server.api.get(f"/instances/{self.name}/operations").raise_for_status().json()["items"]
        return next((str(item["id"]) for item in items if item["state"] not in ENDED), "")

    def _note(self, operation: dict[str, Any]) -> None:
        """What it ended as, and that the instance is as it says."""
        self.operation = ""
        state = operation["state"]
        assert "not_undone" not in (operation["error"] or {}), operation
        assert not (self.fails and state == "succeeded"), operation
        expected = operation["to"] if state == "succeeded" else operation["from"] or self.release
        self.release = self.server.show(self.name)["release"]
        assert self.release == expected, operation
        self.ended.append(state if state == "succeeded" else f"{state} ({operation['error']['code']})")

    def finish(self) -> None:
        """Wait for the end of what is under way."""

        def is_over() -> bool:
            with contextlib.suppress(httpx.HTTPError, OSError, ValueError):
                answer = self.server.api.get(f"/operations/{self.operation}")
                if answer.status_code == 200 and answer.json()["state"] in ENDED:
                    self._note(answer.json())
            return not self.operation

        until(is_over, 240, f"the end of {self.operation} of {self.name}")

    def is_whole(self, load: Load) -> None:
        """Awake on request, not held, signs its owner in, has all that was acknowledged, and nothing is left over."""
        with self.server.client(self.name) as client:
            assert superuser_token(client, self.release)
            assert client.post("/api/collections/notes/records", json={"text": "last"}).status_code == 200
        row = self.server.show(self.name)
        assert (row["release"], row["state"]) == (self.release, "awake")
        assert len(self.server.guest_pids(self.id)) == 1
        assert {*load.acknowledged(self.name)} < {*texts(self.server, self.name)}
        self.server.cli("sleep", self.name)
        snapshots = self.server.home / "snapshots" / self.id
        assert [path.name for path in snapshots.glob(".*")] == []


def wait_for_an_instant(journeys: list[Journey], chance: random.Random) -> None:
    """Any, or one in a cutover."""
    if chance.randrange(CUTOVERS):
        time.sleep(chance.uniform(*PAUSES))
        return
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and not any(journey.in_cutover() for journey in journeys):
        time.sleep(0.05)
    time.sleep(chance.uniform(*SOON))


def shaken(server: Server, names: list[str], kills: int, seed: int) -> Shaker:
    """Journeys side by side, every second one failing, until so many kills fell; whole, and nothing acknowledged lost.

    Each victim dies equally often, in an order by chance.
    """
    chance = random.Random(seed)
    journeys = [Journey(server, name, fails=bool(number % 2)) for number, name in enumerate(names)]
    for journey in journeys:
        journey.prepare()
    shaker = Shaker(server, {journey.name: journey.id for journey in journeys}, chance)
    victims = [VICTIMS[number % len(VICTIMS)] for number in range(kills)]
    chance.shuffle(victims)
    with Load(server, names, clients=3) as load:
        while victims:
            for journey in journeys:
                journey.go_on()
            wait_for_an_instant(journeys, chance)
            before = shaker.killed.total()
            shaker.kill(victims[0])
            if shaker.killed.total() > before:
                victims.pop(0)
        for journey in journeys:
            journey.finish()
        seen = load.requests
        until(lambda: load.requests > seen + 20, 60, "requests afterwards")
    shaker.require_excuses(load)
    load.require_nothing_lost()
    for journey in journeys:
        journey.is_whole(load)
        print(f"{journey.name}: {journey.ended}")
    print(f"seed {seed}: {dict(shaker.killed)}; {load.summary()}")
    return shaker


@pytest.mark.timeout(900)
def test_twenty_kills_at_random_instants(server: Server) -> None:
    shaker = shaken(server, [f"shaken-{number}" for number in range(3)], kills=20, seed=20261123)
    assert shaker.killed == dict.fromkeys(VICTIMS, 5)


@pytest.mark.soak
def test_hundreds_of_kills(server: Server) -> None:
    for turn in range(int(os.environ.get("POCKETFLEET_SOAK_TURNS", "20"))):
        shaken(server, [f"soaked-{turn}-{number}" for number in range(4)], kills=40, seed=turn)
