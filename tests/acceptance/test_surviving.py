"""Our own processes die, one by one and all at once: traffic goes on, and everything comes back as it should be."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Iterator

import psutil
import pytest

from tests import hooks
from tests.load import Load, nothing_fails, texts
from tests.pocketbases import NEWEST
from tests.server import Server, make_notes, until


@pytest.fixture
def busy(server: Server, request: pytest.FixtureRequest) -> str:
    """The name of an awake instance with a collection `notes` and a route that prints lines."""
    name = str(request.node.name).removeprefix("test_").replace("_", "-")[:60].strip("-")
    made = server.create(name)
    server.put(made["id"], "pb_hooks/main.pb.js", hooks.SAY)
    with server.client(name) as client:
        make_notes(client, NEWEST)
    return name


@pytest.fixture(scope="module")
def sleeper(server: Server) -> str:
    """The name of an instance that sleeps until something wakes it."""
    server.create("sleeper")
    return "sleeper"


def test_node_killed(server: Server, busy: str, sleeper: str) -> None:
    instance_id = server.show(busy)["id"]
    guests, starts = server.guest_pids(instance_id), server.starts(instance_id)
    with nothing_fails(server, busy), server.client(sleeper) as cold:
        server.cli("sleep", sleeper)
        before = server.pid("node")
        server.kill("node")
        # nobody answers at the gate now: the request waits in the edge until somebody does
        assert cold.get("/api/health").status_code == 200
        server.revived("node", before)
        server.reaches(busy, "awake")
    assert server.guest_pids(instance_id) == guests, "its PocketBase was not adopted"
    assert server.starts(instance_id) == starts


def test_an_adopted_instance_goes_on_logging_and_can_be_put_to_sleep(server: Server, busy: str) -> None:
    instance_id = server.show(busy)["id"]
    before = server.pid("node")
    with server.client(busy) as client:
        client.get("/say?from=0&to=5")
        server.kill("node")
        client.get("/say?from=5&to=10")  # said while nobody reads
        server.revived("node", before)
        client.get("/say?from=10&to=15")

    def said() -> list[str]:
        return [line["text"] for line in server.log(busy) if line["text"].startswith("line ") or "said" in line["text"]]

    until(lambda: len(said()) >= 15, 10, f"15 lines in the log: {server.log(busy)}")
    assert ["".join(filter(str.isdigit, text.partition("line ")[2])) for text in said()] == [str(n) for n in range(15)]
    server.cli("sleep", busy)
    assert server.guest_pids(instance_id) == []


def test_a_guest_that_died_unseen_is_not_taken_for_awake(server: Server, busy: str) -> None:
    instance_id = server.show(busy)["id"]
    before = server.pid("node")
    server.kill("node")
    server.kill_guest(instance_id)
    with server.client(busy) as client:
        assert client.get("/api/health").status_code == 200
    server.revived("node", before)
    assert len(server.guest_pids(instance_id)) == 1
    server.reaches(busy, "awake")


def test_what_should_not_run_is_stopped_by_the_restarted_node(server: Server, busy: str) -> None:
    instance_id = server.show(busy)["id"]
    before = server.pid("node")
    assert server.guest_pids(instance_id)
    server.kill("node")
    server.api.patch(f"/instances/{busy}", json={"power": "off"}).raise_for_status()
    server.revived("node", before)
    until(lambda: server.guest_pids(instance_id) == [], 20, "the powered-off PocketBase to end")
    with server.client(busy) as client:
        assert client.get("/api/health").json()["code"] == "powered_off"


def test_a_rename_while_node_is_dead_takes_effect(server: Server, busy: str) -> None:
    before = server.pid("node")
    server.kill("node")
    server.api.patch(f"/instances/{busy}", json={"name": "renamed-meanwhile"}).raise_for_status()
    server.revived("node", before)
    with server.client(busy) as old, server.client("renamed-meanwhile") as new:
        until(lambda: new.get("/api/health").status_code == 200, 10, "the new name to answer")
        assert old.get("/api/health").status_code == 404


def map_number(server: Server, name: str) -> str:
    """How HAProxy's Runtime API calls this map."""
    listed = server.edge_says("show map")
    found = re.search(rf"(?m)^(-?\d+) \(\S*{re.escape(name)}", listed)
    assert found, listed
    return f"#{found[1]}"


@pytest.mark.parametrize("while_dead", [False, True], ids=["node alive", "node dead"])
def test_wrong_routes_are_repaired(server: Server, sleeper: str, while_dead: bool) -> None:
    instance = server.show(sleeper)
    hosts, upstreams = (map_number(server, name) for name in ("hosts.map", "upstreams.map"))
    before = server.pid("node")
    with server.client(sleeper) as client, server.client("ghost") as ghost:
        assert client.get("/api/health").status_code == 200
        if while_dead:
            server.kill("node")
        server.edge_says(f"del map {hosts} sleeper.localhost")
        server.edge_says(f"add map {hosts} ghost.localhost {instance['id']}")
        server.edge_says(f"del map {upstreams} {instance['id']}")
        assert client.get("/api/health").status_code == 404, "the test did not break what it wanted to"
        if while_dead:
            server.revived("node", before)
        until(lambda: client.get("/api/health").status_code == 200, 15, "the lost host to be back")
        until(lambda: ghost.get("/api/health").status_code == 404, 15, "the wrong host to be gone")
        until(lambda: instance["id"] in server.edge_says(f"show map {upstreams}"), 15, "the upstream to be back")


def test_control_killed(server: Server, busy: str) -> None:
    with nothing_fails(server, busy) as load:
        before = server.pid("control")
        server.kill("control")
        count = load.requests
        until(lambda: load.requests > count + 100, 20, "a hundred requests")
        server.revived("control", before)
    assert server.cli("show", busy, "--json").returncode == 0


def test_control_hung_is_not_felt_by_traffic(server: Server, busy: str) -> None:
    control = psutil.Process(server.pid("control"))
    control.suspend()
    try:
        with nothing_fails(server, busy) as load:
            until(lambda: load.requests > 200, 20, "two hundred requests")
    finally:
        control.resume()
    assert server.show(busy)["state"] == "awake"


def test_edge_killed(server: Server, busy: str, sleeper: str) -> None:
    instance_id = server.show(busy)["id"]
    guests = server.guest_pids(instance_id)
    before = server.pid("edge")
    began = time.monotonic()
    server.kill("edge")
    server.revived("edge", before)
    assert time.monotonic() - began < 5, "not restarted at once"
    with server.client(busy) as client, server.client(sleeper) as cold:
        assert client.get("/api/health").status_code == 200
        assert cold.get("/api/health").status_code == 200
    assert server.guest_pids(instance_id) == guests
    server.cli("sleep", busy)
    with server.client(busy) as client:
        assert client.get("/api/health").status_code == 200
    assert server.pid("node")


def test_a_worker_of_the_edge_killed(server: Server, busy: str) -> None:
    master = psutil.Process(server.pid("edge"))
    for worker in master.children():
        worker.kill()
    with server.client(busy) as client:

        def answers() -> bool:
            try:
                return client.get("/api/health").status_code == 200
            except Exception:
                return False

        until(answers, 20, "the edge to answer again")


@pytest.fixture
def settled(server: Server, busy: str) -> Iterator[dict[str, str]]:
    """What must be the same after the server was away: an awake instance with a note, one off, one renamed."""
    with server.client(busy) as client:
        assert client.post("/api/collections/notes/records", json={"text": "kept"}).status_code == 200
    off, renamed = f"off-{os.urandom(3).hex()}", f"renamed-{os.urandom(3).hex()}"
    server.create(off)
    server.cli("power", off, "off")
    server.create(renamed + "-before")
    server.cli("rename", renamed + "-before", renamed)
    yield {"busy": busy, "off": off, "renamed": renamed}
    with server.client(busy) as client:
        assert client.get("/api/health").status_code == 200
        assert texts(server, busy) == ["kept"]
    with server.client(off) as client:
        assert client.get("/api/health").json()["code"] == "powered_off"
    with server.client(renamed) as client, server.client(renamed + "-before") as before:
        assert client.get("/api/health").status_code == 200
        assert before.get("/api/health").status_code == 404
    assert server.show(off)["state"] == "off"


def test_everything_killed_and_started_again(server: Server, settled: dict[str, str]) -> None:
    instance_id = server.show(settled["busy"])["id"]
    guests, token = server.guest_pids(instance_id), server.token
    assert guests
    server.kill_all()
    assert server.guest_pids(instance_id) == guests, "the guests did not outlive us"
    server.start()
    assert server.guest_pids(instance_id) == guests, "they were not adopted"
    assert server.token != token, "the operator's token is the old one"
    server.reaches(settled["busy"], "awake")


def test_everything_killed_with_the_guests_too(server: Server, settled: dict[str, str]) -> None:
    server.kill_all()
    for process in server.leftovers():
        process.kill()
    server.start()
    assert server.show(settled["busy"])["state"] == "asleep"


def test_stopped_in_order_and_started_again(server: Server, settled: dict[str, str]) -> None:
    assert server.guest_pids(server.show(settled["busy"])["id"])
    assert server.stop() == 0, server.said()
    assert [process.cmdline() for process in server.leftovers()] == []
    assert not (server.home / "operator.json").exists()
    server.start()
    assert server.show(settled["busy"])["state"] == "asleep"


def test_stopped_under_load_no_write_is_lost(server: Server, busy: str) -> None:
    with Load(server, [busy]) as load:
        until(lambda: load.requests > 300, 30, "some requests")
        assert server.stop() == 0, server.said()
    server.start()
    load.require_nothing_lost()


def test_an_interrupted_create_is_finished_or_undone(server: Server) -> None:
    answer = server.api.post("/instances", json={"name": "interrupted"})
    before = server.pid("node")
    server.kill("node")
    server.revived("node", before)
    server.finished(answer.json()["operation"]["id"])
    with server.client("interrupted") as client:
        assert client.get("/api/health").status_code == 200


def test_a_second_serve_on_the_same_home_is_refused(server: Server, sleeper: str) -> None:
    done = server.cli("serve", check=False)
    assert done.returncode == 1
    assert "already runs" in done.stderr
    assert "POCKETFLEET_HOME" in done.stderr, "no next step"
    with server.client(sleeper) as client:
        assert client.get("/api/health").status_code == 200
    assert server.api.get("/server").status_code == 200


def test_ctrl_c_stops_everything(server: Server, sleeper: str) -> None:
    with server.client(sleeper) as client:
        assert client.get("/api/health").status_code == 200
    assert server.process is not None
    os.killpg(server.process.pid, signal.SIGINT)
    assert server.process.wait(30) == 0, server.said()
    assert [process.cmdline() for process in server.leftovers()] == []
    server.process = None
    server.start()
