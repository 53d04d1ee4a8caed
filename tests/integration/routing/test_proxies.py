"""A proxy in front of the edge: it is believed where an operator said so, and nobody else is."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.integration.routing.fleets import Fleet
from tests.integration.routing.upstreams import Upstream

#: the proxy itself; a second one before it; a whole network of them
TRUSTED = ("127.0.0.1", "10.1.0.0/16", "2001:db8:1::/48")
#: what the proxy's X-Forwarded-For lines say, and who the client is then
CHAINS = {
    "one client": (["203.0.113.7"], "203.0.113.7"),
    "what the client wrote stands left": (["6.6.6.6, 203.0.113.7"], "203.0.113.7"),
    "the client claims to be a proxy's client": (["6.6.6.6, 10.1.2.3, 203.0.113.7"], "203.0.113.7"),
    "through two proxies": (["203.0.113.7, 10.1.2.3"], "203.0.113.7"),
    "through many": (["6.6.6.6, 203.0.113.7" + ", 10.1.255.255" * 300], "203.0.113.7"),
    "on lines of their own": (["6.6.6.6", "203.0.113.7", "10.1.2.3,10.1.2.4"], "203.0.113.7"),
    "a proxy's neighbour is none": (["6.6.6.6, 10.2.0.1"], "10.2.0.1"),
    "proxies only": (["10.1.2.3, 10.1.2.4"], "10.1.2.3"),
    "IPv6": (["6.6.6.6, 2001:db8:2::7, 2001:db8:1::1"], "2001:db8:2::7"),
    "IPv6 with a port": (["6.6.6.6, [2001:db8:2::7]:4711"], "2001:db8:2::7"),
    "IPv4 with a port": (["6.6.6.6, 203.0.113.7:4711, 10.1.2.3:1"], "203.0.113.7"),
    "spaces": (["6.6.6.6 ,\t203.0.113.7 \t, 10.1.2.3"], "203.0.113.7"),
    "IPv4 in IPv6's clothes": (["6.6.6.6, 203.0.113.7, ::ffff:10.1.2.3"], "203.0.113.7"),
    "a word hides what stands left of it": (["6.6.6.6, unknown, 10.1.2.3"], "10.1.2.3"),
    "a word alone": (["6.6.6.6, unknown"], "127.0.0.1"),
    "nothing": ([], "127.0.0.1"),
    "an empty entry": (["6.6.6.6,"], "127.0.0.1"),
    "commas": ([",,,"], "127.0.0.1"),
    "a network": (["6.6.6.6, 10.1.0.0/16"], "127.0.0.1"),
    "octal": (["6.6.6.6, 012.1.2.3"], "127.0.0.1"),
    "half an address": (["6.6.6.6, 10.1"], "127.0.0.1"),
    "a host's name": (["6.6.6.6, localhost"], "127.0.0.1"),
    "a number": (["6.6.6.6, 2130706433"], "127.0.0.1"),
    "an unclosed bracket": (["6.6.6.6, [2001:db8:2::7"], "127.0.0.1"),
    "code": (['6.6.6.6, "); os.exit(1) --'], "127.0.0.1"),
    "out of range": (["6.6.6.6, 203.0.113.999"], "127.0.0.1"),
}


@pytest.fixture
async def fleet(home: Path) -> AsyncIterator[Fleet]:
    """HAProxy and the gate, behind a proxy."""
    running = Fleet(home, trusted_proxies=TRUSTED, url="https://localhost")
    await running.start()
    yield running
    await running.stop()


async def heard(fleet: Fleet, headers: list[tuple[str, str]], whence: str = "127.0.0.1") -> dict[str, list[str]]:
    """The headers that PocketBase gets, by their names in small letters."""
    transport = httpx.AsyncHTTPTransport(local_address=whence)
    async with fleet.client("shop", transport=transport) as client:
        answer: dict[str, Any] = (await client.get("/", headers=[("Host", "shop.localhost"), *headers])).json()
    found: dict[str, list[str]] = {}
    for name, value in answer["headers"]:
        found.setdefault(name.lower(), []).append(value)
    return found


@pytest.mark.parametrize(("lines", "client"), CHAINS.values(), ids=CHAINS)
async def test_the_first_address_from_the_right_that_is_no_proxys(fleet: Fleet, lines: list[str], client: str) -> None:
    await fleet.upstream("shop")
    got = await heard(fleet, [("X-Forwarded-For", line) for line in lines])
    assert (got["x-forwarded-for"], got["x-real-ip"]) == ([client], [client])


@pytest.mark.parametrize("awake", [True, False])
async def test_others_are_not_believed(fleet: Fleet, awake: bool) -> None:
    await fleet.upstream("shop", awake=awake)
    claims = [("X-Forwarded-For", "127.0.0.1"), ("X-Forwarded-Proto", "http"), ("X-Forwarded-Port", "1")]
    got = await heard(fleet, [*claims, ("X-Real-IP", "6.6.6.6"), ("Forwarded", "for=6.6.6.6")], "127.0.0.2")
    assert "6.6.6.6" not in json.dumps(got)
    assert got == got | {
        "x-forwarded-for": ["127.0.0.2"],
        "x-real-ip": ["127.0.0.2"],
        "x-forwarded-proto": ["https"],
        "x-forwarded-port": ["443"],
    }


@pytest.mark.parametrize(
    ("headers", "scheme", "port"),
    [
        ([], "https", "443"),
        ([("X-Forwarded-Proto", "HTTP")], "http", "80"),
        ([("X-Forwarded-Proto", "https"), ("X-Forwarded-Port", "8443")], "https", "8443"),
        ([("X-Forwarded-Proto", "ftp"), ("X-Forwarded-Port", "0")], "https", "443"),
        ([("X-Forwarded-Proto", "http"), ("X-Forwarded-Proto", "https")], "https", "443"),
        ([("X-Forwarded-Port", "65536")], "https", "443"),
        ([("X-Forwarded-Port", "80 80")], "https", "443"),
    ],
)
async def test_scheme_and_port_are_the_proxys_where_they_make_sense(
    fleet: Fleet, headers: list[tuple[str, str]], scheme: str, port: str
) -> None:
    await fleet.upstream("shop")
    got = await heard(fleet, headers)
    assert (got["x-forwarded-proto"], got["x-forwarded-port"]) == ([scheme], [port])


async def test_what_no_proxy_says_for_its_client_is_thrown_away(fleet: Fleet) -> None:
    await fleet.upstream("shop")
    claims = {
        "Forwarded": "for=6.6.6.6",
        "X-Real-IP": "6.6.6.6",
        "X-Forwarded-Host": "6.6.6.6",
        "X-Client-IP": "6.6.6.6",
    }
    got = await heard(fleet, [*claims.items(), ("X-Forwarded-For", "203.0.113.7")])
    assert "6.6.6.6" not in json.dumps(got)
    assert got["x-forwarded-host"] == ["shop.localhost"]


async def test_each_request_of_a_connection_has_its_own_client(fleet: Fleet) -> None:
    await fleet.upstream("shop")
    async with fleet.client("shop") as client:
        for number in range(20):
            headers = {"X-Forwarded-For": f"203.0.113.{number}"} if number % 3 else {}
            answer = (await client.get("/", headers=headers)).json()
            said = dict(answer["headers"])
            assert said.get("x-forwarded-for") == (f"203.0.113.{number}" if number % 3 else "127.0.0.1")


async def test_a_stale_route_keeps_what_the_proxy_said(fleet: Fleet) -> None:
    instance, upstream = await fleet.upstream("shop")
    await upstream.kill()
    other = Upstream("shop", upstream.host, upstream.port + 1 if upstream.port < 65535 else 1025)
    fleet.upstreams.append(other)
    await other.start()
    fleet.goes(instance, other.address)
    got = await heard(fleet, [("X-Forwarded-For", "203.0.113.7"), ("X-Forwarded-Proto", "http")])
    assert (got["x-forwarded-for"], got["x-forwarded-proto"]) == (["203.0.113.7"], ["http"])


async def test_a_proxy_is_known_where_ipv4_comes_in_ipv6s_clothes(home: Path) -> None:
    fleet = Fleet(home, trusted_proxies=("127.0.0.1",), bind=("*",))
    await fleet.start()
    try:
        await fleet.upstream("shop")
        assert (await heard(fleet, [("X-Forwarded-For", "203.0.113.7")]))["x-forwarded-for"] == ["203.0.113.7"]
        refused = await heard(fleet, [("X-Forwarded-For", "203.0.113.7")], "127.0.0.2")
        assert refused["x-forwarded-for"][0].removeprefix("::ffff:") == "127.0.0.2"
    finally:
        await fleet.stop()


async def test_the_dashboard_hears_the_same(fleet: Fleet) -> None:
    control = Upstream("control", "", 0)
    server = await asyncio.start_unix_server(control._serve, fleet.config.control_socket)
    async with fleet.client() as client:
        answer = (await client.get("/", headers={"X-Forwarded-For": "6.6.6.6, 203.0.113.7"})).json()
    server.close()
    assert dict(answer["headers"])["x-forwarded-for"] == "203.0.113.7"
