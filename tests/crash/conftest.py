"""Homes for runs that are killed again and again."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

_MEMORY = Path("/dev/shm")


@pytest.fixture
def quick_home() -> Iterator[Path]:
    """A home in memory where there is such a place: what SIGKILL leaves is the same, and fsync takes no time."""
    place = _MEMORY if os.access(_MEMORY, os.W_OK) else Path("/tmp")
    path = Path(tempfile.mkdtemp(prefix="pf-", dir=place))
    yield path
    shutil.rmtree(path, ignore_errors=True)
