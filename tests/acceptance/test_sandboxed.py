"""Instances that are locked in: what people do with them works, across crashes too, and nothing is left behind."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from pocketfleet.domain.addresses import USERS_FROM
from tests.load import nothing_fails
from tests.pocketbases import NEWEST
from tests.sandboxes import left_of, limits_of, needs_sandbox
from tests.server import Server, make_notes, superuser_token, until

pytestmark = needs_sandbox

OLD = "0.22.27"
MIB = 1024**2
SETTINGS = {"counted": False, "sandbox": "on", "versions": (OLD, NEWEST), "idle_timeout": 3600}


def owners(folder: Path) -> set[int]:
    """Who owns what is in there."""
    return {path.lstat().st_uid for path in [folder, *folder.rglob("*")]}


@contextmanager
def limited(server: Server, instance_id: str, **own: float) -> Iterator[None]:
    """`with`: its team's instances may use no more than that."""
    team = f"/teams/{server.show(instance_id)['team']['id']}"
    assert server.api.patch(team, json={"guest_limits": own}).json()["guest_limits"] == own
    try:
        yield
    finally:
        server.api.patch(team, json={"guest_limits": None})


def texts(client: httpx.Client) -> list[str]:
    """What its notes say, in the order of the alphabet."""
    answer = client.get("/api/collections/notes/records?perPage=100")
    assert answer.status_code == 200, answer.text
    return sorted(item["text"] for item in answer.json()["items"])


def add(client: httpx.Client, text: str) -> None:
    assert client.post("/api/collections/notes/records", json={"text": text}).status_code == 200


@pytest.fixture
def notes(server: Server, request: pytest.FixtureRequest) -> Iterator[tuple[str, httpx.Client]]:
    """The id of an awake instance with a collection `notes` that holds `first`, and a client of it."""
    name = str(request.node.name).removeprefix("test_").replace("_", "-")[:40].strip("-")
    made = server.create(name)
    with server.client(name) as client:
        make_notes(client, NEWEST)
        add(client, "first")
        yield made["id"], client


def test_it_says_so(server: Server) -> None:
    assert "Isolation   on" in server.said()


def test_every_instance_has_a_user_of_its_own_that_owns_its_files(
    server: Server, notes: tuple[str, httpx.Client]
) -> None:
    other = server.create("neighbour")["id"]
    (one,), (two,) = owners(server.folder(notes[0])), owners(server.folder(other))
    assert one != two
    assert min(one, two) >= USERS_FROM
    (pid,) = server.guest_pids(notes[0])
    assert f"Uid:\t{one}\t{one}\t{one}\t{one}" in Path(f"/proc/{pid}/status").read_text()


def test_node_killed(server: Server, notes: tuple[str, httpx.Client]) -> None:
    instance_id, client = notes
    guests, before = server.guest_pids(instance_id), server.pid("node")
    server.kill("node")
    with limited(server, instance_id, cpus=0.75):
        server.revived("node", before)
        until(lambda: server.show(instance_id)["state"] == "awake", 20, "its adoption")
        assert server.guest_pids(instance_id) == guests, "its PocketBase was not adopted"
        until(lambda: limits_of(server.home, instance_id)["cpus"] == 0.75, 20, "what changed while node was away")
    add(client, "second")
    server.cli("sleep", instance_id)
    assert server.guest_pids(instance_id) == []
    assert texts(client) == ["first", "second"]


def test_killed_while_node_is_away(server: Server, notes: tuple[str, httpx.Client]) -> None:
    instance_id, client = notes
    before = server.pid("node")
    server.kill("node")
    server.kill_guest(instance_id)
    server.revived("node", before)
    assert texts(client) == ["first"]


def test_an_upgrade_and_the_way_back(server: Server) -> None:
    made = server.create("climber", OLD)
    with server.client("climber") as client:
        make_notes(client, OLD)
        add(client, "first")
        server.cli("upgrade", "climber", NEWEST, check=False)
        server.cli("upgrade", "climber", NEWEST, "--accept-changes")
        assert server.show("climber")["release"] == NEWEST
        assert texts(client) == ["first"]
        server.cli("rollback", "climber", "--accept-loss")
        assert server.show("climber")["release"] == OLD
        assert texts(client) == ["first"]
    assert len(owners(server.folder(made["id"]))) == 1


def test_copies(server: Server, notes: tuple[str, httpx.Client]) -> None:
    """A snapshot, a backup, a restore of either, a clone, and an import: all end as their instance's user's."""
    instance_id, client = notes
    server.cli("backup", instance_id)
    add(client, "second")
    backup = server.api.get(f"/instances/{instance_id}/backups").json()["items"][0]["name"]
    server.cli("restore", instance_id, backup)
    assert texts(client) == ["first"]
    server.cli("clone", instance_id, "twin")
    with server.client("twin") as twin:
        assert texts(twin) == ["first"]
        add(twin, "of the twin")
    (own,), (twins,) = owners(server.folder(instance_id)), owners(server.folder(server.show("twin")["id"]))
    assert own != twins


def test_one_that_wants_too_much_memory_says_so(server: Server, notes: tuple[str, httpx.Client]) -> None:
    instance_id, client = notes
    hook = 'routerAdd("GET", "/hog", (e) => { const a = []; while (true) a.push("x".repeat(1 << 20) + Math.random()) })'
    server.put(instance_id, "pb_hooks/main.pb.js", hook)
    with limited(server, instance_id, memory=96 * MIB, cpus=1):
        # its memory counts from its next start; that node knows of it shows in the processor time
        until(lambda: limits_of(server.home, instance_id)["cpus"] == 1, 20, "its processor time to change")
        server.cli("sleep", instance_id)
        assert client.get("/hog").status_code in (502, 503)
    lines = "\n".join(line["text"] for line in server.log(instance_id))
    assert "used more than the 96 MiB of memory that this instance may have" in lines
    assert texts(client) == ["first"]

    def told() -> bool:
        feed = server.api.get(f"/instances/{instance_id}/events").json()["items"]
        return any(event["kind"] == "out_of_memory" for event in feed)

    until(told, 10, "the event")


def test_a_teams_limits_are_what_its_instances_get(server: Server) -> None:
    team, usual = (server.api.post("/teams", json={"name": name}).json()["id"] for name in ("Small", "Usual"))
    said = server.cli("teams", "resources", "Small", "memory=128MiB", "cpus=0.5", "processes=100").stdout
    assert "Each instance of Small: memory=128MiB cpus=0.5 cpu_weight=100 processes=100" in said
    made = server.api.post("/instances", json={"name": "small", "team": team})
    server.finished(made.json()["operation"]["id"])
    instance_id = server.show("small")["id"]

    def held() -> dict[str, float]:
        return limits_of(server.home, instance_id)

    own = {"memory": 128 * MIB, "cpus": 0.5, "cpu_weight": 100, "processes": 100}
    with server.client("small") as client:
        assert client.get("/api/health").status_code == 200
        assert held() == own
        guests = server.guest_pids(instance_id)
        # the processor at once, what could end it at its next start
        changed = {"memory": 64 * MIB, "cpus": 0.25, "cpu_weight": 300, "processes": 64}
        server.api.patch(f"/teams/{team}", json={"guest_limits": changed})
        until(lambda: held() == own | {"cpus": 0.25, "cpu_weight": 300}, 20, "its processor time to change")
        # in another team the server's counts again
        server.api.post("/instances/small/move", json={"team": usual})
        until(lambda: held() == own | {"cpus": 2}, 20, "another team's processor time to count")
        assert server.guest_pids(instance_id) == guests


def test_a_teams_storage_counts_at_once(server: Server) -> None:
    team = server.api.post("/teams", json={"name": "Tight"}).json()["id"]
    made = server.api.post("/instances", json={"name": "tight", "team": team})
    server.finished(made.json()["operation"]["id"])
    with server.client("tight") as client:
        assert client.get("/api/health").status_code == 200
        with (server.folder(server.show("tight")["id"]) / "pb_public" / "large").open("wb") as large:
            large.truncate(20 * MIB)
        server.cli("teams", "resources", "Tight", "storage=16MiB")
        until(lambda: client.get("/api/health").status_code == 507, 30, "it to be over its storage")

        def said() -> bool:
            feed = server.api.get("/instances/tight/events").json()["items"]
            return any("MB of 17 MB of storage are used" in event["text"] for event in feed)

        until(said, 10, "its owner to be told")
        server.cli("teams", "resources", "Tight", "storage=64MiB")
        until(lambda: client.get("/api/health").status_code == 200, 30, "it to have room again")


def test_rules_that_somebody_deletes_come_back(server: Server, notes: tuple[str, httpx.Client]) -> None:
    def rules() -> list[str]:
        return [each for each in left_of(server.home) if each.startswith("table")]

    (table,) = rules()
    subprocess.run(["nft", "delete", *table.split()], check=True)
    until(lambda: rules() == [table], 30, "node to load them again")
    assert texts(notes[1]) == ["first"]


def test_everything_killed_and_nothing_left_behind() -> None:
    """In a home of its own: after a crash of all of ours guests are adopted; after an orderly end nothing is left."""
    server = Server(Path(tempfile.mkdtemp(prefix="pf-", dir="/tmp")), counted=False, sandbox="on")
    try:
        server.start()
        instance_id = server.create("lasting")["id"]
        gone = server.create("gone")["id"]
        with server.client("lasting") as client, server.client("gone") as other:
            assert (client.get("/api/health").status_code, other.get("/api/health").status_code) == (200, 200)
            guests = server.guest_pids(instance_id)
            server.kill_all()
            os.kill(server.guest_pids(gone)[0], 9)
            server.start()
            assert server.show(instance_id)["state"] == "awake"
            assert server.guest_pids(instance_id) == guests
            assert other.get("/api/health").status_code == 200
        assert left_of(server.home)
        server.stop()
        until(lambda: not left_of(server.home), 20, "all of its sandbox to be gone")
    finally:
        server.clean()


def test_a_home_goes_under_the_sandbox_and_back() -> None:
    server = Server(Path(tempfile.mkdtemp(prefix="pf-", dir="/tmp")), counted=False, sandbox="off")
    try:
        server.start()
        assert "Isolation   none" in server.said()
        instance_id = server.create("moving")["id"]
        with server.client("moving") as client:
            make_notes(client, NEWEST)
            add(client, "plain")
            assert owners(server.folder(instance_id)) == {0}
            for sandbox, text in (("on", "locked in"), ("off", "plain again"), ("on", "and in again")):
                # what runs is of the other kind: it is ended, not adopted
                server.kill_all()
                server.environment["POCKETFLEET_SANDBOX"] = sandbox
                server.start()
                add(client, text)
                assert len(server.guest_pids(instance_id)) == 1
            assert texts(client) == ["and in again", "locked in", "plain", "plain again"]
            token = superuser_token(client, NEWEST)
            assert client.get("/api/settings", headers={"authorization": token}).status_code == 200
        assert 0 not in owners(server.folder(instance_id))
    finally:
        server.clean()


def test_what_is_asked_for_and_cannot_be_is_refused(home: Path) -> None:
    server = Server(home, counted=False, sandbox="on", sandbox_bwrap="/nonexistent")
    try:
        with pytest.raises(AssertionError, match="There is no bubblewrap at /nonexistent"):
            server.start()
    finally:
        server.clean()


def test_requests_while_it_wakes_and_sleeps(server: Server, notes: tuple[str, httpx.Client]) -> None:
    instance_id, _ = notes
    with nothing_fails(server, server.show(instance_id)["name"]):
        for _ in range(3):
            server.cli("sleep", instance_id)
