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
    assert browser.get(link.path).status_code == 302
    return browser


def send(browser: httpx.Client, path: str, **fields: str) -> httpx.Response:
    """A form of a page."""
    found = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', browser.get("/").text)
    assert found is not None
    return browser.post(path, data={"csrfmiddlewaretoken": found[1], **fields})


def test_a_suspended_instance_ends_says_so_and_comes_back(server: Server) -> None:
    made = server.create("spammer")
    with server.client("spammer") as client, contextlib.closing(operators_browser(server)) as browser:
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
    # a higher limit counts as soon as node has heard of it
    assert server.api.patch(f"/teams/{team}", json={"awake_limit": 3}).status_code == 200
    with server.client(busy) as first, server.client(other) as second:

        def both() -> bool:
            statuses = {client.get("/api/health").status_code for client in (first, second)}
            return statuses == {200} and len(awake()) == 2

        until(both, 20, "both to be awake")


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


def from_address(server: Server, address: str, name: str) -> httpx.Client:
    """A client of this instance with an address of its own."""
    return server.client(name, transport=httpx.HTTPTransport(local_address=address))


def test_limits_and_lists_change_what_the_edge_lets_through(server: Server) -> None:
    team = server.api.post("/teams", json={"name": "Busy"}).json()["id"]
    made = server.api.post("/instances", json={"name": "busy", "team": team})
    server.finished(made.json()["operation"]["id"])
    server.cli("teams", "limits", "Busy", "address_hourly=1000", "trusted_address_hourly=5000")
    server.cli("teams", "trust", "Busy", "127.0.0.8")
    server.cli("settings", "busy", "limits=address_hourly=900 instance_hourly=5000")
    shown = server.show("busy")
    assert shown["traffic_limits"] == {"address_hourly": 900, "instance_hourly": 5000}
    assert (shown["limits"]["address_hourly"], shown["limits"]["trusted_address_hourly"]) == (900, 5000)

    def told(client: httpx.Client) -> str | None:
        answer = client.get("/api/health")
        assert answer.status_code == 200
        found: str | None = answer.headers.get("x-ratelimit-limit")
        return found

    with from_address(server, "127.0.0.7", "busy") as client, from_address(server, "127.0.0.8", "busy") as trusted:
        until(lambda: told(client) == "900", 20, "the instance's own limit to count")
        until(lambda: told(trusted) == "5000", 20, "the trusted address to be known")
        # an owner cannot raise what the operator gave
        server.api.patch("/instances/busy", json={"traffic_limits": {"address_hourly": 5000}})
        until(lambda: told(client) == "1000", 20, "the team's limit to count again")
        server.cli("teams", "distrust", "Busy", "127.0.0.8")
        until(lambda: told(trusted) == "1000", 20, "the address to be as any other")
        server.api.patch(f"/teams/{team}", json={"traffic_limits": None})
        server.api.patch("/instances/busy", json={"traffic_limits": {}})
        until(lambda: told(client) is None, 20, "no limit to be left")
        listed = server.cli("addresses", "deny", "127.0.0.7", "--note", "It asks too much.", "--json")
        until(lambda: client.get("/api/health").status_code == 403, 20, "the address to be denied")
        assert told(trusted) is None
        assert json.loads(listed.stdout)[0]["note"] == "It asks too much."
        server.cli("addresses", "drop", "127.0.0.7")
        until(lambda: client.get("/api/health").status_code == 200, 20, "the address to be let in again")
    locked_out = server.api.put("/addresses", json={"network": "127.0.0.0/8", "listing": "deny"})
    assert (locked_out.status_code, "lock yourself out" in locked_out.json()["detail"]) == (422, True)
    verbs = {row["verb"] for row in server.api.get(f"/teams/{team}/audit").json()["items"]}
    assert {"set_traffic_limits", "set_trusted", "change_settings"} <= verbs
    assert {"deny_address", "drop_address"} <= {row["verb"] for row in server.api.get("/audit").json()["items"]}
