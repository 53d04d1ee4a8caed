"""Work in threads: progress reaches the caller, and nothing goes on once the caller has left."""

from __future__ import annotations

import asyncio
import threading

import pytest

from pocketfleet.runtime.errands import Errand, carry_out


async def test_the_answer_and_the_progress_arrive() -> None:
    said: list[tuple[float | None, str]] = []

    async def progress(fraction: float | None, message: str) -> None:
        said.append((fraction, message))

    def work(errand: Errand) -> str:
        errand.say(0.5, "half")
        return "done"

    assert await carry_out(work, progress) == "done"
    assert said == [(0.5, "half")]


async def test_cancelled_it_has_ended_before_the_caller_goes_on() -> None:
    started, ended = threading.Event(), threading.Event()

    def work(errand: Errand) -> None:
        started.set()
        try:
            while True:
                errand.check()
        finally:
            ended.set()

    task = asyncio.create_task(carry_out(work))
    await asyncio.to_thread(started.wait)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended.is_set()


async def test_an_error_comes_as_it_is() -> None:
    def work(errand: Errand) -> None:
        raise KeyError("gone")

    with pytest.raises(KeyError):
        await carry_out(work)


async def test_a_progress_that_fails_stops_the_work() -> None:
    ended = threading.Event()

    async def progress(fraction: float | None, message: str) -> None:
        raise ConnectionError

    def work(errand: Errand) -> None:
        try:
            while True:
                errand.say(None, "on and on")
        finally:
            ended.set()

    with pytest.raises(ConnectionError):
        await carry_out(work, progress)
    assert ended.is_set()
