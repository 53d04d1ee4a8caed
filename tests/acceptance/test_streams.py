"""What is not one quick request: event streams, WebSockets, large uploads, slow clients, many at once."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx

from tests import hooks
from tests.pocketbases import NEWEST
from tests.server import Server, make_notes, superuser_token, until

#: Instances fall asleep after two seconds, so that "past the idle timeout" is a matter of seconds.
SETTINGS = {"idle_timeout": 2}
BOUNDARY = "a-boundary-that-occurs-nowhere"
MEGABYTE = 1_000_000


def awake(server: Server, instance_id: str) -> bool:
    """Whether a PocketBase of this instance runs."""
    return bool(server.guest_pids(instance_id))


def test_an_event_stream_stays_open_and_keeps_its_instance_awake(server: Server) -> None:
    made = server.create("live")
    with server.client("live") as client, server.client("live") as listener:
        make_notes(client, NEWEST)
        with listener.stream("GET", "/api/realtime", timeout=30) as stream:
            lines = stream.iter_lines()
            connected = _event(lines)
            subscription = {"clientId": connected["clientId"], "subscriptions": ["notes/*"]}
            assert client.post("/api/realtime", json=subscription).status_code == 204
            starts = server.starts(made["id"])
            time.sleep(6)  # three times the idle timeout, without a request
            assert awake(server, made["id"]), "it slept with an open stream"
            times = []
            for text in ("one", "two", "three"):
                assert client.post("/api/collections/notes/records", json={"text": text}).status_code == 200
                began = time.monotonic()
                event = _event(lines)
                times.append(time.monotonic() - began)
                assert (event["action"], event["record"]["text"]) == ("create", text)
            # what holds one back holds each back; a busy machine is slow now and then
            assert min(times) < 1, "the edge held the events back"
            assert server.starts(made["id"]) == starts
        until(lambda: not awake(server, made["id"]), 20, "it to sleep once the stream is closed")


def test_an_event_stream_ends_when_its_instance_is_put_to_sleep(server: Server) -> None:
    server.create("ended")
    with server.client("ended") as listener, listener.stream("GET", "/api/realtime", timeout=30) as stream:
        lines = stream.iter_lines()
        _event(lines)
        server.cli("sleep", "ended")
        with contextlib.suppress(httpx.RemoteProtocolError):  # cut off in the middle of a chunked answer
            assert [line for line in lines if line.startswith("data:")] == []
    server.reaches("ended", "asleep")


def test_a_websocket_through_the_edge(server: Server) -> None:
    made = server.create("socket")
    server.put(made["id"], "pb_hooks/main.pb.js", hooks.WEBSOCKET)
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        connection.sendall(
            f"GET /socket HTTP/1.1\r\nHost: socket.localhost:{server.port}\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Key: {hooks.WEBSOCKET_KEY}\r\n\r\n".encode()
        )
        head = connection.recv(4096)
        assert head.startswith(b"HTTP/1.1 101 "), head
        assert hooks.WEBSOCKET_ACCEPT.encode() in head
        for text in (b"hello", b"x" * 100):
            connection.sendall(_frame(0x81, text))
            assert _exactly(connection, 2 + len(text))[2:] == text
        time.sleep(6)  # three times the idle timeout: an open socket is no idleness
        connection.sendall(_frame(0x81, b"still here"))
        assert _exactly(connection, 12)[2:] == b"still here"
        connection.sendall(_frame(0x88, b""))
        assert _exactly(connection, 2)[0] == 0x88
    until(lambda: not awake(server, made["id"]), 20, "it to sleep once the socket is closed")


def test_a_large_upload_to_an_asleep_instance_arrives_whole(server: Server) -> None:
    made = server.create("uploads")
    with server.client("uploads") as client:
        _files_collection(client)
        server.cli("sleep", "uploads")
        assert not awake(server, made["id"])
        digest = hashlib.sha256()
        answer = client.post(
            "/api/collections/files/records",
            content=_multipart(120, digest),
            headers={"content-type": f"multipart/form-data; boundary={BOUNDARY}"},
            timeout=90,
        )
        assert answer.status_code == 200, answer.text
        record = answer.json()
        path = f"/api/files/{record['collectionId']}/{record['id']}/{record['file']}"
        assert _sha256_of(client, path) == digest.hexdigest()
        server.cli("sleep", "uploads")
        assert _sha256_of(client, path) == digest.hexdigest()


def test_a_slow_download_outlasts_the_idle_timeout(server: Server) -> None:
    made = server.create("downloads")
    with server.client("downloads") as client:
        _files_collection(client)
        digest = hashlib.sha256()
        answer = client.post(
            "/api/collections/files/records",
            content=_multipart(40, digest),
            headers={"content-type": f"multipart/form-data; boundary={BOUNDARY}"},
        )
        record = answer.json()
        path = f"/api/files/{record['collectionId']}/{record['id']}/{record['file']}"
        starts = server.starts(made["id"])
        got = hashlib.sha256()
        with client.stream("GET", path) as stream:
            for number, piece in enumerate(stream.iter_raw(MEGABYTE)):
                got.update(piece)
                if number in (1, 20):
                    time.sleep(4)
        assert got.hexdigest() == digest.hexdigest()
        assert server.starts(made["id"]) == starts


def test_a_client_that_sends_slowly_is_served(server: Server) -> None:
    made = server.create("slow")
    with server.client("slow") as client:
        make_notes(client, NEWEST)
    server.cli("sleep", "slow")
    body = json.dumps({"text": "slowly"}).encode()
    head = (
        f"POST /api/collections/notes/records HTTP/1.1\r\nHost: slow.localhost:{server.port}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    ).encode()
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        for place in range(0, len(head), 16):
            connection.sendall(head[place : place + 16])
            time.sleep(0.2)
        for byte in body:
            connection.sendall(bytes([byte]))
            time.sleep(0.3)
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
    assert answer.startswith(b"HTTP/1.1 200 "), answer
    assert b"slowly" in answer
    assert server.starts(made["id"]) >= 1


def test_a_client_that_leaves_while_it_waits_leaves_nothing_behind(server: Server) -> None:
    made = server.create("left")
    host = f"left.localhost:{server.port}"
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
            connection.sendall(f"GET /api/health HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    until(lambda: awake(server, made["id"]), 20, "the start to go on")
    assert server.starts(made["id"]) == 1
    until(lambda: not awake(server, made["id"]), 20, "it to sleep again, with nobody left")


def test_many_at_once_are_one_start(server: Server) -> None:
    made = server.create("crowd")
    before = server.starts(made["id"])

    def ask(_: int) -> int:
        with server.client("crowd") as client:
            return client.get("/api/health").status_code

    with ThreadPoolExecutor(100) as pool:
        assert list(pool.map(ask, range(300))) == [200] * 300
    assert server.starts(made["id"]) == before + 1


def test_it_sleeps_by_itself_and_one_request_wakes_it(server: Server) -> None:
    made = server.create("napping")
    with server.client("napping") as client:
        for count in range(1, 4):
            assert client.get("/api/health").status_code == 200
            assert server.starts(made["id"]) == count
            until(lambda: not awake(server, made["id"]), 20, "it to sleep")
            server.reaches("napping", "asleep")
    files = [path.name for path in (server.folder(made["id"]) / "pb_data").iterdir()]
    assert [name for name in files if name.endswith(("-wal", "-shm"))] == [], "its files are not at rest"


def test_requests_that_fall_into_a_sleep_are_answered(server: Server) -> None:
    """Requests timed so that some come in the very moment in which the instance falls asleep."""
    made = server.create("edge-case")
    with server.client("edge-case") as client:
        for pause in (1.8, 1.95, 2.0, 2.05, 2.1, 2.2, 2.4, 2.6):
            time.sleep(pause)
            assert client.get("/api/health").status_code == 200
    assert server.starts(made["id"]) >= 1


def _event(lines: Iterator[str]) -> dict[str, Any]:
    """The next event's data."""
    for line in lines:
        if line.startswith("data:"):
            content: dict[str, Any] = json.loads(line[5:])
            return content
    raise AssertionError("the stream ended")


def _files_collection(client: httpx.Client) -> None:
    rules = dict.fromkeys(("listRule", "viewRule", "createRule"), "")
    fields = [{"name": "file", "type": "file", "maxSelect": 1, "maxSize": 300 * MEGABYTE}]
    token = superuser_token(client, NEWEST)
    body = {"name": "files", "type": "base", "fields": fields, **rules}
    answer = client.post("/api/collections", json=body, headers={"authorization": token})
    assert answer.status_code == 200, answer.text


def _multipart(megabytes: int, digest: Any) -> Iterator[bytes]:
    """A form with one random file, made on the way so that it is nowhere in memory; its sha256 goes to `digest`."""
    yield (
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="large.bin"\r\n'
        "Content-Type: application/octet-stream\r\n\r\n"
    ).encode()
    for _ in range(megabytes):
        piece = os.urandom(MEGABYTE)
        digest.update(piece)
        yield piece
    yield f"\r\n--{BOUNDARY}--\r\n".encode()


def _sha256_of(client: httpx.Client, path: str) -> str:
    digest = hashlib.sha256()
    with client.stream("GET", path) as stream:
        assert stream.status_code == 200
        for piece in stream.iter_raw():
            digest.update(piece)
    return digest.hexdigest()


def _frame(head: int, text: bytes) -> bytes:
    mask = b"mask"
    return bytes([head, 0x80 | len(text)]) + mask + bytes(byte ^ mask[i % 4] for i, byte in enumerate(text))


def _exactly(connection: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        piece = connection.recv(count - len(data))
        assert piece, f"closed after {data!r}"
        data += piece
    return data
