"""A fleet per test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.integration.routing.fleets import Fleet


@pytest.fixture
async def fleet(home: Path) -> AsyncIterator[Fleet]:
    """HAProxy and the gate, both running."""
    running = Fleet(home)
    await running.start()
    yield running
    await running.stop()
