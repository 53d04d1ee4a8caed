"""What passes through the edge, and what the edge makes of it on the way."""

from __future__ import annotations

import asyncio
import json
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from pocketfleet.domain.hostnames import RESERVED_NAMES
from tests.integration.routing.fleets import Fleet, eventually
from tests.integration.routing.upstreams import Upstream

KNOWN = [
    "shop.localhost",
    "SHOP.localhost",
    "shop.LocalHost:8080",
    "shop.localhost.",
    "shop.localhost.:80",
    "shop.localhost:",
]
UNKNOWN = [
    "",
    ".",
    "localhost.localhost",
    "nope.localhost",
    "shop",
    "shop.localhost.example.org",
    "xshop.localhost",
    ".shop.localhost",
    "a.shop.localhost",
    "shop.localhost..",
    "shop..localhost",
    "shop.localhost:80:80",
    "shop.localhost:x",
    "shop.localhost:999999",
    "shop.localhost/",
    "shop.localhost, localhost",
    "shop.localhost,x",
    "shop.localhost#x",
    "shop.localhost?x",
    "user@shop.localhost",
    "shop.localhost;x",
    "shop.localhost%00",
    "sh\tp.localhost",
    "shop localhost",
    "127.0.0.1",
    "[::1]",
    "[::1]:8080",
    "../hosts.map",
    "$(id).localhost",
    "show map; quit",
    "ＳＨＯＰ.localhost",
    "shöp.localhost",
    "x" * 5000 + ".localhost",
]


@pytest.mark.parametrize("host", KNOWN)
async def test_a_host_is_known_however_it_is_written(fleet: Fleet, host: str) -> None:
    await fleet.upstream("shop")
    assert _status(await fleet.raw(_get(host))) == 200


async def test_other_hosts_are_not_found_at_once_and_leave_no_trace(fleet: Fleet) -> None:
    await fleet.upstream("shop")
    start = time.monotonic()
    for host in UNKNOWN:
        answer = await fleet.raw(_get(host))
        assert _status(answer) in (400, 404), host
    for name in sorted(RESERVED_NAMES):
        assert _status(await fleet.raw(_get(f"{name}.localhost"))) == 404
    assert time.monotonic() - start < 10
    assert fleet.asked == []
    assert await fleet.counters.read() == {}


async def test_not_found_is_a_page_for_browsers_and_json_for_programs(fleet: Fleet) -> None:
    async with fleet.client("nope") as client:
        page = await client.get("/", headers={"Accept": "text/html,application/xhtml+xml;q=0.9"})
        answer = await client.get("/api/health")
    assert (page.status_code, page.headers["content-type"]) == (404, "text/html; charset=utf-8")
    assert "There is no instance at this address" in page.text
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")
    assert answer.json()["code"] == "instance_not_found"


SMUGGLED = [
    b"GET / HTTP/1.1\r\nHost: shop.localhost\r\nHost: other.localhost\r\n\r\n",
    b"GET http://other.localhost/ HTTP/1.1\r\nHost: shop.localhost\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: shop.localhost\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
    b"POST / HTTP/1.1\r\nHost: shop.localhost\r\nContent-Length: +5\r\n\r\nhello",
    b"GET / HTTP/1.1\r\nHost: shop.localhost\r\nX: a\x00b\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: shop.localhost\r\nX y: z\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost : shop.localhost\r\n\r\n",
    b"GET /\x00 HTTP/1.1\r\nHost: shop.localhost\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: shop.localhost\r\nX: " + b"x" * 20000 + b"\r\n\r\n",
    b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 200 + b"Host: shop.localhost\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 not http at all\r\n\r\n",
]


@pytest.mark.parametrize("request_text", SMUGGLED)
async def test_what_is_not_clean_http_never_reaches_a_tenant(fleet: Fleet, request_text: bytes) -> None:
    _, shop = await fleet.upstream("shop")
    _, other = await fleet.upstream("other")
    answer = await fleet.raw(request_text)
    assert _status(answer) in (400, 404, 431)
    assert shop.seen == other.seen == []


async def test_both_lengths_leave_one_request(fleet: Fleet) -> None:
    _, shop = await fleet.upstream("shop")
    await fleet.raw(
        b"POST / HTTP/1.1\r\nHost: shop.localhost\r\nContent-Length: 60\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: shop.localhost\r\n\r\n",
    )
    assert "GET /smuggled" not in shop.seen


CLAIMS = {
    "X-Forwarded-For": "6.6.6.6",
    "x-forwarded-proto": "https",
    "X-FORWARDED-HOST": "evil.example",
    "X-Forwarded-Port": "1",
    "X-Forwarded-Server": "x",
    "X-Forwarded-Prefix": "/x",
    "X_Forwarded_For": "6.6.6.6",
    "Forwarded": "for=6.6.6.6",
    "X-Real-IP": "6.6.6.6",
    "X-Client-IP": "6.6.6.6",
    "X-Cluster-Client-IP": "6.6.6.6",
    "True-Client-IP": "6.6.6.6",
    "CF-Connecting-IP": "6.6.6.6",
    "Fly-Client-IP": "6.6.6.6",
    "X-Original-URL": "/admin",
    "X-Rewrite-URL": "/admin",
}


@pytest.mark.parametrize("awake", [True, False])
async def test_what_a_client_claims_of_itself_is_replaced(fleet: Fleet, awake: bool) -> None:
    await fleet.upstream("shop", awake=awake)
    async with fleet.client("shop") as client:
        answer = await client.get("/", headers=CLAIMS | {"X-Custom": "kept", "X_Own": "kept"})
    got = _headers(answer.json())
    assert "6.6.6.6" not in json.dumps(got)
    port = str(fleet.config.port)
    assert got == got | {
        "x-forwarded-for": ["127.0.0.1"],
        "x-real-ip": ["127.0.0.1"],
        "x-forwarded-proto": ["http"],
        "x-forwarded-host": [f"shop.localhost:{port}"],
        "x-forwarded-port": [port],
        "host": [f"shop.localhost:{port}"],
        "x-custom": ["kept"],
        "x_own": ["kept"],
    }
    left = {name for name in got if name.replace("_", "-") in {claim.lower().replace("_", "-") for claim in CLAIMS}}
    assert left == {"x-forwarded-for", "x-real-ip", "x-forwarded-proto", "x-forwarded-host", "x-forwarded-port"}


async def test_one_connection_alternating_between_tenants_never_mixes_them(fleet: Fleet) -> None:
    names = ["one", "two", "three"]
    for name in names:
        await fleet.upstream(name)

    async def alternate(client_number: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", fleet.config.port)
        for turn in range(200):
            name = names[(turn * 7 + client_number) % 3]
            method = "GET" if turn % 2 else "POST"
            writer.write(f"{method} / HTTP/1.1\r\nHost: {name}.localhost\r\nContent-Length: 0\r\n\r\n".encode())
            assert (await _read_json(reader))["upstream"] == name
        writer.close()

    await asyncio.gather(*(alternate(number) for number in range(8)))


async def test_a_guest_that_ends_idle_connections_costs_no_request(fleet: Fleet) -> None:
    _instance, upstream = await fleet.upstream("hasty")
    upstream.hangs_up = True

    async def work() -> list[int]:
        async with fleet.client("hasty") as client:
            answers = [
                await client.request(("GET", "POST")[n % 2], "/", content=b"" if n % 2 == 0 else b"x")
                for n in range(100)
            ]
            return [answer.status_code for answer in answers]

    results = await asyncio.gather(*(work() for _ in range(8)))
    assert {status for result in results for status in result} == {200}
    assert upstream.seen.count("POST /") == 400


async def test_events_of_a_stream_come_at_once(fleet: Fleet) -> None:
    _, upstream = await fleet.upstream("live")
    delays = []
    async with fleet.client("live") as client, client.stream("GET", "/events") as stream:
        lines = (line async for line in stream.aiter_lines() if line)
        assert await anext(lines) == "data: hello"
        for number in range(20):
            start = time.monotonic()
            await upstream.say(str(number))
            assert await anext(lines) == f"data: {number}"
            delays.append(time.monotonic() - start)
    # HAProxy's delay would hit each of them, a busy machine's some: the quickest says whether there is one
    assert min(delays) < 0.03


async def test_an_upgraded_connection_goes_both_ways(fleet: Fleet) -> None:
    await fleet.upstream("socket")
    reader, writer = await asyncio.open_connection("127.0.0.1", fleet.config.port)
    writer.write(
        b"GET / HTTP/1.1\r\nHost: socket.localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    assert b" 101 " in await reader.readuntil(b"\r\n\r\n")
    for number in range(50):
        writer.write(b"%d" % number * 100)
        assert await reader.readexactly(len(b"%d" % number) * 100) == b"%d" % number * 100
    writer.close()


async def test_an_upgrade_to_something_else_is_no_tunnel(fleet: Fleet) -> None:
    await fleet.upstream("shop")
    text = (
        b"GET / HTTP/1.1\r\nHost: shop.localhost\r\nConnection: Upgrade, HTTP2-Settings\r\n"
        b"Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n"
    )
    reader, writer = await asyncio.open_connection("127.0.0.1", fleet.config.port)
    writer.write(text)
    assert "upgrade" not in _headers(await _read_json(reader))
    writer.close()


async def test_a_slow_client_is_served(fleet: Fleet) -> None:
    _, _upstream = await fleet.upstream("slow")
    reader, writer = await asyncio.open_connection("127.0.0.1", fleet.config.port)
    for piece in (
        b"POST / HT",
        b"TP/1.1\r\nHost: slow.loc",
        b"alhost\r\nContent-Length: 6\r\n\r\n",
        b"ab",
        b"cd",
        b"ef",
    ):
        writer.write(piece)
        await asyncio.sleep(0.1)
    assert (await _read_json(reader))["size"] == 6
    writer.close()


async def test_the_base_domain_waits_for_control(fleet: Fleet) -> None:
    control = Upstream("control", "", 0)
    async with fleet.client() as client:
        request = asyncio.create_task(
            client.post("/api/v1/x", content=b"abc", headers={"X_Forwarded_For": "6", "A_B": "7"})
        )
        await asyncio.sleep(0.5)
        server = await asyncio.start_unix_server(control._serve, fleet.config.control_socket)
        answer = (await request).json()
        assert (answer["upstream"], answer["size"]) == ("control", 3)
        assert not any("_" in name for name in _headers(answer))
        assert (await client.get("/")).json()["path"] == "/"
    server.close()
    assert fleet.asked == []
    assert await fleet.counters.read() == {}


async def test_open_requests_are_counted_while_they_last(fleet: Fleet) -> None:
    instance, _upstream = await fleet.upstream("live")
    async with fleet.client("live") as client:
        await client.get("/")
        quiet = (await fleet.counters.read())[instance]
        async with client.stream("GET", "/events") as stream:
            # kept: an iterator that nobody holds is closed, and its connection with it
            lines = stream.aiter_lines()
            await anext(lines)
            open_now = (await fleet.counters.read())[instance]
        await client.post("/")
    after = await eventually(lambda: _none_open(fleet, instance))
    assert (quiet.connections, open_now.connections) == (0, 1)
    assert (open_now.requests, after.requests) == (quiet.requests + 1, quiet.requests + 2)


async def test_bytes_and_errors_are_counted_and_when_the_last_request_came(fleet: Fleet) -> None:
    instance, upstream = await fleet.upstream("shop")
    began = datetime.now(UTC)
    async with fleet.client("shop") as client:
        await client.post("/", content=b"x" * 100_000)
        upstream.status = "404 Not Found"
        await client.get("/")
        upstream.status = "500 Internal Server Error"
        await client.get("/")
    await eventually(lambda: _none_open(fleet, instance))
    sample = fleet.counters.take_samples()[instance]
    assert (sample.counts.requests, sample.counts.client_errors, sample.counts.server_errors) == (3, 1, 1)
    assert 100_000 < sample.counts.bytes_in < 102_000
    assert 300 < sample.counts.bytes_out < 5000
    second = timedelta(seconds=1)
    assert began - second <= sample.last_request_at <= datetime.now(UTC) + second


async def test_event_streams_are_counted_apart(fleet: Fleet) -> None:
    instance, _upstream = await fleet.upstream("live")
    asks = {"accept": "text/event-stream"}
    async with fleet.client("live") as client:
        async with client.stream("GET", "/events", headers=asks) as stream:
            # kept: an iterator that nobody holds is closed, and its connection with it
            lines = stream.aiter_lines()
            await anext(lines)
            async with client.stream("GET", "/events") as other:
                other_lines = other.aiter_lines()
                await anext(other_lines)
                open_now = (await fleet.counters.read())[instance]
        after = await eventually(lambda: _none_open(fleet, instance))
    assert (open_now.connections, open_now.streams) == (2, 1)
    assert after.streams == 0


async def test_a_subscription_to_records_is_a_stream_whatever_its_client_says(fleet: Fleet) -> None:
    instance, _upstream = await fleet.upstream("live")
    async with fleet.client("live") as client:
        async with client.stream("GET", "/api/realtime") as stream:
            lines = stream.aiter_lines()
            await anext(lines)
            open_now = (await fleet.counters.read())[instance]
        await eventually(lambda: _none_open(fleet, instance))
    assert (open_now.connections, open_now.streams) == (1, 1)


async def _none_open(fleet: Fleet, instance: str) -> Any:
    traffic = (await fleet.counters.read())[instance]
    return traffic if traffic.connections == 0 else None


def _get(host: str) -> bytes:
    return b"GET / HTTP/1.1\r\nHost: " + host.encode() + b"\r\nConnection: close\r\n\r\n"


def _status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


def _headers(said: dict[str, Any]) -> dict[str, list[str]]:
    result: dict[str, list[str]] = {}
    for name, value in said["headers"]:
        result.setdefault(name.lower(), []).append(value)
    return result


async def _read_json(reader: asyncio.StreamReader) -> dict[str, Any]:
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = int(head.partition(b"content-length: ")[2].split(b"\r\n")[0])
    said: dict[str, Any] = json.loads(await reader.readexactly(length))
    return said
