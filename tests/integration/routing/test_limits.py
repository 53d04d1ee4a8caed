"""Limits at the edge: what is counted and refused, who sets them while HAProxy runs, and what clients are told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from pocketfleet.domain import traffic
from pocketfleet.domain.traffic import TrafficLimits, as_word
from pocketfleet.routing import protocol
from tests.integration.routing.fleets import Fleet, eventually
from tests.integration.routing.upstreams import Upstream

HEADERS = ("x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset", "x-ratelimit-scope")


def word(team: str = "", **numbers: int) -> str:
    """As the map holds them."""
    return as_word(TrafficLimits(**numbers).for_trusted(), team)


def told(answer: httpx.Response) -> dict[str, str]:
    """What an answer says of limits, without the seconds until they end."""
    names = [name.removeprefix("x-ratelimit-") for name in HEADERS if name in answer.headers]
    assert "reset" not in names or 1 <= int(answer.headers["x-ratelimit-reset"]) <= traffic.WINDOW
    return {name: answer.headers[f"x-ratelimit-{name}"] for name in names if name != "reset"}


def client_at(fleet: Fleet, address: str, name: str = "shop") -> httpx.AsyncClient:
    """A client with this address of its own."""
    return fleet.client(name, transport=httpx.AsyncHTTPTransport(local_address=address))


async def statuses(client: httpx.AsyncClient, count: int, path: str = "/", **options: Any) -> list[int]:
    """Of so many requests, one after the other."""
    return [(await client.get(path, **options)).status_code for _ in range(count)]


@pytest.fixture(autouse=True)
def no_end_of_an_hour(monkeypatch: pytest.MonkeyPatch) -> None:
    """A window that hardly ever ends in the middle of a test; and refusals that are said soon."""
    monkeypatch.setattr(traffic, "WINDOW", 20 * 86400)
    monkeypatch.setattr(protocol, "REFUSAL_DELAY", 0.01)


async def test_without_limits_nothing_is_counted_or_told(fleet: Fleet) -> None:
    await fleet.upstream("shop")
    async with fleet.client("shop") as client:
        answer = await client.get("/")
    assert (answer.status_code, told(answer)) == (200, {})
    assert "key=" not in await fleet.master.ask("@1 show table limits")


async def test_an_address_has_so_many_requests_of_each_instance(fleet: Fleet) -> None:
    shop, upstream = await fleet.upstream("shop")
    other, _ = await fleet.upstream("other")
    await fleet.routes.change_limits(dict.fromkeys((shop, other), word(address_hourly=3)), ())
    async with client_at(fleet, "127.0.0.1") as client, client_at(fleet, "127.0.0.2") as second:
        left = [told(await client.get("/"))["remaining"] for _ in range(3)]
        refused = await client.get("/")
        assert left == ["2", "1", "0"]
        assert told(refused) == {"limit": "3", "remaining": "0", "scope": "address-hour"}
        assert await statuses(second, 4) == [200, 200, 200, 429]
    async with client_at(fleet, "127.0.0.1", "other") as client:
        assert await statuses(client, 4) == [200, 200, 200, 429]
    assert upstream.seen.count("GET /") == 6


async def test_what_is_refused_says_why_and_until_when(fleet: Fleet) -> None:
    shop, _ = await fleet.upstream("shop")
    await fleet.routes.change_limits({shop: word(instance_hourly=1)}, ())
    async with fleet.client("shop") as client:
        await client.get("/")
        answer, page = await client.get("/"), await client.get("/", headers={"Accept": "text/html"})
        head = await client.head("/")
    problem = answer.json()
    assert (answer.status_code, answer.headers["content-type"]) == (429, "application/problem+json")
    assert (problem["code"], problem["status"], problem["limit"], problem["scope"]) == (
        "too_many_requests",
        429,
        1,
        "instance-hour",
    )
    assert answer.headers["retry-after"] == answer.headers["x-ratelimit-reset"] == str(problem["retry_after"])
    assert answer.headers["access-control-allow-origin"] == "*"
    assert "X-RateLimit-Remaining" in answer.headers["access-control-expose-headers"]
    assert (page.status_code, page.headers["content-type"]) == (429, "text/html; charset=utf-8")
    assert "Too many requests" in page.text
    assert (head.status_code, head.text) == (429, "")


async def test_a_file_costs_a_tenth_however_its_path_is_written(fleet: Fleet) -> None:
    shop, _ = await fleet.upstream("shop")
    await fleet.routes.change_limits({shop: word(address_hourly=2)}, ())
    async with fleet.client("shop") as client:
        assert await statuses(client, 5, "/api/files/a/b/c.png") == [200] * 5
        assert await statuses(client, 5, "/api/%66iles/a/b/c.png") == [200] * 5
        # what only looks like a file, or is none that is fetched, costs as much as any other
        climbing = await fleet.raw(
            b"GET /api/files/../health HTTP/1.1\r\nHost: shop.localhost\r\nConnection: close\r\n\r\n"
        )
        assert b"x-ratelimit-remaining: 0" in climbing.lower()
        assert await statuses(client, 1, "/api/files/a/b/c.png") == [429]


async def test_of_two_limits_the_nearer_is_told(fleet: Fleet) -> None:
    shop, _ = await fleet.upstream("shop")
    await fleet.routes.change_limits({shop: word(address_hourly=3, instance_hourly=4)}, ())
    async with client_at(fleet, "127.0.0.1") as client, client_at(fleet, "127.0.0.2") as second:
        assert told(await client.get("/")) == {"limit": "3", "remaining": "2", "scope": "address-hour"}
        assert await statuses(client, 3) == [200, 200, 429]
        # what one address was refused, nobody else has to do without
        assert told(await second.get("/")) == {"limit": "4", "remaining": "0", "scope": "instance-hour"}
        assert told(await second.get("/")) == {"limit": "4", "remaining": "0", "scope": "instance-hour"}


@pytest.mark.parametrize(
    ("scope", "limit"), [("address-at-once", "address_at_once"), ("instance-at-once", "instance_at_once")]
)
async def test_so_many_may_be_open_at_once(fleet: Fleet, scope: str, limit: str) -> None:
    shop, _ = await fleet.upstream("shop")
    await fleet.routes.change_limits({shop: word("", **{limit: 2})}, ())
    async with (
        client_at(fleet, "127.0.0.1") as client,
        client_at(fleet, "127.0.0.2") as second,
        AsyncExitStack() as open_,
    ):
        for _ in range(2):
            await open_.enter_async_context(client.stream("GET", "/events"))
        refused = await client.get("/")
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
        assert told(refused) == {"limit": "2", "remaining": "0", "scope": scope}
        assert await statuses(second, 1) == [200 if scope.startswith("address") else 429]
    async with client_at(fleet, "127.0.0.1") as client:
        await eventually(lambda: _is_answered(client))


async def test_a_refused_request_wakes_nothing_and_keeps_nothing_awake(fleet: Fleet) -> None:
    shop, upstream = await fleet.upstream("shop", awake=False)
    await fleet.routes.change_limits({shop: word(instance_hourly=1)}, ())
    async with fleet.client("shop") as client:
        assert await statuses(client, 3) == [200, 429, 429]
    assert len(fleet.asked) == len(upstream.seen) == 1
    assert (await fleet.counters.read())[shop].requests == 1


async def test_a_flood_that_is_refused_leaves_others_their_share(fleet: Fleet) -> None:
    """What waits to be told that it is too much is not among what is open."""
    shop, _ = await fleet.upstream("shop")
    await fleet.routes.change_limits({shop: word(address_hourly=1, instance_at_once=3, instance_hourly=50)}, ())
    done = asyncio.Event()

    async def flood() -> list[int]:
        found = []
        async with client_at(fleet, "127.0.0.2") as client:
            while not done.is_set():
                found += await statuses(client, 1)
        return found

    floods = [asyncio.create_task(flood()) for _ in range(10)]
    for number in range(20):
        async with client_at(fleet, f"127.0.1.{number + 1}") as client:
            assert await statuses(client, 1) == [200]
    done.set()
    assert sum((await asyncio.gather(*floods))[0]) > 0
    assert sum(status == 200 for each in floods for status in each.result()) <= 2


async def test_limits_change_while_haproxy_runs_and_outlive_it(fleet: Fleet) -> None:
    shop, _ = await fleet.upstream("shop")
    async with fleet.client("shop") as client:
        await fleet.routes.change_limits({shop: word(instance_hourly=1)}, ())
        assert await statuses(client, 2) == [200, 429]
        await fleet.routes.change_limits({shop: word(instance_hourly=3)}, ())
        assert await statuses(client, 3) == [200, 200, 429]
        await fleet.routes.change_limits({}, [shop])
        assert await statuses(client, 2) == [200, 200]
    await fleet.routes.change_limits({shop: word(instance_hourly=1)}, ())
    assert await fleet.routes.check() == 0
    await fleet.kill_haproxy()
    await fleet.start_haproxy()
    async with fleet.client("shop") as client:
        assert await statuses(client, 2) == [200, 429]


@pytest.fixture
async def strict(home: Path) -> AsyncIterator[Fleet]:
    """A fleet whose server has limits."""
    running = Fleet(home, address_hourly=2, body_bytes=1000, bind=("*",), address_connections=8)
    await running.start()
    yield running
    await running.stop()


async def test_the_next_window_begins_anew(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traffic, "WINDOW", 1)
    quick = Fleet(home, address_hourly=1)
    await quick.start()
    try:
        await quick.upstream("shop")
        async with quick.client("shop") as client:
            for _ in range(2):
                await eventually(lambda: _is_refused(client))
                await eventually(lambda: _is_answered(client))
    finally:
        await quick.stop()


async def test_the_servers_limits_count_where_an_instance_has_none(strict: Fleet) -> None:
    await strict.upstream("shop")
    free, _ = await strict.upstream("free")
    await strict.routes.change_limits({free: word(address_at_once=1000)}, ())
    async with strict.client("shop") as client, strict.client("free") as other:
        assert await statuses(client, 3) == [200, 200, 429]
        assert await statuses(other, 5) == [200] * 5


async def test_addresses_of_ipv4_are_told_apart_where_they_come_in_ipv6s_clothes(strict: Fleet) -> None:
    await strict.upstream("shop")
    async with client_at(strict, "127.0.0.1") as client, client_at(strict, "127.0.0.2") as second:
        assert await statuses(client, 3) == [200, 200, 429]
        assert await statuses(second, 1) == [200]
    table = await strict.master.ask("@1 show table limits")
    assert "@127.0.0.1 " in table
    assert "@127.0.0.2 " in table


async def test_a_body_has_a_limit_and_must_say_its_length(strict: Fleet) -> None:
    _, upstream = await strict.upstream("shop")
    async with client_at(strict, "127.0.0.3") as client:
        large = await client.post("/", content=b"x" * 1001)
    async with client_at(strict, "127.0.0.4") as client:
        fits = await client.post("/", content=b"x" * 1000)
    async with client_at(strict, "127.0.0.5") as client:
        chunks = await client.post("/", content=_chunks())
    assert (large.status_code, large.json()["code"]) == (413, "too_large")
    assert (fits.status_code, fits.json()["size"]) == (200, 1000)
    assert (chunks.status_code, chunks.json()["code"]) == (411, "length_required")
    assert upstream.seen == ["POST /"]


async def test_the_dashboard_takes_bodies_of_any_length(strict: Fleet) -> None:
    control = Upstream("control", "", 0)
    server = await asyncio.start_unix_server(control._serve, strict.config.control_socket)
    async with strict.client() as client:
        answer = await client.put("/uploads/1", content=b"x" * 3_000_000)
    server.close()
    assert (answer.status_code, answer.json()["size"]) == (200, 3_000_000)


async def test_one_address_cannot_take_all_connections(strict: Fleet) -> None:
    await strict.upstream("shop")
    kept = [connection for _ in range(12) if (connection := await _connected(strict, "127.0.0.1"))]
    assert len(kept) == 8
    async with client_at(strict, "127.0.0.2") as client:
        assert await statuses(client, 1) == [200]
    kept.pop().close()
    assert await eventually(lambda: _connected(strict, "127.0.0.1"))
    for writer in kept:
        writer.close()


async def test_whom_the_operator_denied_gets_nothing_and_whom_they_allowed_has_no_limits(fleet: Fleet) -> None:
    shop, upstream = await fleet.upstream("shop")
    await fleet.routes.change_limits({shop: word(address_hourly=1)}, ())
    await fleet.routes.replace_addresses({"127.0.4.0/24": "deny", "127.0.4.7/32": "allow", "2001:db8::/32": "deny"})
    async with client_at(fleet, "127.0.4.6") as client:
        answer, page = await client.get("/"), await client.get("/", headers={"Accept": "text/html"})
    async with client_at(fleet, "127.0.4.6", "") as client:
        assert (await client.get("/")).status_code == 403
    async with client_at(fleet, "127.0.4.7") as client:
        assert await statuses(client, 5) == [200] * 5
    async with client_at(fleet, "127.0.5.1") as client:
        assert await statuses(client, 2) == [200, 429]
    assert (answer.status_code, answer.json()["code"]) == (403, "address_denied")
    assert (page.status_code, "does not let this address in" in page.text) == (403, True)
    assert len(upstream.seen) == 6
    await fleet.routes.replace_addresses({})
    async with client_at(fleet, "127.0.4.6") as client:
        assert await statuses(client, 1) == [200]


TRUSTING = {"address_hourly": 1, "trusted_address_hourly": 3, "instance_hourly": 4, "trusted_instance_hourly": 100}


async def test_whom_a_team_trusts_has_higher_limits_there_and_nowhere_else(fleet: Fleet) -> None:
    shop, _ = await fleet.upstream("shop")
    other, _ = await fleet.upstream("other")
    words = {shop: word("team-of-shop", **TRUSTING), other: word("other-team", **TRUSTING)}
    await fleet.routes.change_limits(words, ())
    await fleet.routes.replace_trusted({"team-of-shop": "127.0.6.0/24,2001:db8::/48", "other-team": "127.0.7.7"})
    async with client_at(fleet, "127.0.6.9") as client:
        assert await statuses(client, 4) == [200, 200, 200, 429]
    async with client_at(fleet, "127.0.6.9", "other") as client:
        assert await statuses(client, 2) == [200, 429]
    async with client_at(fleet, "127.0.7.7", "other") as client:
        assert await statuses(client, 4) == [200, 200, 200, 429]


async def test_only_whom_a_team_trusts_may_say_for_whom_they_ask(fleet: Fleet) -> None:
    shop, _ = await fleet.upstream("shop")
    await fleet.routes.change_limits({shop: word("team", address_hourly=1, trusted_address_hourly=3)}, ())
    await fleet.routes.replace_trusted({"team": "127.0.6.1"})
    named = {"X-Pocketfleet-Client-IP": "203.0.113.7"}
    async with client_at(fleet, "127.0.6.1") as client:
        got = _heard(await client.get("/", headers=named))
        assert (got["x-forwarded-for"], got["x-real-ip"]) == ("203.0.113.7", "203.0.113.7")
        assert "x-pocketfleet-client-ip" not in got
        # each of its clients is counted by itself, under the limits of the trusted
        assert await statuses(client, 3, headers=named) == [200, 200, 429]
        assert (
            _heard(await client.get("/", headers={"X-Pocketfleet-Client-IP": "2001:DB8::7"}))["x-real-ip"]
            == "2001:db8::7"
        )
        for wrong in ("010.1.2.3", "203.0.113.7, 6.6.6.6", "localhost", "", "203.0.113.0/24"):
            assert _is_from((await client.get("/", headers={"X-Pocketfleet-Client-IP": wrong})), "127.0.6.1"), wrong
    async with client_at(fleet, "127.0.6.2") as client:
        got = _heard(await client.get("/", headers=named))
        assert (got["x-real-ip"], "x-pocketfleet-client-ip" in got) == ("127.0.6.2", False)


async def test_the_header_is_thrown_away_where_nobody_is_trusted(fleet: Fleet) -> None:
    await fleet.upstream("shop")
    async with fleet.client("shop") as client:
        got = _heard(await client.get("/", headers={"X-Pocketfleet-Client-IP": "203.0.113.7"}))
    assert (got["x-real-ip"], "x-pocketfleet-client-ip" in got) == ("127.0.0.1", False)


def _heard(answer: httpx.Response) -> Mapping[str, str]:
    assert answer.status_code == 200, answer.text
    return {name.lower(): value for name, value in answer.json()["headers"]}


def _is_from(answer: httpx.Response, address: str) -> bool:
    return answer.status_code == 429 or _heard(answer)["x-real-ip"] == address


async def _is_answered(client: httpx.AsyncClient) -> bool:
    return (await client.get("/")).status_code == 200


async def _is_refused(client: httpx.AsyncClient) -> bool:
    return (await client.get("/")).status_code == 429


async def _connected(fleet: Fleet, whence: str) -> asyncio.StreamWriter | None:
    """A connection on which the edge answers; None where it hangs up instead."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", fleet.config.port, local_addr=(whence, 0))
        writer.write(b"GET / HTTP/1.1\r\nHost: nope.localhost\r\n\r\n")
        return writer if await reader.read(100) else None
    except ConnectionError:
        return None


async def _chunks() -> AsyncIterator[bytes]:
    yield b"some"
