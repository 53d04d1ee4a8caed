"""Fixtures of the tests of copies: a home with real PocketBases that keep notes with a file each."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.integration.copies.notebooks import Shelf
from tests.integration.runtime.rooms import house


@pytest.fixture
async def shelf(home: Path) -> AsyncIterator[Shelf]:
    """Real processes and a store of snapshots on one home."""
    async with house(home) as made:
        yield Shelf(made)
