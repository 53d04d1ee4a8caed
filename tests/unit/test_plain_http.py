"""Clients of our own processes go straight there, whatever proxies the environment names for the world."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from pocketfleet.plain_http import plain_client

ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nhi"


async def answering(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(ANSWER)
    await writer.drain()
    writer.close()


@pytest.fixture(autouse=True)
def proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody listens there."""
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")


async def test_an_address_is_asked_itself() -> None:
    async with await asyncio.start_server(answering, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with plain_client(f"http://127.0.0.1:{port}", timeout=5) as client:
            assert (await client.get("/")).text == "hi"


async def test_so_is_a_socket(tmp_path: Path) -> None:
    socket = tmp_path / "s"
    async with (
        await asyncio.start_unix_server(answering, socket),
        plain_client("http://nobody", timeout=5, socket=socket, headers={"x": "y"}) as client,
    ):
        assert (await client.get("/")).text == "hi"
