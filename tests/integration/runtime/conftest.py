"""Fixtures of the runtime's tests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.integration.runtime.rooms import House, house


@pytest.fixture
async def place(home: Path) -> AsyncIterator[House]:
    """A supervisor over real processes."""
    async with house(home) as made:
        yield made
