"""A cold request waits in HAProxy until the gate says where to go."""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from pocketfleet.routing.gate import Go, Question, Refuse
from pocketfleet.routing.protocol import encode_answer
from tests.integration.routing.fleets import Fleet, eventually


async def test_a_cold_request_waits_and_is_carried(fleet: Fleet) -> None:
    instance, upstream = await fleet.upstream("cold", awake=False)
    released = fleet.waits(instance, upstream.address)
    async with fleet.client("cold") as client:
        request = asyncio.create_task(client.get("/api/health?token=secret"))
        await eventually(lambda: fleet.gate.parked(instance) == 1)
        assert (await fleet.counters.read())[instance].connections == 1
        assert not upstream.seen
        released.set()
        answer = await request
    assert answer.json()["upstream"] == "cold"
    assert fleet.gate.parked(instance) == 0
    assert fleet.asked == [Question(instance, False, "GET /api/health")]


async def test_awake_instances_never_cost_a_question(fleet: Fleet) -> None:
    await fleet.upstream("warm")
    async with fleet.client("warm") as client:
        for _ in range(100):
            assert (await client.post("/", content=b"x")).status_code == 200
            assert (await client.get("/")).status_code == 200
    assert fleet.asked == []


async def test_many_requests_for_one_instance_wait_together(fleet: Fleet) -> None:
    instance, upstream = await fleet.upstream("busy", awake=False)
    released = fleet.waits(instance, upstream.address)
    line = "GET /{} HTTP/1.1\r\nHost: busy.localhost\r\nConnection: close\r\n\r\n"
    requests = [asyncio.create_task(fleet.raw(line.format(number).encode())) for number in range(300)]
    await eventually(lambda: fleet.gate.parked(instance) == 300)
    assert (await fleet.counters.read())[instance].connections == 300
    released.set()
    answers = await asyncio.gather(*requests)
    assert sum(b" 200 OK" in answer for answer in answers) == 300
    assert len(upstream.seen) == 300


async def test_thousands_wait_at_once(fleet: Fleet) -> None:
    count = 2000
    upstreams = [await fleet.upstream(f"many{number}", awake=False) for number in range(20)]
    released = [fleet.waits(instance, upstream.address) for instance, upstream in upstreams]
    instances = [instance for instance, _ in upstreams]
    line = "GET / HTTP/1.1\r\nHost: many{}.localhost\r\nConnection: close\r\n\r\n"
    requests = [asyncio.create_task(fleet.raw(line.format(n % 20).encode(), timeout=30)) for n in range(count)]
    await eventually(lambda: sum(map(fleet.gate.parked, instances)) == count, within=20)
    for event in released:
        event.set()
    answers = await asyncio.gather(*requests)
    assert sum(b" 200 OK" in answer for answer in answers) == count


async def test_a_held_instance_keeps_its_requests(fleet: Fleet) -> None:
    instance, upstream = await fleet.upstream("held", awake=False)
    fleet.gate.hold(instance)
    async with fleet.client("held") as client:
        request = asyncio.create_task(client.post("/", content=b"body"))
        await eventually(lambda: fleet.gate.parked(instance) == 1)
        assert fleet.asked == []
        fleet.gate.resume(instance)
        assert (await request).json()["size"] == 4
    assert upstream.seen == ["POST /"]


async def test_a_hold_in_the_middle_of_a_wake_wins(fleet: Fleet) -> None:
    instance, upstream = await fleet.upstream("held", awake=False)
    released = fleet.waits(instance, upstream.address)
    async with fleet.client("held") as client:
        request = asyncio.create_task(client.get("/"))
        await eventually(lambda: fleet.asked)
        fleet.gate.hold(instance)
        released.set()
        await asyncio.sleep(0.2)
        assert not upstream.seen
        fleet.gate.resume(instance)
        assert (await request).status_code == 200
    assert len(fleet.asked) == 2


async def test_requests_survive_the_death_of_node(home: Path) -> None:
    fleet = Fleet(home)
    try:
        await fleet.start(gate=False)
        instance, upstream = await fleet.upstream("node", awake=False)
        released = fleet.waits(instance, upstream.address)
        async with fleet.client("node") as client:
            requests = [asyncio.create_task(client.post("/", content=b"once")) for _ in range(20)]
            await asyncio.sleep(0.3)
            await fleet.gate.start()
            await eventually(lambda: fleet.gate.parked(instance) == 20)
            await fleet.gate.stop()
            assert fleet.gate.parked(instance) == 0
            await fleet.gate.start()
            await eventually(lambda: fleet.gate.parked(instance) == 20)
            released.set()
            assert [answer.status_code for answer in await asyncio.gather(*requests)] == [200] * 20
        assert len(upstream.seen) == 20
    finally:
        await fleet.stop()


@pytest.mark.parametrize(
    "half", [b"", b"PF1", b"PF1 GO 127.9.9.9:80", b"PF1 GO 127.9.9.9:80 EN", b"PF1 REFUSE 503 x - \n"]
)
async def test_half_an_answer_is_a_reason_to_ask_again(home: Path, half: bytes) -> None:
    fleet = Fleet(home)
    try:
        await fleet.start(gate=False)
        _, upstream = await fleet.upstream("half", awake=False)
        answers = [half, encode_answer(Go(upstream.address))]

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readline()
            writer.write(answers.pop(0))
            writer.close()

        server = await asyncio.start_unix_server(answer, fleet.config.gate_socket)
        async with fleet.client("half") as client:
            assert (await client.get("/")).json()["upstream"] == "half"
        server.close()
        assert answers == []
    finally:
        await fleet.stop()


async def test_without_a_node_a_request_ends_at_its_deadline(home: Path) -> None:
    fleet = Fleet(home, wake_timeout=1.0)
    try:
        await fleet.start(gate=False)
        await fleet.register("nobody")
        async with fleet.client("nobody") as client:
            start = time.monotonic()
            answer = await client.get("/")
        assert (answer.status_code, answer.json()["code"]) == (503, "wake_timeout")
        assert 0.9 < time.monotonic() - start < 4
    finally:
        await fleet.stop()


async def test_a_wake_without_end_is_refused(home: Path) -> None:
    fleet = Fleet(home, wake_timeout=0.5)
    try:
        await fleet.start()
        instance = await fleet.register("never")
        fleet.waits(instance, "127.9.9.9:1")
        async with fleet.client("never") as client:
            answer = await client.get("/")
        assert (answer.status_code, answer.json()["code"], answer.headers["retry-after"]) == (503, "wake_timeout", "5")
    finally:
        await fleet.stop()


async def test_whoever_goes_away_is_no_longer_parked(fleet: Fleet) -> None:
    instance = await fleet.register("gone")
    fleet.waits(instance, "127.9.9.9:1")
    _, writer = await asyncio.open_connection("127.0.0.1", fleet.config.port)
    writer.write(b"GET / HTTP/1.1\r\nHost: gone.localhost\r\n\r\n")
    await eventually(lambda: fleet.gate.parked(instance) == 1)
    await fleet.kill_haproxy()
    await eventually(lambda: fleet.gate.parked(instance) == 0)
    writer.close()


async def test_a_client_that_leaves_in_the_middle_of_its_upload_is_forgotten(fleet: Fleet) -> None:
    instance, upstream = await fleet.upstream("left", awake=False)
    released = fleet.waits(instance, upstream.address)
    _, writer = await asyncio.open_connection("127.0.0.1", fleet.config.port)
    writer.write(b"POST / HTTP/1.1\r\nHost: left.localhost\r\nContent-Length: 10\r\n\r\nabc")
    await eventually(lambda: fleet.gate.parked(instance) == 1)
    writer.close()
    await eventually(lambda: _nothing_open(fleet, instance))
    released.set()
    await eventually(lambda: fleet.gate.parked(instance) == 0)
    assert upstream.seen == []
    assert (await fleet.counters.read())[instance].requests == 1


async def test_a_client_that_leaves_while_it_is_parked_counts_on_both_sides(fleet: Fleet) -> None:
    """HAProxy does not notice until the answer is there; what is in flight stays right."""
    instance, upstream = await fleet.upstream("left", awake=False)
    released = fleet.waits(instance, upstream.address)
    _, writer = await asyncio.open_connection("127.0.0.1", fleet.config.port)
    writer.write(b"GET / HTTP/1.1\r\nHost: left.localhost\r\n\r\n")
    await eventually(lambda: fleet.gate.parked(instance) == 1)
    writer.close()
    await asyncio.sleep(0.2)
    assert (await fleet.counters.read())[instance].connections == fleet.gate.parked(instance)
    released.set()
    await eventually(lambda: fleet.gate.parked(instance) == 0)
    await eventually(lambda: _nothing_open(fleet, instance))


async def _nothing_open(fleet: Fleet, instance: str) -> bool:
    return (await fleet.counters.read())[instance].connections == 0


async def test_a_parked_upload_of_200_megabytes_arrives_whole(fleet: Fleet) -> None:
    instance, upstream = await fleet.upstream("upload", awake=False)
    released = fleet.waits(instance, upstream.address)
    block, blocks = bytes(range(256)) * 4096, 200
    digest = hashlib.sha256()

    async def body() -> AsyncIterator[bytes]:
        for _ in range(blocks):
            digest.update(block)
            yield block

    async with fleet.client("upload") as client:
        headers = {"Content-Length": str(len(block) * blocks)}
        request = asyncio.create_task(client.post("/", content=body(), headers=headers))
        await eventually(lambda: fleet.gate.parked(instance) == 1)
        released.set()
        answer = (await request).json()
    assert (answer["size"], answer["sha256"]) == (len(block) * blocks, digest.hexdigest())


HOSTILE = [
    "</p><script>alert(1)</script>",
    '"}, "x": "',
    "a\r\nSet-Cookie: x=1\r\n\r\nbody",
    "PF1 GO 127.0.0.1:22 END\n",
    "%0d%0a %s %d %%",
    "\x00\x01\x7f\\\"'&amp;",
    "Prüfung ✓ \N{PILE OF POO}",
    "{{title}} {{detail}} %1 %0",
    "",
    "x" * 5000,
    "ü" * 5000,
]


@pytest.mark.parametrize("reason", HOSTILE)
async def test_a_reason_cannot_break_out(fleet: Fleet, reason: str) -> None:
    instance = await fleet.register("off")
    fleet.refuses(instance, Refuse(503, "start_failed", reason, 7))
    async with fleet.client("off") as client:
        answer = await client.get("/", headers={"Accept": "application/json"})
        page = await client.get("/", headers={"Accept": "text/html,*/*"})
    problem = json.loads(answer.text)
    assert answer.headers["content-type"] == "application/problem+json"
    assert (problem["status"], problem["code"]) == (503, "start_failed")
    assert problem["detail"] == reason[: len(problem["detail"])]
    assert len(problem["detail"]) >= min(len(reason), 1200)
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "<script" not in page.text
    for response in (answer, page):
        assert response.status_code == 503
        assert response.headers["retry-after"] == "7"
        assert "set-cookie" not in response.headers


async def test_a_refusal_without_hope_says_nothing_of_trying_again(fleet: Fleet) -> None:
    instance = await fleet.register("off")
    fleet.refuses(instance, Refuse(503, "powered_off", "It is powered off.", None))
    async with fleet.client("off") as client:
        assert "retry-after" not in (await client.get("/")).headers
        head = await client.head("/")
        assert (head.status_code, head.content) == (503, b"")
        upload = await client.post("/", content=b"x" * 1_000_000)
        assert upload.status_code == 503
        assert (await client.get("/")).status_code == 503
