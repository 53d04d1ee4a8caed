"""A small HTTP server that stands where PocketBase would: it says what reached it."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
from contextlib import suppress
from typing import Any

#: RFC 6455
_WEBSOCKET = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class Upstream:
    """Says in JSON what reached it. `/events` is a stream, `/slow` answers late; `Upgrade` turns into an echo."""

    def __init__(self, name: str, host: str, port: int) -> None:
        self.name = name
        self.host = host
        self.port = port
        #: requests by method and path
        self.seen: list[str] = []
        self.connections = 0
        #: hang up after each answer without having said so
        self.hangs_up = False
        self.status = "200 OK"
        self.open_streams: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    @property
    def address(self) -> str:
        """As it stands in a route."""
        return f"{self.host}:{self.port}"

    @property
    def open_connections(self) -> int:
        """How many there are now."""
        return len(self._writers)

    async def start(self) -> None:
        """Listen."""
        self._server = await asyncio.start_server(self._serve, self.host, self.port, backlog=4096)

    async def kill(self) -> None:
        """Stop listening and reset what is open."""
        if self._server:
            self._server.close()
            self._server = None
        for writer in list(self._writers):
            writer.transport.abort()

    async def say(self, event: str) -> None:
        """Send an event to every open stream."""
        for writer in self.open_streams:
            writer.write(_chunk(f"data: {event}\n\n"))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.add(writer)
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while await self._one(reader, writer):
                pass
        self._writers.discard(writer)
        self.open_streams.discard(writer)
        writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        request, *lines = head.rstrip("\r\n").split("\r\n")
        method, path, _ = request.split(" ")
        headers = [tuple(line.split(": ", 1)) for line in lines]
        names = {name.lower(): value for name, value in headers}
        self.seen.append(f"{method} {path}")
        if "upgrade" in names and names["upgrade"].lower() == "websocket":
            return await self._echo(reader, writer, names["sec-websocket-key"])
        size, digest = await _drain(reader, names)
        if path.startswith(("/events", "/api/realtime")):
            return await self._stream(reader, writer)
        if path.startswith("/slow"):
            await asyncio.sleep(float(path.partition("?")[2] or 0.3))
        said = {"upstream": self.name, "method": method, "path": path, "headers": headers}
        self._answer(writer, {**said, "size": size, "sha256": digest}, method)
        await writer.drain()
        return not self.hangs_up and names.get("connection", "").lower() != "close"

    def _answer(self, writer: asyncio.StreamWriter, said: dict[str, Any], method: str) -> None:
        body = json.dumps(said).encode()
        head = f"HTTP/1.1 {self.status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + (b"" if method == "HEAD" else body))

    async def _stream(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
        writer.write(head + _chunk("data: hello\n\n"))
        self.open_streams.add(writer)
        await reader.read(1)
        return False

    async def _echo(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, key: str) -> bool:
        accept = base64.b64encode(hashlib.sha1((key + _WEBSOCKET).encode()).digest()).decode()
        head = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        writer.write(f"{head}Sec-WebSocket-Accept: {accept}\r\n\r\n".encode())
        while data := await reader.read(65536):
            writer.write(data)
        return False


def _chunk(text: str) -> bytes:
    """As PocketBase sends its events. HAProxy holds back what is chunked and may go on, and only that."""
    return f"{len(text.encode()):x}\r\n{text}\r\n".encode()


async def _drain(reader: asyncio.StreamReader, names: dict[str, str]) -> tuple[int, str]:
    digest = hashlib.sha256()
    size = 0
    left = int(names.get("content-length", 0))
    while size < left:
        data = await reader.read(min(1 << 20, left - size))
        if not data:
            raise asyncio.IncompleteReadError(b"", left)
        size += len(data)
        digest.update(data)
    return size, digest.hexdigest()
