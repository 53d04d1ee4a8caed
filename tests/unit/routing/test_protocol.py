"""What HAProxy and the gate say to each other."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pocketfleet.routing import protocol
from pocketfleet.routing.protocol import Go, ProtocolError, Question, Refuse

ANSWERS: list[Go | Refuse] = [Go("127.1.2.3:8090"), Refuse(503, "held", "wait END", 5)]


@given(cause=st.text(max_size=300), stale=st.booleans())
@example(cause="GET /a b\r\nPF1 ASK x fresh y END", stale=True)
def test_a_question_comes_back_fit_for_a_log(cause: str, stale: bool) -> None:
    question = protocol.decode_question(
        protocol.encode_question(Question("abc", stale, cause.encode("utf-8", "replace").decode()))
    )
    assert (question.instance_id, question.stale) == ("abc", stale)
    assert len(question.cause) <= protocol.LONGEST_CAUSE
    assert not question.cause or question.cause.isprintable()


@given(reason=st.text(max_size=4000), retry=st.none() | st.integers(-5, 10**6), status=st.integers(400, 599))
def test_a_refusal_comes_back_whole_or_cut(reason: str, retry: int | None, status: int) -> None:
    line = protocol.encode_answer(Refuse(status, "start_failed", reason, retry))
    assert line.count(b"\n") == 1
    assert len(line) <= protocol.LONGEST_LINE
    answer = protocol.decode_answer(line)
    assert isinstance(answer, Refuse)
    assert answer.retry_after == (None if retry is None else max(0, retry))
    assert (reason or "-").encode("utf-8", "replace").decode().startswith(answer.reason)
    assert len(answer.reason.encode()) >= min(len(reason.encode("utf-8", "replace")), protocol.LONGEST_REASON) - 3


@given(st.data())
def test_an_answer_cut_short_is_none(data: st.DataObject) -> None:
    whole = protocol.encode_answer(data.draw(st.sampled_from(ANSWERS)))
    half = whole[: data.draw(st.integers(0, len(whole) - 1))]
    with pytest.raises(ProtocolError):
        protocol.decode_answer(half)


@given(st.binary(max_size=200))
@example(b"PF1 ASK abc fresh x\n")
@example(b"PF2 ASK abc fresh x END\n")
@example(b"PF1 ASK a/../b fresh x END\n")
@example(b"PF1 ASK abc maybe x END\n")
@example(b"PF1 ASK abc fresh x END")
def test_anything_else_is_no_question(line: bytes) -> None:
    with pytest.raises(ProtocolError):
        protocol.decode_question(line)


@pytest.mark.parametrize("address", ["", "127.0.0.1", "localhost:80", "127.0.0.1:80 x", "127.0.0.1:80\n", "[::1]:80"])
def test_an_address_is_four_numbers_and_a_port(address: str) -> None:
    with pytest.raises(ProtocolError):
        protocol.encode_answer(Go(address))


@pytest.mark.parametrize("status, code", [(200, "fine"), (600, "x"), (503, "two words"), (503, ""), (503, "X")])
def test_a_refusal_has_an_error_status_and_a_code(status: int, code: str) -> None:
    with pytest.raises(ProtocolError):
        protocol.encode_answer(Refuse(status, code, "", None))
