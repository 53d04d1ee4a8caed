"""The gate alone, asked over its socket."""

from __future__ import annotations

import asyncio
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from pocketfleet.errors import StartFailed
from pocketfleet.routing import protocol
from pocketfleet.routing.gate import Gate, Go, Question, Refuse
from tests.integration.routing.fleets import eventually

HERE = Go("127.1.2.3:8090")


class Node:
    """Resolves as the test wants, and remembers what was asked."""

    def __init__(self) -> None:
        self.asked: list[Question] = []
        self.cancelled = 0
        self.go = asyncio.Event()
        self.go.set()
        self.error: Exception | None = None

    async def resolve(self, question: Question) -> Go | Refuse:
        self.asked.append(question)
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self.error:
            raise self.error
        return HERE


@pytest.fixture
def node() -> Node:
    return Node()


@pytest.fixture
async def gate(home: Path, node: Node) -> AsyncIterator[Gate]:
    running = Gate(home / "gate.sock", node.resolve, wake_timeout=5)
    await running.start()
    yield running
    await running.stop()


async def _ask(home: Path, line: bytes = b"PF1 ASK abc fresh GET%20/ END\n") -> bytes:
    reader, writer = await asyncio.open_unix_connection(home / "gate.sock")
    writer.write(line)
    async with asyncio.timeout(10):
        answer = await reader.read()
    writer.close()
    return answer


async def test_it_answers(home: Path, gate: Gate, node: Node) -> None:
    assert protocol.decode_answer(await _ask(home)) == HERE
    assert node.asked == [Question("abc", False, "GET /")]
    assert stat.S_IMODE((home / "gate.sock").stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "line", [b"\n", b"GET / HTTP/1.1\r\n", b"PF9 ASK abc fresh x END\n", b"x" * 100_000, b"\xff\n"]
)
async def test_what_it_does_not_understand_it_leaves_alone(home: Path, gate: Gate, node: Node, line: bytes) -> None:
    try:
        assert await _ask(home, line) == b""
    except ConnectionError:
        pass
    assert node.asked == []
    assert protocol.decode_answer(await _ask(home)) == HERE


async def test_whoever_says_nothing_is_hung_up_on(
    home: Path, gate: Gate, node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "QUESTION_TIMEOUT", 0.05)
    assert await _ask(home, b"PF1 ASK") == b""


async def test_a_question_whose_asker_left_is_dropped(home: Path, gate: Gate, node: Node) -> None:
    node.go.clear()
    _, writer = await asyncio.open_unix_connection(home / "gate.sock")
    writer.write(b"PF1 ASK abc fresh x END\n")
    await eventually(lambda: gate.parked("abc"))
    writer.close()
    await eventually(lambda: node.cancelled and not gate.parked("abc"))


async def test_a_hold_without_end_is_refused(
    home: Path, gate: Gate, node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "HOLD_TIMEOUT", 0.05)
    gate.hold("abc")
    answer = protocol.decode_answer(await _ask(home))
    assert isinstance(answer, Refuse)
    assert (answer.status, answer.code, node.asked) == (503, "held", [])


async def test_errors_become_refusals(home: Path, gate: Gate, node: Node) -> None:
    node.error = StartFailed("no such table: x\nbye", 4.6)
    assert protocol.decode_answer(await _ask(home)) == Refuse(503, "start_failed", "no such table: x\nbye", 5)
    node.error = RuntimeError("secret")
    answer = protocol.decode_answer(await _ask(home))
    assert isinstance(answer, Refuse)
    assert answer.code == "error"
    assert "secret" not in answer.reason


async def test_stopping_leaves_open_questions_unanswered(home: Path, gate: Gate, node: Node) -> None:
    node.go.clear()
    question = asyncio.create_task(_ask(home))
    await eventually(lambda: gate.parked("abc"))
    await gate.stop()
    assert await question == b""
    assert gate.parked("abc") == 0
    with pytest.raises(OSError):
        await _ask(home)
    node.go.set()
    await gate.start()
    assert protocol.decode_answer(await _ask(home)) == HERE
