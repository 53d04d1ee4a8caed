"""Timeouts, made short: what they must cut, and what they must not."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from pocketfleet.routing import protocol
from tests.integration.routing.fleets import Fleet, eventually


@pytest.fixture
async def hasty(home: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Fleet]:
    """A fleet that gives clients one second."""
    monkeypatch.setattr(protocol, "CLIENT_TIMEOUT", 1.0)
    monkeypatch.setattr(protocol, "HEAD_TIMEOUT", 1.0)
    monkeypatch.setattr(protocol, "IDLE_TIMEOUT", 1.0)
    running = Fleet(home)
    await running.start()
    yield running
    await running.stop()


async def test_a_quiet_event_stream_outlives_the_clients_timeout(hasty: Fleet) -> None:
    _, upstream = await hasty.upstream("live")
    async with hasty.client("live") as client, client.stream("GET", "/events") as stream:
        lines = (line async for line in stream.aiter_lines() if line)
        assert await anext(lines) == "data: hello"
        await asyncio.sleep(1.7)
        await upstream.say("later")
        assert await anext(lines) == "data: later"


async def test_an_answer_may_take_longer_than_the_clients_timeout(hasty: Fleet) -> None:
    await hasty.upstream("slow")
    async with hasty.client("slow") as client:
        assert (await client.get("/slow?1.7")).status_code == 200
        assert (await client.post("/slow?1.7", content=b"x" * 300_000)).json()["size"] == 300_000


@pytest.mark.parametrize("size", [0, 10, 3_000_000])
async def test_a_parked_request_outlives_the_clients_timeout(hasty: Fleet, size: int) -> None:
    instance, upstream = await hasty.upstream("cold", awake=False)
    released = hasty.waits(instance, upstream.address)
    async with hasty.client("cold") as client:
        request = asyncio.create_task(client.post("/", content=b"x" * size))
        await eventually(lambda: hasty.gate.parked(instance) == 1)
        await asyncio.sleep(1.7)
        released.set()
        assert (await request).json()["size"] == size


async def test_a_quiet_websocket_outlives_the_clients_timeout(hasty: Fleet) -> None:
    await hasty.upstream("socket")
    reader, writer = await asyncio.open_connection("127.0.0.1", hasty.config.port)
    writer.write(
        b"GET / HTTP/1.1\r\nHost: socket.localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    await reader.readuntil(b"\r\n\r\n")
    await asyncio.sleep(1.7)
    writer.write(b"hello")
    assert await reader.readexactly(5) == b"hello"
    writer.close()


async def test_a_head_that_drips_is_cut_off(hasty: Fleet) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", hasty.config.port)
    start = time.monotonic()
    writer.write(b"GET / HTTP/1.1\r\n")
    answer = asyncio.create_task(reader.read())
    while not answer.done() and time.monotonic() - start < 8:
        writer.write(b"X: y\r\n")
        await asyncio.sleep(0.2)
    assert b" 408 " in await answer
    writer.close()


async def test_a_body_that_stops_is_cut_off(hasty: Fleet) -> None:
    _, upstream = await hasty.upstream("shop")
    answer = await hasty.raw(b"POST / HTTP/1.1\r\nHost: shop.localhost\r\nContent-Length: 10\r\n\r\nabc", timeout=8)
    assert answer.split()[1] in (b"400", b"408")
    await eventually(lambda: not upstream.open_connections)
