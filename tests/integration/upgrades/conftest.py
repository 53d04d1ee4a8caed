"""A database, and tools whose supervisor is a double."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from pocketfleet.operations.database import Database
from tests.tables import empty_database


@pytest.fixture
async def database() -> AsyncIterator[Database]:
    """Empty tables."""
    async with empty_database() as opened:
        yield opened
