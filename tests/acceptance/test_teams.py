"""What operators and teams do to running instances: suspended and let go again, limits of instances awake at once,
moved to another team while they run."""

from __future__ import annotations

import contextlib
import json
import re
import threading
from urllib.parse import urlsplit

import httpx

from tests.server import Server, until

SETTINGS = {"idle_timeout": 3600}


def operators_browser(server: Server) -> httpx.Client:
    """A browser that is signed in as the operator."""
    link = urlsplit(server.api.post("/sign-in-links", json={}).json()["link"])
    browser = server.client("localhost")
    browser.headers.update({"host": link.netloc, "origin": f"http://{link.netloc}"})
    answer = browser.get(link.path)
    assert answer.status_code == 302, answer.text
    return browser


def send(browser: httpx.Client, path: str, **fields: str) -> httpx.Response:
    """A form of a page."""
    found = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', browser.get("/").text)
    assert found is not None
    return browser.post(path, data={"csrfmiddlewaretoken": found[1], **fields})


def test_a_suspended_instance_ends_says_so_and_comes_back(server: Server) -> None:
    made = server.create("spammer")
    browser = operators_browser(server)
    with server.client("spammer") as client, contextlib.closing(browser):
        assert client.get("/api/health").status_code == 200
        assert send(browser, "/operator/instances/spammer/suspend", reason="It sent mail.").status_code == 303
        until(lambda: server.guest_pids(made["id"]) == [], 20, "PocketBase to end")
        answer = client.get("/api/health")
        assert (answer.status_code, answer.json()["code"]) == (503, "suspended")
        assert "It sent mail." not in answer.text, "the reason is for its owner"
        page = client.get("/", headers={"accept": "text/html"})
        assert (page.status_code, page.headers["content-type"].partition(";")[0]) == (503, "text/html")
        assert "suspended by the operator" in page.text
        shown = server.show("spammer")
        assert (shown["state"], shown["reason"]) == ("suspended", "It sent mail.")
        until(lambda: server.show("spammer")["observed_generation"] == server.show("spammer")["generation"], 20, "it")
        # power is its owner's, the suspension is not
        server.cli("power", "spammer", "on")
        assert client.get("/api/health").json()["code"] == "suspended"
        assert server.guest_pids(made["id"]) == []
        assert send(browser, "/operator/instances/spammer/lift").status_code == 303
        until(lambda: client.get("/api/health").status_code == 200, 20, "it to answer again")


def test_health_of_a_server_that_runs(server: Server) -> None:
    with contextlib.closing(operators_browser(server)) as browser:
        page = browser.get("/operator").text
    assert page.count("<dd>answers") == 3, "edge, node and control"
    assert re.search(r"<dt>HAProxy</dt><dd>\d+\.\d+", page)


def test_a_team_has_no_more_awake_than_it_may(server: Server) -> None:
    team = server.api.post("/teams", json={"name": "Small"}).json()["id"]
    names = [f"small-{number}" for number in range(3)]
    ids = {name: json.loads(server.cli("create", name, "--team", "Small", "--json").stdout)["id"] for name in names}
    assert server.api.patch(f"/teams/{team}", json={"awake_limit": 1}).json()["awake_limit"] == 1

    def awake() -> list[str]:
        return [name for name in names if server.guest_pids(ids[name])]

    # each one that is called takes the place of the one before, and no request fails for that
    for name in (*names, *names):
        with server.client(name) as client:
            assert client.get("/api/health").status_code == 200
        assert awake() == [name]
    # nobody is there to make room while the one that is awake is busy: an open event stream
    busy, other = names[-1], names[0]
    ready, leave = threading.Event(), threading.Event()

    def listen() -> None:
        with server.client(busy) as client, client.stream("GET", "/api/realtime"):
            ready.set()
            leave.wait(60)

    listener = threading.Thread(target=listen)
    listener.start()
    assert ready.wait(30)
    try:
        with server.client(other) as client:
            refused = client.get("/api/health")
            assert (refused.status_code, refused.json()["code"]) == (503, "awake_limit")
            assert int(refused.headers["retry-after"]) > 0
            page = client.get("/", headers={"accept": "text/html"})
            assert "limit of 1 awake instances is reached" in page.text
        assert awake() == [busy]
    finally:
        leave.set()
        listener.join(30)
    with server.client(other) as client:
        until(lambda: client.get("/api/health").status_code == 200, 20, "room")
    # a higher limit counts at once
    assert server.api.patch(f"/teams/{team}", json={"awake_limit": 3}).status_code == 200
    with server.client(busy) as client:
        until(lambda: client.get("/api/health").status_code == 200 and len(awake()) == 2, 20, "both to be awake")


def test_an_instance_moves_while_it_runs(server: Server) -> None:
    server.cli("teams", "create", "Elsewhere")
    made = server.create("mover")
    with server.client("mover") as client:
        assert client.get("/api/health").status_code == 200
        pids = server.guest_pids(made["id"])
        server.cli("move", "mover", "Elsewhere")
        assert server.show("mover")["team"]["name"] == "Elsewhere"
        assert client.get("/api/health").status_code == 200
        assert server.guest_pids(made["id"]) == pids
    assert "moved mover to this team" in server.cli("teams", "audit", "Elsewhere").stdout
