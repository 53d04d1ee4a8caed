"""The one thread on which node does all its work with the database."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

from django.db import close_old_connections, connection, connections

P = ParamSpec("P")
T = TypeVar("T")


class Database:
    """Runs functions that use the ORM, one after the other, away from the event loop."""

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="database")

    async def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """What the function answers or raises; it ends even if the caller is cancelled."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor, partial(_run, partial(function, *args, **kwargs)))

    async def close(self) -> None:
        """Wait for what was asked for, and close the connection."""
        await asyncio.get_running_loop().run_in_executor(self._executor, connections.close_all)
        self._executor.shutdown()


def _run(function: Callable[[], T]) -> T:
    # A server may have hung up since the last call; SQLite does not, and opening it anew costs a millisecond.
    if connection.vendor != "sqlite":
        close_old_connections()
    return function()
