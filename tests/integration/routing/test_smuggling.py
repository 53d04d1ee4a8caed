"""Malformed requests on raw sockets, against a real HAProxy before a backend that records every byte.

Nothing that is not whole, clean HTTP reaches it, and never two requests where a client of the edge sent one."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest

from pocketfleet.routing import rendering
from tests.integration.routing.fleets import Fleet, eventually

HOST = b"Host: shop.localhost\r\n"
POST = b"POST /first HTTP/1.1\r\n" + HOST
#: what an attacker would have the backend take for a request of its own
HIDDEN = b"GET /smuggled HTTP/1.1\r\nHost: shop.localhost\r\nX: "


class Recorder:
    """Answers 200 to every request that a strict server would read out of what came, and keeps all bytes."""

    def __init__(self) -> None:
        self.connections: list[bytes] = []
        self._server: asyncio.Server | None = None

    async def start(self, host: str) -> int:
        """Its port."""
        self._server = await asyncio.start_server(self._serve, host, 0)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def stop(self) -> None:
        if self._server:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number, answered = len(self.connections), 0
        self.connections.append(b"")
        with suppress(ConnectionError):
            while data := await reader.read(65536):
                self.connections[number] += data
                for _ in requests_in(self.connections[number])[answered:]:
                    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                    answered += 1
        writer.close()

    def heads(self, case: bytes) -> list[bytes]:
        """Of the requests of one case, however they came."""
        return [head for each in self.connections for head in requests_in(each) if case in head]

    def bytes_of(self, case: bytes) -> bytes:
        """Whatever came on a connection that has to do with this case."""
        return b"".join(each for each in self.connections if case in each)


def requests_in(text: bytes) -> list[bytes]:
    """The heads of the whole requests in what one connection carried."""
    heads = []
    while (end := text.find(b"\r\n\r\n")) >= 0:
        head, rest = text[:end], text[end + 4 :]
        length = re.search(rb"(?im)^content-length: *(\d+)\r?$", head)
        if re.search(rb"(?im)^transfer-encoding: *chunked\r?$", head):
            whole = re.match(rb"(?s)(?:([0-9a-fA-F]+)\r\n)*?.*?0\r\n\r\n", rest)
            size = whole.end() if whole else len(rest) + 1
        else:
            size = int(length[1]) if length else 0
        if size > len(rest):
            break
        heads.append(head)
        text = rest[size:]
    return heads


class Shop:
    """The edge, one instance behind it, and what that got."""

    def __init__(self, fleet: Fleet, recorder: Recorder) -> None:
        self.fleet, self.recorder = fleet, recorder
        self._case = 0

    async def send(self, text: bytes) -> tuple[int, bytes]:
        """The status of the first answer, 0 for none, and a word that stands in every request of this one."""
        self._case += 1
        case = b"case-%d-" % self._case
        reader, writer = await asyncio.open_connection("127.0.0.1", self.fleet.config.port)
        writer.write(text.replace(b"/first", b"/" + case).replace(b"/smuggled", b"/smuggled-" + case))
        answer = await _answer(reader, 0.5)
        # who came later was served: what was sent before has arrived, too
        later, other = await asyncio.open_connection("127.0.0.1", self.fleet.config.port)
        other.write(b"GET /later HTTP/1.1\r\n" + HOST + b"\r\n")
        assert (await _answer(later, 10)).startswith(b"HTTP/1.1 200 ")
        for each in (writer, other):
            each.close()
        return int(answer.split(b" ", 2)[1]) if answer.startswith(b"HTTP/1.") else 0, case


async def _answer(reader: asyncio.StreamReader, seconds: float) -> bytes:
    with suppress(ConnectionError, TimeoutError):
        async with asyncio.timeout(seconds):
            return await reader.read(65536)
    return b""


@pytest.fixture
async def shop(fleet: Fleet) -> AsyncIterator[Shop]:
    """One instance, awake."""
    recorder = Recorder()
    port = await recorder.start("127.0.0.1")
    instance = await fleet.register("shop")
    await fleet.routes.publish(instance, f"127.0.0.1:{port}")
    yield Shop(fleet, recorder)
    await recorder.stop()


def chunked(body: bytes, *headers: bytes) -> bytes:
    """A POST with a chunked body, written as it is."""
    return POST + b"".join(header + b"\r\n" for header in (b"Transfer-Encoding: chunked", *headers)) + b"\r\n" + body


#: Refused at the edge: the backend gets no whole request of it.
REFUSED = {
    "a space before the colon": b"GET /first HTTP/1.1\r\n" + HOST + b"Content-Length : 0\r\n\r\n",
    "a space before the host's colon": b"GET /first HTTP/1.1\r\nHost : shop.localhost\r\n\r\n",
    "a tab in a name": b"GET /first HTTP/1.1\r\n" + HOST + b"X\tY: z\r\n\r\n",
    "a NUL in a name": b"GET /first HTTP/1.1\r\n" + HOST + b"X\x00: z\r\n\r\n",
    "a NUL in a value": b"GET /first HTTP/1.1\r\n" + HOST + b"X: a\x00b\r\n\r\n",
    "a NUL in the path": b"GET /fi\x00rst HTTP/1.1\r\n" + HOST + b"\r\n",
    "a carriage return in a value": b"GET /first HTTP/1.1\r\n" + HOST + b"X: a\rGET /smuggled HTTP/1.1\r\n\r\n",
    "no name": b"GET /first HTTP/1.1\r\n" + HOST + b": z\r\n\r\n",
    "two lengths": POST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello" + HIDDEN,
    "two lengths on a line": POST + b"Content-Length: 5, 6\r\n\r\nhello" + HIDDEN,
    "a signed length": POST + b"Content-Length: +5\r\n\r\nhello",
    "a negative length": POST + b"Content-Length: -5\r\n\r\nhello",
    "a length in hexadecimal": POST + b"Content-Length: 0x5\r\n\r\nhello",
    "a length with a space": POST + b"Content-Length: 5 5\r\n\r\nhello",
    "an empty length": POST + b"Content-Length:\r\n\r\n" + HIDDEN,
    "a length past 64 bits": POST + b"Content-Length: 18446744073709551617\r\n\r\n" + HIDDEN,
    "another coding": POST + b"Transfer-Encoding: xchunked\r\nContent-Length: 5\r\n\r\nhello",
    "an unknown coding alone": POST + b"Transfer-Encoding: gzip\r\n\r\n" + HIDDEN,
    "chunked twice": chunked(b"0\r\n\r\n", b"Transfer-Encoding: chunked") + HIDDEN,
    "chunked before another": POST + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n" + HIDDEN,
    "two hosts": b"GET /first HTTP/1.1\r\nHost: shop.localhost\r\nHost: other.localhost\r\n\r\n",
    "an absolute address with another host": b"GET http://shop.localhost/first HTTP/1.1\r\n"
    b"Host: other.localhost\r\n\r\n",
    "HTTP/0.9": b"GET /first\r\n",
    "HTTP/0.9 with a head": b"GET /first\r\n" + HOST + b"\r\n",
    "HTTP/2 with prior knowledge": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00",
    "a version that is none": b"GET /first HTTP/11.1\r\n" + HOST + b"\r\n",
    "a method that is none": b"G\x00T /first HTTP/1.1\r\n" + HOST + b"\r\n",
    "a head that is too large": b"GET /first HTTP/1.1\r\n" + HOST + b"X: " + b"x" * 16_000 + b"\r\n\r\n",
    "a line that is too long": b"GET /" + b"x" * 16_000 + b" HTTP/1.1\r\n" + HOST + b"\r\n",
    "too many headers": b"GET /first HTTP/1.1\r\n" + HOST + b"X: y\r\n" * 200 + b"\r\n",
}
#: Reach the backend in part, or in another form, and never as two requests.
ONE_AT_MOST = {
    "a length and chunks, the length too long (TE.CL)": chunked(b"0\r\n\r\n", b"Content-Length: 60") + HIDDEN,
    "a length and chunks, the length too short (CL.TE)": chunked(b"5\r\nhello\r\n0\r\n\r\n", b"Content-Length: 3"),
    "chunks in other letters and a length": POST + b"Transfer-Encoding: CHUNKED\r\nContent-Length: 4\r\n\r\n0\r\n\r\n"
    + HIDDEN,
    "a length that ends within a request": POST + b"Content-Length: 80\r\n\r\n" + HIDDEN + b"z" * 90,
    "a size past 64 bits": chunked(b"10000000000000005\r\nhello\r\n0\r\n\r\n") + HIDDEN,
    "a size that is none": chunked(b"5x\r\nhello\r\n0\r\n\r\n") + HIDDEN,
    "a negative size": chunked(b"-5\r\nhello\r\n0\r\n\r\n") + HIDDEN,
    "a size with 0x": chunked(b"0x5\r\nhello\r\n0\r\n\r\n") + HIDDEN,
    "a chunk without its end": chunked(b"5\r\nhelloXX0\r\n\r\n") + HIDDEN,
    "a bare line feed after a size": chunked(b"5\nhello\n0\n\n") + HIDDEN,
    "a bare line feed in an extension": chunked(b"5;a\nb\r\nhello\r\n0\r\n\r\n") + HIDDEN,
    "a trailer that is no header": chunked(b"0\r\nGET /smuggled HTTP/1.1\r\n\r\n"),
    "chunks under HTTP/1.0": POST.replace(b"1.1", b"1.0") + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + HIDDEN,
    "an upgrade to h2c": b"GET /first HTTP/1.1\r\n" + HOST + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
    b"HTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\nPRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
}  # fmt: skip
#: Other ways to write what HTTP allows: one request, folded lines unfolded, line ends made whole.
TIDIED = {
    "a folded line": b"GET /first HTTP/1.1\r\n" + HOST + b"X: a\r\n GET /smuggled HTTP/1.1\r\n\r\n",
    "a folded line by a tab": b"GET /first HTTP/1.1\r\n" + HOST + b"X: a\r\n\tb\r\n\r\n",
    "bare line feeds": b"GET /first HTTP/1.1\nHost: shop.localhost\nX: a\n\n",
    "empty lines before": b"\r\nGET /first HTTP/1.1\r\n" + HOST + b"\r\n",
    "the same length twice": POST + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
    "its own absolute address": b"GET http://shop.localhost/first HTTP/1.1\r\n" + HOST + b"\r\n",
    "a body on a GET": b"GET /first HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\n\r\nhello",
}


async def test_what_is_malformed_is_refused_and_reaches_nobody(shop: Shop) -> None:
    wrong = {}
    for name, text in REFUSED.items():
        status, case = await shop.send(text)
        if not (400 <= status < 500 or status == 505):
            wrong[name] = (status, case)
        elif received := shop.recorder.bytes_of(case):
            wrong[name] = (status, received)
    assert wrong == {}


async def test_one_request_is_never_two(shop: Shop) -> None:
    wrong = {}
    for name, text in ONE_AT_MOST.items():
        _, case = await shop.send(text)
        for head in shop.recorder.heads(case):
            # one that the edge has let through by itself has its headers; one that was hidden in another has not
            if head.count(b"x-forwarded-for: 127.0.0.1") != 1 or (_has(head, "content-length", "transfer-encoding")):
                wrong[name] = head
    assert wrong == {}


async def test_what_may_be_written_in_several_ways_goes_on_in_one(shop: Shop) -> None:
    for name, text in TIDIED.items():
        status, case = await shop.send(text)
        heads = shop.recorder.heads(case)
        assert (status, len(heads)) == (200, 1), name
        assert b"\n" not in heads[0].replace(b"\r\n", b""), name
        assert heads[0].split(b" ")[1].removeprefix(b"http://shop.localhost") == b"/" + case, name
        assert heads[0].lower().count(b"\r\nhost:") == 1, name
        assert heads[0].lower().count(b"content-length") <= 1, name


async def test_two_requests_of_one_connection_are_two(shop: Shop) -> None:
    """So that the test above would see a second one."""
    _, case = await shop.send((b"GET /first HTTP/1.1\r\n" + HOST + b"\r\n") * 2)
    await eventually(lambda: len(shop.recorder.heads(case)) == 2)
    hidden = b"POST / HTTP/1.1\r\nContent-Length: 0\r\nx-forwarded-for: 127.0.0.1\r\n\r\nGET /smuggled HTTP/1.1\r\n\r\n"
    assert [head.split(b" ")[1] for head in requests_in(hidden)] == [b"/", b"/smuggled"]


def _has(head: bytes, *names: str) -> bool:
    return all(re.search(rf"(?im)^{name}:".encode(), head) for name in names)


def test_nothing_makes_haproxy_less_strict(home: Path) -> None:
    from pocketfleet import config

    text = rendering.files(config.load({}, home=home), 100)["haproxy.cfg"]
    assert "accept-invalid" not in text
    assert "h1-accept" not in text
    assert "disable-h2-upgrade" in text
