"""The hub: one reader of the Change rows per process, and any number of listeners."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, ParamSpec, TypeVar

from pocketfleet.bell import Bell
from pocketfleet.web.open_streams import OpenStreams

log = logging.getLogger("pocketfleet.hub")

P = ParamSpec("P")
R = TypeVar("R")

#: Different things that may wait for a slow listener; past that it is told that it missed some.
PENDING = 1000
#: Changes read at once.
BATCH = 1000
RETRY_SECONDS = 1.0


class Changed(NamedTuple):
    """What changed: `kind` is instance, operation, release, source, token or usage; `key` its id."""

    kind: str
    key: str


class Feed:
    """What one listener has not taken yet: each thing once, however often it changed, so it cannot grow."""

    def __init__(self, wants: Callable[[Changed], bool]) -> None:
        self._wants = wants
        self._pending: dict[Changed, None] = {}
        self._ready = asyncio.Event()
        #: it was too slow, and should read anew whatever it shows
        self.missed = False
        #: the process is about to end: no more will come
        self.closed = False

    def put(self, change: Changed) -> None:
        """Note a change, if the listener wants it."""
        if not self._wants(change):
            return
        if len(self._pending) >= PENDING and change not in self._pending:
            self._pending.clear()
            self.missed = True
        self._pending[change] = None
        self._ready.set()

    def lose(self) -> None:
        """Say that changes went by unread."""
        self.missed = True
        self._ready.set()

    def close(self) -> None:
        """Let the listener go."""
        self.closed = True
        self._ready.set()

    async def take(self, seconds: float) -> list[Changed]:
        """What changed since the last time, oldest first; waits up to so many seconds for something to change."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._ready.wait()
        taken = list(self._pending)
        self._pending.clear()
        if not self.closed:
            self._ready.clear()
        return taken


class Hub:
    """Hands every change to those who listen. While nobody does, it neither watches nor reads the database."""

    def __init__(self, bell: Bell) -> None:
        self._bell = bell
        self._feeds: set[Feed] = set()
        self._reader: asyncio.Task[None] | None = None
        self._last = 0
        self._starting = asyncio.Lock()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="hub")
        #: event streams that are open now
        self.streams = OpenStreams()
        #: set when the process is about to end
        self.ended = asyncio.Event()

    @property
    def listeners(self) -> int:
        """How many listen now."""
        return len(self._feeds)

    @contextlib.asynccontextmanager
    async def listen(self, wants: Callable[[Changed], bool] = lambda _: True) -> AsyncIterator[Feed]:
        """A feed of every wanted change that is committed from now on; read what you show after this, not before."""
        feed = Feed(wants)
        async with self._starting:
            if self._reader is None and not self.ended.is_set():
                self._last = await self.read(_last_change)
                # not in the context of the request that happened to come first
                self._reader = asyncio.create_task(self._follow(), name="hub", context=contextvars.Context())
            self._feeds.add(feed)
        if self.ended.is_set():
            feed.close()
        try:
            yield feed
        finally:
            self._feeds.discard(feed)
            if not self._feeds and self._reader is not None:
                self._reader.cancel()
                self._reader = None

    async def read(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run a database query on the hub's own thread: streams live long and should not each keep a connection."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, lambda: _queried(function, *args, **kwargs))

    def close(self) -> None:
        """End every feed, and give none that lives, so that the process can end."""
        self.ended.set()
        for feed in self._feeds:
            feed.close()

    async def _follow(self) -> None:
        async for _ in self._bell.rings():
            try:
                await self._hand_out()
            except Exception as error:
                log.warning("changes could not be read, trying again: %s", error)
                await asyncio.sleep(RETRY_SECONDS)
                for feed in self._feeds:
                    feed.lose()

    async def _hand_out(self) -> None:
        while True:
            rows = await self.read(_changes_since, self._last, BATCH)
            for row_id, kind, key in rows:
                self._last = row_id
                for feed in self._feeds:
                    feed.put(Changed(kind, key))
            if len(rows) < BATCH:
                return


def _queried(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """What a query answers. Where a server has hung up meanwhile, which only the query finds out, it is asked again."""
    from django.db import Error, connection

    try:
        return function(*args, **kwargs)
    except Error:
        connection.close()
        if connection.vendor == "sqlite":
            raise
    try:
        return function(*args, **kwargs)
    except Error:
        connection.close()
        raise


def _last_change() -> int:
    from pocketfleet.actions import observations

    return observations.last_change()


def _changes_since(last: int, limit: int) -> list[tuple[int, str, str]]:
    from pocketfleet.actions import observations

    return observations.changes_since(last, limit)
