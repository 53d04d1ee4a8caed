"""The one thread on which node does all its work with the database."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

from django.db import InterfaceError, OperationalError, close_old_connections, connection, connections

P = ParamSpec("P")
T = TypeVar("T")

log = logging.getLogger(__name__)

#: Seconds before what the database refused (busy, disk full) is tried again; the last one for ever.
_AGAIN = (0.2, 1.0, 5.0, 15.0)


class Database:
    """Runs functions that use the ORM, one after the other, away from the event loop."""

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="database")

    async def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """What the function answers or raises; it ends even if the caller is cancelled."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor, partial(_run, partial(function, *args, **kwargs)))

    async def insist(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """As `call`, for what was done and must be written down: a database that refuses is asked again, for ever."""
        waits = list(_AGAIN)
        while True:
            try:
                return await self.call(function, *args, **kwargs)
            except (OperationalError, InterfaceError) as error:
                log.error("the database refuses: %s; trying again", error)
                await asyncio.sleep(waits.pop(0) if len(waits) > 1 else waits[0])

    async def close(self) -> None:
        """Wait for what was asked for, and close the connection."""
        await asyncio.get_running_loop().run_in_executor(self._executor, connections.close_all)
        self._executor.shutdown()


def _run(function: Callable[[], T]) -> T:
    # A server may have hung up since the last call; SQLite does not, and opening it anew costs a millisecond.
    if connection.vendor != "sqlite":
        close_old_connections()
    return function()
