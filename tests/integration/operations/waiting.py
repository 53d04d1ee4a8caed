"""Waiting until something is so."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable


async def until(is_so: Callable[[], Awaitable[bool]], timeout: float = 20) -> None:
    """Ask again and again, and more and more seldom. Raises TimeoutError after so many seconds."""
    pause = 0.005
    async with asyncio.timeout(timeout):
        while not await is_so():
            await asyncio.sleep(pause)
            pause = min(1.1 * pause, 0.05)
