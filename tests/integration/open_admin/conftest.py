"""A workshop with an engine, and people who want into admin pages."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pocketfleet.operations.database import Database
from tests.tables import empty_database

if TYPE_CHECKING:
    from tests.integration.copies_operations.yard import Yard


@pytest.fixture
async def database() -> AsyncIterator[Database]:
    """Empty tables."""
    async with empty_database() as opened:
        yield opened


@pytest.fixture
async def yard(home: Path, database: Database) -> AsyncIterator[Yard]:
    """Releases of all ages in the catalogue, none fetched yet."""
    from tests.integration.copies_operations.yard import open_yard

    async with open_yard(home, database) as opened:
        yield opened
