"""A bare HTTP/1.1 client on sockets, so that no library's own time is in a figure."""

from __future__ import annotations

import asyncio
import re
import socket
import time

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


def request(host: str, path: str = "/api/health", *, body: str = "", close: bool = True) -> bytes:
    """A GET request as bytes; with a body, of JSON, a POST."""
    head = [f"{'POST' if body else 'GET'} {path} HTTP/1.1", f"Host: {host}"]
    head += [f"Connection: {'close' if close else 'keep-alive'}"]
    head += ["Content-Type: application/json", f"Content-Length: {len(body.encode())}"] if body else []
    return "\r\n".join([*head, "", body]).encode()


def whole_length(received: bytes) -> int | None:
    """Bytes of the whole answer, by its Content-Length; None while the head is not there yet. Raises ValueError."""
    end = received.find(b"\r\n\r\n")
    if end < 0:
        return None
    found = _LENGTH.search(received, 0, end + 2)
    if found is None:
        raise ValueError(f"an answer without Content-Length: {received[:200]!r}")
    return end + 4 + int(found[1])


def status(received: bytes) -> int:
    """The status of an answer; 0 where it is none."""
    words = received[:20].split(b" ", 2)
    return int(words[1]) if len(words) > 1 and words[1].isdigit() else 0


def get(address: tuple[str, int], host: str, path: str = "/api/health", timeout: float = 60) -> int:
    """The status of one GET on a new connection, read to its end. Raises OSError."""
    with socket.create_connection(address, timeout) as connection:
        return status(_exchange(connection, host, path))


def first_ok(address: tuple[str, int], host: str, timeout: float = 60) -> None:
    """Return when a GET answers 200; a refused connection is tried again every 0.5 ms.

    Raises TimeoutError, and RuntimeError for another status.
    """
    deadline = time.monotonic() + timeout
    while True:
        try:
            found = get(address, host, timeout=timeout)
        except ConnectionRefusedError:
            if time.monotonic() > deadline:
                raise TimeoutError(f"nothing answers at {address} within {timeout} s") from None
            time.sleep(0.0005)
            continue
        if found != 200:
            raise RuntimeError(f"{host} answered {found} instead of 200")
        return


async def ask(address: tuple[str, int], host: str, path: str = "/api/health") -> int:
    """The status of one GET on a new connection; a refused one is tried again every millisecond. Raises OSError."""
    while True:
        try:
            reader, writer = await asyncio.open_connection(*address)
            break
        except ConnectionRefusedError:
            await asyncio.sleep(0.001)
    try:
        writer.write(request(host, path))
        return status(await reader.read())
    finally:
        writer.close()


def _exchange(connection: socket.socket, host: str, path: str) -> bytes:
    connection.sendall(request(host, path))
    received = b""
    while piece := connection.recv(65536):
        received += piece
    return received
