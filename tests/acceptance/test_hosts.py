"""Hosts and headers as hostile clients send them: nobody reaches another's instance, nothing wakes by junk."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import httpx
import pytest

from tests import hooks
from tests.pocketbases import NEWEST
from tests.server import Server

SETTINGS = {"versions": ("0.22.27", NEWEST)}


@pytest.fixture(scope="module")
def victim(server: Server) -> str:
    """Id of an asleep instance named `victim` that no hostile request may wake."""
    return str(server.create("victim")["id"])


@pytest.fixture(scope="module")
def echo(server: Server) -> Iterator[httpx.Client]:
    """A client of an instance that answers GET /headers with what reached it."""
    made = server.create("echo")
    server.put(made["id"], "pb_hooks/main.pb.js", hooks.HEADERS)
    with server.client("echo") as client:
        yield client


@pytest.mark.parametrize("accept", ["application/json", "text/html", "*/*", ""])
def test_an_unknown_host_is_404_at_once(server: Server, accept: str) -> None:
    with server.client("nobody") as client:
        times = []
        for _ in range(4):
            began = time.monotonic()
            answer = client.get("/api/health", headers={"accept": accept})
            times.append(time.monotonic() - began)
            assert answer.status_code == 404
    # one that waits for something waits each time; a busy machine is slow now and then
    assert min(times) < 1, "it waited for something"
    assert ("html" if accept == "text/html" else "json") in answer.headers["content-type"]


def heads(port: int) -> dict[str, bytes]:
    """Requests that must not be answered by the victim, by what is hostile about them."""
    good = f"victim.localhost:{port}"
    hosts = {
        "none": None,
        "empty": "",
        "blank": " ",
        "userinfo": f"someone@{good}",
        "userinfo the other way": f"{good}@evil.example",
        "below": f"a.{good}",
        "suffix": f"victim.localhost.evil.example:{port}",
        "prefix": f"evilvictim.localhost:{port}",
        "encoded": f"%76ictim.localhost:{port}",
        "two in one": f"victim.localhost, echo.localhost:{port}",
        "slash": f"victim.localhost/:{port}",
        "backslash": f"victim\\.localhost:{port}",
        "nul": f"victim\0.localhost:{port}",
        "tab": f"victim\t.localhost:{port}",
        "unicode": f"víctim.localhost:{port}",
        "fullwidth": f"ｖictim.localhost:{port}",
        "two dots": f"victim..localhost:{port}",
        "dot first": f".victim.localhost:{port}",
        "overlong label": f"{'a' * 300}.localhost:{port}",
        "overlong": f"{'a.' * 4000}localhost:{port}",
        "port is no number": "victim.localhost:80a",
        "ipv6": "[::1]",
        "ipv4": "127.0.0.1",
        "quote": f"victim'.localhost:{port}",
        "semicolon": f"victim;.localhost:{port}",
    }
    requests = {}
    for what, host in hosts.items():
        line = b"" if host is None else b"Host: " + host.encode() + b"\r\n"
        requests[what] = b"GET /api/health HTTP/1.1\r\n" + line + b"Connection: close\r\n\r\n"
    echo = f"echo.localhost:{port}"
    rest = b"Connection: close\r\n\r\n"
    requests |= {
        "duplicated": f"GET / HTTP/1.1\r\nHost: {echo}\r\nHost: {good}\r\n".encode() + rest,
        "folded": f"GET / HTTP/1.1\r\nHost: {echo}\r\n {good}\r\n".encode() + rest,
        "blank before the colon": f"GET / HTTP/1.1\r\nHost : {good}\r\n".encode() + rest,
        "absolute against Host": f"GET http://{good}/ HTTP/1.1\r\nHost: {echo}\r\n".encode() + rest,
        "Host against absolute": f"GET http://{echo}/ HTTP/1.1\r\nHost: {good}\r\n".encode() + rest,
        "absolute with userinfo": f"GET http://a@{good}/ HTTP/1.1\r\nHost: a@{good}\r\n".encode() + rest,
        "connect": f"CONNECT {good} HTTP/1.1\r\nHost: {good}\r\n".encode() + rest,
        "no HTTP at all": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(100),
        "two lengths": f"POST / HTTP/1.1\r\nHost: {good}\r\nContent-Length: 1\r\nContent-Length: 2\r\n".encode()
        + rest
        + b"xx",
        "two codings": f"POST / HTTP/1.1\r\nHost: {good}\r\nTransfer-Encoding: xchunked\r\n".encode() + rest,
        "header without end": f"GET / HTTP/1.1\r\nHost: {good}\r\nX: {'x' * 100_000}\r\n".encode() + rest,
        "control character": f"GET / HTTP/1.1\r\nHost: {good}\r\nX: a\x01b\0c\r\n".encode() + rest,
        "uri with a NUL": f"GET /\0 HTTP/1.1\r\nHost: {good}\r\n".encode() + rest,
    }
    return requests


def test_a_hostile_host_wakes_nobody(server: Server, victim: str, echo: httpx.Client) -> None:
    assert echo.get("/api/health").status_code == 200
    before = server.starts(victim)
    for what, request in heads(server.port).items():
        answer = server.raw(request, timeout=5)
        status = answer.split(b" ", 2)[1:2]
        refused = not answer or status[0][:1] == b"4" or status[0] == b"505"
        assert refused, f"{what}: {answer[:200]!r}"
        assert server.starts(victim) == before, f"{what} woke it"
    assert server.show("victim")["state"] == "asleep"


@pytest.mark.parametrize(
    "host", ["victim.localhost:{port}", "VICTIM.LocalHost:{port}", "victim.localhost", "{id}.localhost"]
)
def test_the_true_host_is_found_however_it_is_written(server: Server, victim: str, host: str) -> None:
    with httpx.Client(base_url=f"http://127.0.0.1:{server.port}", trust_env=False, timeout=30) as client:
        answer = client.get("/api/health", headers={"host": host.format(port=server.port, id=victim)})
    assert answer.status_code == 200, answer.text


def test_an_absolute_uri_that_agrees_with_its_host_is_served(server: Server, victim: str) -> None:
    host = f"victim.localhost:{server.port}".encode()
    answer = server.raw(
        b"GET http://" + host + b"/api/health HTTP/1.1\r\nHost: " + host + b"\r\nConnection: close\r\n\r\n"
    )
    assert answer.split(b" ", 2)[1] == b"200", answer


FORGED = {
    "x-forwarded-for": "6.6.6.6",
    "x-forwarded-proto": "https",
    "x-forwarded-host": "evil.example",
    "x-forwarded-port": "443",
    "x-forwarded-server": "evil.example",
    "x-forwarded-prefix": "/evil",
    "x-real-ip": "6.6.6.6",
    "forwarded": "for=6.6.6.6;host=evil.example;proto=https",
    "true-client-ip": "6.6.6.6",
    "cf-connecting-ip": "6.6.6.6",
    "fly-client-ip": "6.6.6.6",
    "x-client-ip": "6.6.6.6",
}


def test_forwarded_headers_are_stripped_and_set_by_the_edge(server: Server, echo: httpx.Client) -> None:
    seen = echo.get("/headers", headers=FORGED).json()
    headers = {name.lower(): values for name, values in seen["headers"].items()}
    assert "6.6.6.6" not in json.dumps(headers), headers
    assert "evil" not in json.dumps(headers), headers
    assert headers["x-forwarded-for"] == ["127.0.0.1"]
    assert headers["x-forwarded-proto"] == ["http"]
    assert seen["host"] == f"echo.localhost:{server.port}"


def test_a_forged_header_sent_twice_is_stripped_twice(server: Server, echo: httpx.Client) -> None:
    host = f"echo.localhost:{server.port}"
    forged = "X-Forwarded-For: 6.6.6.6\r\nx-forwarded-FOR: 7.7.7.7\r\nX-Real-IP: 6.6.6.6\r\nX-Real-Ip: 7.7.7.7\r\n"
    answer = server.raw(f"GET /headers HTTP/1.1\r\nHost: {host}\r\n{forged}Connection: close\r\n\r\n".encode())
    assert b" 200 " in answer.splitlines()[0], answer
    assert b"6.6.6.6" not in answer
    assert b"7.7.7.7" not in answer


def test_an_old_pocketbase_is_not_lied_to_about_who_asks(server: Server) -> None:
    made = server.create("old", "0.22.27")
    hook = 'routerAdd("GET", "/who", (c) => c.json(200, {ip: c.realIP()}))'
    server.put(made["id"], "pb_hooks/main.pb.js", hook)
    with server.client("old") as client:
        assert client.get("/who", headers=FORGED).json() == {"ip": "127.0.0.1"}


def test_path_query_and_body_pass_untouched(echo: httpx.Client) -> None:
    raw = "/headers?a=%2F..%2F&b=%00&c=1+2&&=&d=%F0%9F%90%98#"
    assert echo.get(raw).json()["path"] == raw.rstrip("#")


def test_one_connection_carries_requests_for_several_hosts(server: Server, victim: str, echo: httpx.Client) -> None:
    assert victim
    port = server.port
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=30) as client:
        for _ in range(20):
            answer = client.get("/headers", headers={"host": f"echo.localhost:{port}"})
            assert answer.json()["host"] == f"echo.localhost:{port}"
            assert client.get("/headers", headers={"host": f"victim.localhost:{port}"}).status_code == 404
            dashboard = client.get("/api/v1/me", headers={"host": f"localhost:{port}"})
            assert dashboard.status_code == 401


def test_the_dashboard_is_not_reached_through_an_instances_host(server: Server, echo: httpx.Client) -> None:
    answer = echo.get("/api/v1/instances", headers={"authorization": f"Bearer {server.token}"})
    assert answer.status_code == 404
    assert "items" not in answer.text


def test_junk_leaves_the_edge_and_its_counters_alone(server: Server, victim: str) -> None:
    assert victim
    for number in range(300):
        with server.client(f"junk-{number}") as client:
            assert client.get("/").status_code == 404
    assert server.api.get("/server").status_code == 200
    tables = server.edge_says("show table")
    assert tables
    assert "junk-" not in "".join(server.edge_says(f"show table {name}") for name in _table_names(tables))


def _table_names(listing: str) -> list[str]:
    return [line.split("table:")[1].split(",")[0].strip() for line in listing.splitlines() if "table:" in line]
