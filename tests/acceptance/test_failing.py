"""When PocketBase does not start, or keeps dying: an honest answer, the reason for its owner, and no loop."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import accumulate
from typing import Any

import httpx
import pytest

from pocketfleet.domain.limits import backoff
from tests import hooks
from tests.pocketbases import NEWEST
from tests.server import Server, make_notes, until

SETTINGS = {"versions": ("0.22.27", NEWEST)}


@pytest.fixture(scope="module", params=["0.22.27", NEWEST])
def broken(request: pytest.FixtureRequest, server: Server) -> tuple[str, str]:
    """(name, id) of an instance whose hook ends PocketBase, asked once."""
    name = "broken-" + str(request.param).replace(".", "-")
    made = server.create(name, str(request.param))
    server.put(made["id"], "pb_hooks/main.pb.js", hooks.NEVER_STARTS)
    with server.client(name) as client:
        assert client.get("/api/health").status_code == 503
    return name, str(made["id"])


def reason(server: Server, name: str) -> str:
    """Why the instance is failing, as its owner reads it; written a moment after the failure."""
    server.reaches(name, "failing", 10)
    return str(server.show(name)["reason"])


@pytest.fixture
def client(server: Server, broken: tuple[str, str]) -> Iterator[httpx.Client]:
    """A client of the broken instance."""
    with server.client(broken[0]) as opened:
        yield opened


def test_a_failed_start_is_an_honest_503(client: httpx.Client) -> None:
    answer = client.get("/api/health", headers={"accept": "application/json"})
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) >= 1
    assert "json" in answer.headers["content-type"]
    assert answer.json()["code"] == "start_failed"
    page = client.get("/", headers={"accept": "text/html,application/xhtml+xml,*/*;q=0.8"})
    assert page.status_code == 503
    assert page.headers["content-type"].startswith("text/html")
    assert int(page.headers["retry-after"]) >= 1
    for text in (answer.text, page.text):
        assert "licence" not in text, "PocketBase's own words reach strangers"
        assert "\x00" not in text


def test_its_owner_learns_the_reason_without_the_secrets_in_it(server: Server, broken: tuple[str, str]) -> None:
    name, _ = broken
    said = reason(server, name)
    assert "cannot find the licence file" in said
    assert "SECRETSECRET" not in said
    assert server.show(name)["retry_at"]
    assert "cannot find the licence file" in server.cli("show", name).stdout
    log = server.cli("logs", name).stdout
    assert "cannot find the licence file" in log
    assert "SECRETSECRET" not in log


def test_requests_do_not_start_it_in_a_loop(server: Server, broken: tuple[str, str], client: httpx.Client) -> None:
    before = server.starts(broken[1])
    began = time.monotonic()
    for _ in range(100):
        assert client.get("/api/health").status_code == 503
    took = time.monotonic() - began
    # back-off: 1, 2, 5, 15 ... seconds between two tries
    assert server.starts(broken[1]) - before <= 2 + took / 2, f"in {took:.1f} s"


def test_it_is_tried_anew_when_something_changes(server: Server, broken: tuple[str, str], client: httpx.Client) -> None:
    name, instance_id = broken
    server.put(instance_id, "pb_hooks/main.pb.js", "")
    server.cli("power", name, "on")
    assert client.get("/api/health").status_code == 200
    shown = server.show(name)
    until(lambda: server.show(name)["state"] == "awake", 5, f"it to be awake: {shown}")
    assert server.show(name)["reason"] == ""


def test_always_awake_and_dying_at_once_backs_off(server: Server) -> None:
    made = server.create("insistent")
    server.put(made["id"], "pb_hooks/main.pb.js", hooks.NEVER_STARTS)
    began = time.monotonic()
    server.cli("settings", "insistent", "always_awake=true")
    until(lambda: server.starts(made["id"]) >= 2, 20, "a second try")
    until(lambda: time.monotonic() - began > 7, 10, "seven seconds")
    starts = server.starts(made["id"])
    took = time.monotonic() - began
    # the first at once, each of the others after its back-off: as many as fit into the time, however slow it passes
    moments = accumulate((backoff(number) for number in range(1, 50)), initial=0.0)
    assert starts <= sum(moment <= took for moment in moments), f"in {took:.1f} s"
    assert server.show("insistent")["state"] == "failing"
    server.cli("settings", "insistent", "always_awake=false")


def test_a_pocketbase_that_keeps_dying_is_not_restarted_in_a_loop(server: Server) -> None:
    made = server.create("dying")
    server.put(made["id"], "pb_hooks/main.pb.js", hooks.DIE)
    with server.client("dying") as client:
        began = time.monotonic()
        statuses = [client.get("/die").status_code for _ in range(40)]
        took = time.monotonic() - began
        starts = server.starts(made["id"])
        assert set(statuses) <= {502, 503}, statuses
        assert statuses.count(503) >= 20, statuses
        assert starts <= 5 + took / 2, f"{starts} starts in {took:.1f} s"

        def told() -> bool:
            return "exit code 7" in server.show("dying")["reason"]

        until(told, 10, f"the reason: {server.show('dying')}")
        server.cli("power", "dying", "on")
        assert client.get("/api/health").status_code == 200


def test_a_death_is_noticed_at_once_and_said_in_the_log(server: Server) -> None:
    made = server.create("killed")
    with server.client("killed") as client:
        assert client.get("/api/health").status_code == 200
        server.reaches("killed", "awake")
        server.kill_guest(made["id"])
        until(lambda: server.show("killed")["state"] != "awake", 5, "the death to be noticed")

        def told() -> bool:
            lines = server.log("killed")
            return any(line["stream"] == "platform" and "SIGKILL" in line["text"] for line in lines)

        until(told, 5, f"SIGKILL in the log: {server.log('killed')}")
        assert client.get("/api/health").status_code == 200


@pytest.mark.parametrize(
    "trouble",
    [
        ("pb_hooks/main.pb.js", "this is no javascript"),
        ("pb_migrations/1700000001_bad.js", "migrate((app) => { throw new Error('never') })"),
    ],
    ids=["hook", "migration"],
)
def test_a_mistake_in_a_tenants_file_stops_nobody_else(server: Server, trouble: tuple[str, str]) -> None:
    name = "mistaken-" + trouble[0].split("/")[0].removeprefix("pb_")
    made = server.create(name)
    server.put(made["id"], *trouble)
    server.create(name + "-neighbour")
    with server.client(name) as client, server.client(name + "-neighbour") as neighbour:
        status = client.get("/api/health").status_code
        assert neighbour.get("/api/health").status_code == 200
        assert status in (200, 503)
        if status == 503:
            assert "never" in reason(server, name)

        # a broken hook is printed and PocketBase serves without it: its owner reads it in the log
        def told() -> bool:
            log = " ".join(line["text"] for line in server.log(name))
            return "never" in log or "SyntaxError" in log

        until(told, 10, f"the mistake in the log: {server.log(name)}")


def test_a_data_file_that_is_no_database_is_said(server: Server) -> None:
    made = server.create("garbage")
    data = server.folder(made["id"]) / "pb_data" / "data.db"
    kept = data.read_bytes()
    data.write_bytes(b"this is not a database, however long one looks at it" * 200)
    with server.client("garbage") as client:
        assert client.get("/api/health").status_code == 503
        assert "not a database" in reason(server, "garbage")
        data.write_bytes(kept)
        server.cli("power", "garbage", "on")
        assert client.get("/api/health").status_code == 200


def test_a_missing_executable_names_the_next_step_and_loses_nothing(server: Server) -> None:
    server.create("bereft")
    with server.client("bereft") as client:
        make_notes(client, NEWEST)
        client.post("/api/collections/notes/records", json={"text": "kept"})
        server.cli("sleep", "bereft")
        executable = server.home / "releases" / NEWEST / "pocketbase"
        away = executable.rename(executable.with_name("away"))
        try:
            assert client.get("/api/health").status_code == 503
            said = reason(server, "bereft")
            assert NEWEST in said, said
            assert "pocketfleet " in said, "no next step: " + said
        finally:
            away.rename(executable)
        server.cli("power", "bereft", "on")
        assert _texts(client) == ["kept"]


def test_a_release_whose_executable_is_another_one_is_not_installed(server: Server) -> None:
    wrong = server.releases / "0.30.4" / "pocketbase"
    wrong.parent.mkdir()
    wrong.write_bytes((server.releases / NEWEST / "pocketbase").read_bytes())
    wrong.chmod(0o755)
    server.cli("releases", "--refresh")
    answer = server.api.post("/instances", json={"name": "impostor", "range": "0.30.4"})
    if answer.status_code == 202:
        operation = server.finished(answer.json()["operation"]["id"], "failed")
        assert NEWEST in operation["error"]["detail"], operation["error"]
        assert server.api.get("/instances/impostor").status_code == 404, "half an instance was left"
    assert not (server.home / "releases" / "0.30.4" / "pocketbase").exists()


def _texts(client: httpx.Client) -> list[Any]:
    return [item["text"] for item in client.get("/api/collections/notes/records").json()["items"]]
