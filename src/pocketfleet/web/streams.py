"""Server-sent events: how they look on the wire, kept alive, and ended when the client or the process goes."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

from asgiref.sync import sync_to_async
from django.core.serializers.json import DjangoJSONEncoder
from django.db import connection
from django.http import HttpRequest, StreamingHttpResponse

from pocketfleet.logs import LogLine
from pocketfleet.web import reading
from pocketfleet.web.access import about_instance, known_again, visible
from pocketfleet.web.callers import Caller, Via, caller_of
from pocketfleet.web.hub import Changed, Feed, Hub
from pocketfleet.web.open_streams import Seat

#: Seconds of silence after which a comment is sent, so that nobody on the way takes the stream for dead.
KEEP_ALIVE = 15.0
#: Seconds between two events of one operation or of a page: what changes faster is shown together.
CALM = 0.1
PAGE_CALM = 0.4

_FINAL = frozenset({"asking", "succeeded", "failed", "rolled_back", "cancelled"})


@dataclass(frozen=True, slots=True)
class Event:
    """One event: its name, and JSON data."""

    name: str
    data: Any = None

    def __bytes__(self) -> bytes:
        data = json.dumps(self.data, cls=DjangoJSONEncoder, ensure_ascii=False, separators=(",", ":"))
        return f"event: {self.name}\ndata: {data}\n\n".encode(errors="replace")


class Listener:
    """Who listens to a stream, asked anew now and then: they may lose their rights, or sign out, while it is open."""

    def __init__(self, request: HttpRequest, seen: Callable[[Caller], bool] = lambda _: True) -> None:
        """`seen`: whether they may still see what the stream is about; it may ask the database."""
        self._seen = seen
        self._caller = caller_of(request)
        session = getattr(request, "session", None)
        self._session = session.session_key if session is not None and self._caller.via is Via.SESSION else None

    @property
    def person(self) -> str:
        """Whose stream it is."""
        return str(self._caller.user.pk)

    @property
    def way_in(self) -> str:
        """How they came: one session, one token, or this machine's command line."""
        token = self._caller.token
        return f"token {token.pk}" if token is not None else f"{self._caller.via} {self._session or ''}"

    def still_there(self) -> bool:
        """Whether they may go on; some queries."""
        now = known_again(self._caller, self._session)
        return now is not None and self._seen(now)

    def visible(self, changes: list[Changed]) -> list[Changed]:
        """Those of the changes that they may see now; none for who may come in no longer."""
        now = known_again(self._caller, self._session)
        return visible(now, changes) if now is not None else []

    def concern(self, changes: list[Changed], instance_id: str | None) -> bool:
        """Whether any of the changes is one that they may see, and about this instance, where one is given."""
        if instance_id is not None:
            changes = about_instance(changes, instance_id)
        return bool(changes and self.visible(changes))


async def respond(hub: Hub, listener: Listener, events: AsyncGenerator[Event, None]) -> StreamingHttpResponse:
    """An answer of these events; nothing is read ahead of a slow client, and it ends for who may come in no longer.

    Raises TooManyStreams, TooManyOwnStreams.
    """
    seat = hub.streams.enter(listener.person, listener.way_in)
    # the request's own connection would lie open for as long as the stream lives
    await sync_to_async(_close_connection)()
    response = _Stream(_on_the_wire(hub, listener, events, seat), content_type="text/event-stream")
    response.seat = seat
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Accel-Buffering"] = "no"
    return response


class _Stream(StreamingHttpResponse):
    """Gives its place back also where nobody ever began to read it."""

    seat: Seat

    def close(self) -> None:
        """For Django."""
        self.seat.leave()
        super().close()


def _close_connection() -> None:
    # looked up here, in the request's thread: elsewhere `connection` is another one
    connection.close()


async def changes(hub: Hub, listener: Listener) -> AsyncGenerator[Event, None]:
    """`change` with kind and key for everything they may see; `missed` where the client was too slow."""
    async with hub.listen() as feed:
        yield Event("hello")
        while not feed.closed:
            taken = await feed.take(KEEP_ALIVE)
            if feed.missed:
                feed.missed = False
                yield Event("missed")
            for change in await hub.read(listener.visible, taken) if taken else []:
                yield Event("change", change._asdict())


async def page_changes(hub: Hub, listener: Listener, instance_id: str | None = None) -> AsyncGenerator[Event, None]:
    """`change` when a page should look again: not more often than a few times a second, the last one never lost.

    `instance_id`: for what is about that instance alone.
    """
    async with hub.listen() as feed:
        yield Event("hello")
        while not feed.closed:
            taken = await feed.take(KEEP_ALIVE)
            if feed.missed or (taken and await hub.read(listener.concern, taken, instance_id)):
                feed.missed = False
                yield Event("change")
                await _rest(feed, PAGE_CALM)


async def operation(hub: Hub, operation_id: str) -> AsyncGenerator[Event, None]:
    """`operation` with the whole of it at first and on every change; ends after the final one."""
    wanted = Changed("operation", operation_id)
    async with hub.listen(lambda change: change == wanted) as feed:
        shown = None
        while not feed.closed:
            row = await hub.read(reading.operation, operation_id)
            if row != shown:
                shown = row
                yield Event("operation", row)
            if row["state"] in _FINAL:
                return
            await _rest(feed, CALM)
            await feed.take(KEEP_ALIVE)


async def lines(source: AsyncIterator[LogLine]) -> AsyncGenerator[Event, None]:
    """`line` for every line of an instance's log; never ends by itself."""
    yield Event("hello")
    async for line in source:
        yield Event("line", {"at": line.at, "stream": line.stream, "text": line.text})


async def _rest(feed: Feed, seconds: float) -> None:
    if not feed.closed:
        await asyncio.sleep(seconds)


async def _on_the_wire(
    hub: Hub, listener: Listener, events: AsyncGenerator[Event, None], seat: Seat
) -> AsyncGenerator[bytes, None]:
    """Events as bytes, a comment after every silence, and an end when the client goes or the process stops."""
    ended: asyncio.Future[bool] = asyncio.ensure_future(hub.ended.wait())
    coming: asyncio.Future[Event | None] = asyncio.ensure_future(_next(events))
    asked = time.monotonic()
    try:
        while True:
            awaited: set[asyncio.Future[Any]] = {coming, ended}
            await asyncio.wait(awaited, timeout=KEEP_ALIVE, return_when=asyncio.FIRST_COMPLETED)
            if ended.done():
                return
            if time.monotonic() - asked >= KEEP_ALIVE:
                asked = time.monotonic()
                if not await hub.read(listener.still_there):
                    return
            if not coming.done():
                yield b": still here\n\n"
                continue
            event = coming.result()
            if event is None:
                return
            yield bytes(event)
            coming = asyncio.ensure_future(_next(events))
    finally:
        seat.leave()
        for task in (coming, ended):
            task.cancel()
        await asyncio.gather(coming, ended, return_exceptions=True)
        await events.aclose()


async def _next(events: AsyncGenerator[Event, None]) -> Event | None:
    return await anext(events, None)
