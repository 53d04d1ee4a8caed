"""The plain runner keeps the contract."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from pocketfleet.runtime.guest import Guest
from tests.integration.runtime.runner_contract import RunnerContract


class TestProcessRunner(RunnerContract):
    """Against real processes."""

    @contextlib.asynccontextmanager
    async def occupied(self, guest: Guest) -> AsyncIterator[None]:
        """By another program that listens there."""
        listener = await asyncio.start_server(lambda *_: None, guest.address, guest.port)
        yield
        listener.close()
