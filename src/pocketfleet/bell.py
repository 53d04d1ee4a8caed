"""The bell: says that the database changed, never what; whoever hears it reads on in the Change rows."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import logging
import os
import sqlite3
import struct
import sys
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path

from pocketfleet.config import Config

log = logging.getLogger("pocketfleet.bell")

#: The channel of PostgreSQL's NOTIFY; actions/records.py sends it.
CHANNEL = "pocketfleet_changes"
#: Seconds between two looks where the kernel tells nothing (no inotify left, or not Linux).
POLL = 0.025
#: Seconds between two looks where the kernel does tell: only for what it might have missed.
LOOK_ANYWAY = 1.0
#: Seconds until another try after the database could not be read.
RETRY = 1.0
#: Seconds from the first look after a write of the WAL to the next one; doubled until LOOK_ANYWAY.
FIRST_LOOK = 0.001


class Bell:
    """Rings for every listener when another connection has committed something.

    One watcher serves all listeners of a process; while nobody listens there is none. SQLite: `PRAGMA data_version`,
    looked at when inotify says that the WAL was written (one look a second at rest), or every 25 ms where inotify is
    not to be had. PostgreSQL: LISTEN.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self._listeners: set[asyncio.Event] = set()
        self._watcher: asyncio.Task[None] | None = None

    async def rings(self) -> AsyncGenerator[None, None]:
        """Rings once as soon as the database is watched, so that a listener begins by reading; then after changes,
        several of which may be one ring. Never ends, nor raises while the database is away: it rings when it is back.
        """
        heard = asyncio.Event()
        self._listeners.add(heard)
        if self._watcher is not None:
            heard.set()
        else:
            # it rings by itself as soon as it watches
            self._watcher = asyncio.create_task(self._watch(), name="bell")
        try:
            while True:
                await heard.wait()
                heard.clear()
                yield
        finally:
            self._listeners.discard(heard)
            if not self._listeners and self._watcher is not None:
                self._watcher.cancel()
                self._watcher = None

    def _ring(self) -> None:
        for heard in self._listeners:
            heard.set()

    async def _watch(self) -> None:
        while True:
            try:
                if self._config.database_url:
                    await self._listen_to_postgresql()
                else:
                    await self._watch_sqlite()
            except (OSError, sqlite3.Error) as error:
                log.warning("the database cannot be watched, trying again: %s", error)
            except _postgresql_errors() as error:
                log.warning("the database cannot be listened to, trying again: %s", error)
            await asyncio.sleep(RETRY)

    async def _watch_sqlite(self) -> None:
        path = self._config.sqlite_file
        if not path.exists():
            return
        # `data_version` tells of other connections' commits only, so this one must never be used for anything else
        uri = f"{path.as_uri()}?mode=ro"
        connection = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=0)
        with contextlib.closing(connection) as reader, _written(path) as written:
            last, wait = _data_version(reader), LOOK_ANYWAY
            self._ring()
            while True:
                wait = await _pause(written, wait)
                version = _data_version(reader)
                if version != last:
                    last, wait = version, LOOK_ANYWAY
                    self._ring()

    async def _listen_to_postgresql(self) -> None:
        import psycopg

        connection = await psycopg.AsyncConnection.connect(self._config.database_url, autocommit=True)
        async with connection:
            await connection.execute(f"LISTEN {CHANNEL}")
            self._ring()
            async for _ in connection.notifies():
                self._ring()


def _postgresql_errors() -> tuple[type[Exception], ...]:
    # psycopg is an optional dependency, not to be imported where SQLite is used
    module = sys.modules.get("psycopg")
    return (module.Error,) if module is not None else ()


def _data_version(reader: sqlite3.Connection) -> int:
    version: int = reader.execute("PRAGMA data_version").fetchone()[0]
    return version


async def _pause(written: asyncio.Event | None, wait: float) -> float:
    """Wait for a write or the time to look; answers how long to wait after the coming look.

    The WAL is written before the commit can be seen (an fsync lies between), so after a write there are several
    looks, at doubling distances.
    """
    if written is None:
        await asyncio.sleep(POLL)
        return POLL
    try:
        async with asyncio.timeout(wait):
            await written.wait()
    except TimeoutError:
        return min(2 * wait, LOOK_ANYWAY)
    written.clear()
    return FIRST_LOOK


_IN_MODIFY = 0x2
_EVENT = struct.Struct("iIII")


@contextlib.contextmanager
def _written(path: Path) -> Iterator[asyncio.Event | None]:
    """An event that is set whenever the database's files are written; None where the kernel cannot tell."""
    descriptor = _inotify(path.parent)
    if descriptor is None:
        yield None
        return
    written = asyncio.Event()
    wanted = path.name.encode()

    def readable() -> None:
        if any(name.startswith(wanted) for name in _names(descriptor)):
            written.set()

    loop = asyncio.get_running_loop()
    loop.add_reader(descriptor, readable)
    try:
        yield written
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)


def _inotify(folder: Path) -> int | None:
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        descriptor: int = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, AttributeError):
        return None
    if descriptor < 0:
        log.info("no inotify to be had (%s): looking every %.0f ms", os.strerror(ctypes.get_errno()), POLL * 1000)
        return None
    if libc.inotify_add_watch(descriptor, os.fsencode(folder), _IN_MODIFY) < 0:
        os.close(descriptor)
        return None
    return descriptor


def _names(descriptor: int) -> list[bytes]:
    """Names of the files that the pending events are about."""
    try:
        data = os.read(descriptor, 65536)
    except BlockingIOError:
        return []
    names, at = [], 0
    while at < len(data):
        length = _EVENT.unpack_from(data, at)[3]
        at += _EVENT.size
        names.append(data[at : at + length].rstrip(b"\0"))
        at += length
    return names
