"""The way into admin pages through the whole server: what a browser would send, and what somebody hostile does."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from typing import Any

import httpx
import pytest

from tests.pocketbases import NEWEST
from tests.server import Server, notes_collection, running, superuser_token, until

SETTINGS = {"versions": (NEWEST, "0.22.27")}
ENTRANCE = "/_pocketfleet/admin"
SNOOP = """
routerUse((e) => { console.log("saw " + e.request.method + " " + e.request.url.path); return e.next() })
routerAdd("POST", "/_pocketfleet/admin", (e) => e.string(200, "mine"))
routerAdd("GET", "/_pocketfleet/{rest...}", (e) => e.string(200, "mine"))
routerAdd("GET", "/slow", (e) => { sleep(4000); return e.string(200, "slow") })
"""


class Dashboard:
    """A browser's session, without the browser."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.origin = f"http://localhost:{server.port}"
        link = server.api.post("/sign-in-links").json()["link"]
        self.client = server._client(f"localhost:{server.port}", follow_redirects=True)
        self.client.get(link.removeprefix(self.origin))

    def click(self, instance: Mapping[str, Any]) -> httpx.Response:
        """The page that takes the ticket to the instance."""
        page = self.client.get(f"/instances/{instance['id']}/admin")
        token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page.text)
        assert token is not None, page.text
        headers = {"origin": self.origin}
        form = {"csrfmiddlewaretoken": token[1]}
        return self.client.post(f"/instances/{instance['id']}/admin", data=form, headers=headers)

    def ticket(self, instance: Mapping[str, Any]) -> str:
        found = re.search(r'name="ticket" value="([^"]+)"', self.click(instance).text)
        assert found is not None
        return found[1]

    def enter(self, name: str, ticket: str, **headers: str) -> httpx.Response:
        """What the form sends, unless `headers` say otherwise; None leaves one out."""
        with self.server.client(name) as client:
            sent = {"origin": self.origin, **headers}
            return client.post(ENTRANCE, data={"ticket": ticket}, headers=sent)


@pytest.fixture(scope="module")
def desk(server: Server) -> Dashboard:
    return Dashboard(server)


@pytest.fixture(scope="module")
def shop(server: Server) -> dict[str, Any]:
    made = server.create("shop")
    server.create("blog")
    server.put(made["id"], "pb_hooks/snoop.pb.js", SNOOP)
    return made


def session_in(answer: httpx.Response) -> Any:
    """What the page would leave in the browser's storage."""
    found = re.search(r'<script type="application/json" id="session">(.*?)</script>', answer.text, flags=re.S)
    assert found is not None, answer.text
    kept = json.loads(found[1])
    return kept["key"], json.loads(kept["value"]), kept["path"]


def refused(answer: httpx.Response, status: int, *words: str) -> None:
    assert answer.status_code == status, answer.text
    assert "token" not in answer.text.replace("signed", "")
    assert all(word in answer.text for word in words), answer.text
    assert "Back to the dashboard" in answer.text
    assert "script" not in answer.headers["content-security-policy"]


def test_click_and_in(server: Server, desk: Dashboard, shop: dict[str, Any]) -> None:
    page = desk.click(shop)
    policy = page.headers["content-security-policy"]
    assert f"form-action http://shop.localhost:{server.port};" in policy
    assert policy.count("form-action") == 1
    assert "'unsafe-inline'" not in policy
    assert page.headers["referrer-policy"] == "strict-origin"
    assert page.headers["cache-control"] == "no-store"
    assert f'action="http://shop.localhost:{server.port}{ENTRANCE}"' in page.text
    other = desk.client.get("/")
    assert "form-action 'self';" in other.headers["content-security-policy"]

    answer = desk.enter("shop", desk.ticket(shop))
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["content-security-policy"].startswith("default-src 'none'; ")
    assert "script-src 'sha256-" in answer.headers["content-security-policy"]
    assert "access-control-allow-origin" not in answer.headers
    assert "set-cookie" not in answer.headers
    key, value, path = session_in(answer)
    assert (key, path) == ("__pb_superusers__/_", "/_/")
    assert re.fullmatch(r"operator\+\d+@pocketfleet\.invalid", value["record"]["email"])
    with server.client("shop") as client:
        headers = {"authorization": value["token"]}
        assert client.get("/api/settings", headers=headers).status_code == 200
        assert client.get("/api/settings").status_code in (401, 403)
    with server.client("blog") as client:
        assert client.get("/api/settings", headers=headers).status_code in (401, 403), "there it is nobody's token"


def test_by_its_permanent_host_too(server: Server, desk: Dashboard, shop: dict[str, Any]) -> None:
    assert desk.enter(shop["id"], desk.ticket(shop)).status_code == 200


def test_an_awake_instance_is_not_disturbed(server: Server, desk: Dashboard, shop: dict[str, Any]) -> None:
    with server.client("shop") as client:
        client.get("/api/health")
    pids = server.guest_pids(shop["id"])
    assert desk.enter("shop", desk.ticket(shop)).status_code == 200
    assert server.guest_pids(shop["id"]) == pids


def test_a_ticket_works_once_and_for_its_own_instance(server: Server, desk: Dashboard, shop: dict[str, Any]) -> None:
    used = desk.ticket(shop)
    assert desk.enter("shop", used).status_code == 200
    refused(desk.enter("shop", used), 410, "used already", "Go back to the dashboard")
    stray = desk.ticket(shop)
    refused(desk.enter("blog", stray), 410, "another instance")
    refused(desk.enter("shop", stray), 410, "used already")
    refused(desk.enter("shop", "x" * 43), 410, "not known here")


def test_only_from_the_dashboard(server: Server, desk: Dashboard, shop: dict[str, Any]) -> None:
    """Whoever lures a browser there with a ticket of their own would sign it in as themselves."""
    ticket = desk.ticket(shop)
    for origin in (
        "null",
        "",
        f"http://blog.localhost:{server.port}",
        f"http://shop.localhost:{server.port}",
        f"https://localhost:{server.port}",
        "http://localhost",
        f"http://localhost:{server.port}.evil.example",
    ):
        refused(desk.enter("shop", ticket, origin=origin), 403, "did not come from the dashboard")
    with server.client("shop") as client:
        refused(client.post(ENTRANCE, data={"ticket": ticket}), 403)
    assert desk.enter("shop", ticket).status_code == 200, "none of them burnt it"


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_only_by_post(server: Server, shop: dict[str, Any], method: str) -> None:
    with server.client("shop") as client:
        answer = client.request(method, ENTRANCE, headers={"origin": f"http://localhost:{server.port}"})
    assert answer.status_code == 405
    assert answer.headers["allow"] == "POST"
    assert "mine" not in answer.text


def test_hostile_forms(server: Server, desk: Dashboard, shop: dict[str, Any]) -> None:
    form = {"origin": desk.origin, "content-type": "application/x-www-form-urlencoded"}
    bodies: list[tuple[bytes, dict[str, str], int]] = [
        (b"", form, 400),
        (b"ticket=", form, 400),
        (b"ticket=a&ticket=b", form, 400),
        (b"a=1&" * 50 + b"ticket=x", form, 400),
        (b"ticket=" + b"x" * 5000, form, 413),
        (b"ticket=" + b"x" * 200_000, form, 413),
        (b"\x00\xff\xfe", form, 400),
        (b"ticket=%00%ff", form, 400),
        (b"ticket=%C3%A4", form, 400),
        (b'{"ticket":"x"}', {**form, "content-type": "application/json"}, 400),
        (b"ticket=x", {**form, "content-type": "text/plain"}, 400),
        (b"ticket=<script>alert(1)</script>", form, 410),
    ]
    with server.client("shop") as client:
        for body, headers, status in bodies:
            answer = client.post(ENTRANCE, content=body, headers=headers)
            refused(answer, status)
            assert "<script>" not in answer.text
        forged = {**form, "x-pocketfleet-instance": "x", "X_Pocketfleet_Instance": "x"}
        answer = client.post(ENTRANCE, data={"ticket": desk.ticket(shop)}, headers=forged)
        assert answer.status_code == 200, "a client's word for which instance it is counts nothing"
    head = f"POST {ENTRANCE} HTTP/1.1\r\nHost: shop.localhost\r\nOrigin: {desk.origin}\r\n"
    head += "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 100\r\n\r\n"
    with socket.create_connection(("127.0.0.1", server.port)) as slow:
        slow.sendall(head.encode() + b"ticket=")
        assert desk.enter("shop", desk.ticket(shop)).status_code == 200, "one that dawdles keeps nobody waiting"


def test_the_path_is_ours_and_no_instance_ever_sees_it(server: Server, desk: Dashboard, shop: dict[str, Any]) -> None:
    with server.client("shop") as client:
        assert client.get("/api/health").status_code == 200
        for path in (
            "/_pocketfleet/",
            "/_pocketfleet/other",
            "/_pocketfleet/admin/",
            "/%5fpocketfleet/other",
            "/_pocketfleet%2fadmin",
            "/%5Fpocketfleet/admin",
        ):
            answer = client.get(path)
            assert answer.status_code == 404, path
            assert "mine" not in answer.text
            assert client.post(path, content=b"ticket=x", headers={"accept": "text/event-stream"}).status_code == 404
        assert desk.enter("shop", desk.ticket(shop)).status_code == 200
        assert client.get("/_pocketfleetx").status_code in (200, 404)
    until(lambda: "saw GET /_pocketfleetx" in log_of(server), 10, "the hook's own line")
    assert "saw GET /api/health" in log_of(server)
    assert not re.search(r"saw \w+ /(_|%5f|%5F)pocketfleet(/|%2f)", log_of(server))


def log_of(server: Server) -> str:
    return "\n".join(str(line["text"]) for line in server.log("shop"))


def test_unknown_hosts_stay_unknown(server: Server) -> None:
    answer = server.raw(
        f"POST {ENTRANCE} HTTP/1.1\r\nHost: nobody.localhost\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode()
    )
    assert answer.startswith(b"HTTP/1.1 404 ")
    with server._client(f"localhost:{server.port}") as client:
        assert client.post(ENTRANCE, data={"ticket": "x"}).status_code == 404, "nothing of it at the dashboard's host"


def test_it_is_counted_as_every_request_and_keeps_nothing_from_stopping(
    server: Server, desk: Dashboard, shop: dict[str, Any]
) -> None:
    def counted(number: str) -> int:
        table = server.edge_says(f"show table instances key {shop['id']}")
        found = re.search(rf"{number}=(\d+)", table)
        return int(found[1]) if found else 0

    before = counted("http_req_cnt")
    assert desk.enter("shop", desk.ticket(shop)).status_code == 200
    assert counted("http_req_cnt") > before
    until(lambda: counted("conn_cur") == 0, 10, "no open connection")


def test_strangers_are_sent_to_sign_in(server: Server, shop: dict[str, Any]) -> None:
    with server._client(f"localhost:{server.port}") as client:
        for method in ("GET", "POST"):
            answer = client.request(method, f"/instances/{shop['id']}/admin")
            assert answer.status_code in (302, 403)
            assert "ticket" not in answer.text
    headers = {"authorization": f"Bearer {server.token}"}
    with server._client(f"localhost:{server.port}", headers=headers) as client:
        assert client.get(f"/instances/{shop['id']}/admin").status_code == 302, "a token is no browser's session"


def test_a_form_from_elsewhere_gets_no_ticket(server: Server, desk: Dashboard, shop: dict[str, Any]) -> None:
    answer = desk.client.post(f"/instances/{shop['id']}/admin", headers={"origin": "http://blog.localhost"})
    assert answer.status_code == 403
    assert 'name="ticket"' not in answer.text
    assert desk.client.get("/instances/nobody/admin").status_code == 404


def test_where_it_may_not_run_the_answer_is_honest(server: Server, desk: Dashboard) -> None:
    made = server.create("resting")
    server.cli("power", "resting", "off")
    refused(desk.enter("resting", desk.ticket(made)), 503, "switched off for maintenance", "Power it on")
    assert server.guest_pids(made["id"]) == []
    server.cli("power", "resting", "on")
    assert desk.enter("resting", desk.ticket(made)).status_code == 200

    broken = server.create("broken")
    server.put(broken["id"], "pb_migrations/1_bad.js", "migrate((app) => { throw new Error('nothing works') })")
    answer = desk.enter("broken", desk.ticket(broken))
    refused(answer, 503, "PocketBase did not start")
    assert int(answer.headers["retry-after"]) >= 1


def test_the_command_line_leads_to_the_dashboards_page(server: Server, desk: Dashboard, shop: dict[str, Any]) -> None:
    said = server.cli("open", "shop", "--admin").stdout.strip()
    assert said == f"{desk.origin}/instances/{shop['id']}/admin"
    assert "Open the admin page" in desk.client.get(said.removeprefix(desk.origin)).text
    assert server.cli("open", "--admin", check=False).returncode == 2


def test_admin_sync_by_the_command_line(server: Server, shop: dict[str, Any]) -> None:
    in_database(server, "User.objects.filter(username='operator').update(email='boss@example.org')")
    server.cli("settings", "blog", "admin_sync=true")
    assert server.show("blog")["admin_sync"] is True
    assert "admin_sync    on" in server.cli("settings", "blog").stdout
    rows = in_database(
        server, "print(list(MadeSuperuser.objects.exclude(made_at=None).values_list('email', flat=True)))"
    )
    assert "boss@example.org" in rows
    in_database(server, "User.objects.filter(username='operator').update(email='')")
    assert server.cli("settings", "blog", "admin_sync=maybe", check=False).returncode == 2


def test_losing_access_ends_the_session(server: Server, desk: Dashboard, shop: dict[str, Any]) -> None:
    _, value, _ = session_in(desk.enter("shop", desk.ticket(shop)))
    headers = {"authorization": value["token"]}
    with server.client("shop") as client:
        assert client.get("/api/settings", headers=headers).status_code == 200
        in_database(server, f"revoke_superusers('{shop['id']}', [OPERATOR], acting_user=None)")
        until(lambda: client.get("/api/settings", headers=headers).status_code in (401, 403), 20, "the session to end")


@pytest.mark.parametrize("version", ["0.22.27", NEWEST])
def test_a_restore_of_pocketbases_own_brings_nobody_back(server: Server, desk: Dashboard, version: str) -> None:
    name, notes = "own-" + version.replace(".", "-"), "/api/collections/notes/records"
    made = server.create(name, version)
    _, value, _ = session_in(desk.enter(name, desk.ticket(made)))
    with server.client(name) as client:
        owner = {"authorization": superuser_token(client, version)}
        lost = {"authorization": value["token"]}
        client.post("/api/collections", json=notes_collection(version), headers=owner)
        assert client.post("/api/backups", json={"name": "before.zip"}, headers=owner).status_code == 204
        in_database(server, f"revoke_superusers('{made['id']}', [OPERATOR], acting_user=None)")
        until(lambda: client.get("/api/settings", headers=lost).status_code in (401, 403), 20, "the session to end")
        assert client.post(notes, json={"text": "later"}).status_code == 200
        assert client.post("/api/backups/before.zip/restore", headers=owner).status_code == 204
        # PocketBase itself answers with errors while it replaces its files
        until(lambda: client.get(notes).json().get("totalItems") == 0, 20, "the restored data")
        until(
            lambda: client.get("/api/settings", headers=lost).status_code in (401, 403), 20, "the session to end again"
        )
        assert client.get("/api/settings", headers=owner).status_code == 200
    left = in_database(server, "print(MadeSuperuser.objects.filter(gone_at=None, revoked_at__isnull=False).count())")
    assert left.strip() == "0"


def in_database(server: Server, code: str) -> str:
    """What a colleague of ours in control would do."""
    program = "import django; django.setup()\nfrom pocketfleet.models import *\n"
    program += "from pocketfleet.actions.superusers import revoke_superusers\n"
    program += "OPERATOR = User.objects.get(username='operator').pk\n" + code
    environment = {**server.environment, "DJANGO_SETTINGS_MODULE": "pocketfleet.web.settings"}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.timeout(300)
def test_a_node_that_dies_on_the_way_leaves_no_half_superuser() -> None:
    """Killed again and again while people click: afterwards everybody gets in, with one superuser each."""
    with running(versions=(NEWEST, "0.22.27")) as server:
        desk = Dashboard(server)
        for version in (NEWEST, "0.22.27"):
            name = "i" + version.replace(".", "-")
            made = server.create(name, version)
            for pause in (0.0, 0.02, 0.07):
                ticket = desk.ticket(made)
                clicking = threading.Thread(target=lambda t=ticket, n=name: desk.enter(n, t))
                clicking.start()
                clicking.join(pause)
                node = server.pid("node")
                server.kill("node")
                server.revived("node", node)
                clicking.join(60)
                if pause == 0.02:
                    server.cli("sleep", name)
            answer = desk.enter(name, desk.ticket(made))
            assert answer.status_code == 200, answer.text
            token = session_in(answer)[1]["token"]
            with server.client(name) as client:
                path = "/api/admins" if version.startswith("0.22") else "/api/collections/_superusers/records"
                found = client.get(path, headers={"authorization": token}).json()["items"]
            assert len(found) == 2, found
            rows = in_database(
                server, f"print(MadeSuperuser.objects.filter(instance_id='{made['id']}', ours=True).count())"
            )
            assert rows.strip() == "1"
