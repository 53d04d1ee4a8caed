"""Work in a thread that tells how far it is, and that is over before whoever asked for it goes on."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Awaitable, Callable
from typing import TypeVar

Progress = Callable[[float | None, str], Awaitable[None]]
T = TypeVar("T")

#: Seconds between two looks at how far it is.
_EVERY = 0.2


class Stopped(Exception):
    """Nobody waits for this any more."""


class Errand:
    """What the thread holds: asks whether to go on, and says how far it is."""

    def __init__(self) -> None:
        self._stopped = threading.Event()
        self._news: tuple[float | None, str] | None = None

    def check(self) -> None:
        """Raises Stopped once nobody waits any more."""
        if self._stopped.is_set():
            raise Stopped

    def pause(self, seconds: float) -> None:
        """Raises Stopped, at once, when nobody waits any more."""
        if self._stopped.wait(seconds):
            raise Stopped

    def say(self, fraction: float | None, message: str) -> None:
        """How far it is, 0 to 1 or None for unknown."""
        self.check()
        self._news = (fraction, message)

    def stop(self) -> None:
        """Let the thread end at its next check."""
        self._stopped.set()

    def take_news(self) -> tuple[float | None, str] | None:
        """What was said since the last look."""
        news, self._news = self._news, None
        return news


async def carry_out(work: Callable[[Errand], T], progress: Progress | None = None) -> T:
    """What `work` answers. Cancelled, it stops the thread and waits for its end: files are never left in its hands."""
    errand = Errand()
    running = asyncio.ensure_future(asyncio.to_thread(work, errand))
    try:
        return await _followed(errand, running, progress)
    except BaseException:
        errand.stop()
        await _ended(running)
        raise


async def _followed(errand: Errand, running: asyncio.Future[T], progress: Progress | None) -> T:
    while True:
        done, _ = await asyncio.wait({running}, timeout=_EVERY if progress else None)
        news = errand.take_news()
        if progress and news:
            await progress(*news)
        if done:
            return running.result()


async def _ended(running: asyncio.Future[T]) -> None:
    while not running.done():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait({running})
    if not running.cancelled():
        running.exception()
