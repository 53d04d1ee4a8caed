"""Shops made once a session by two releases, and their copies after a start under others."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest

from pocketfleet.domain.releases import Version
from pocketfleet.rehearsal.inspected import Inspected, read_data
from tests.integration.rehearsal_judges import shops

#: The two forms that data has; each is built by the last and the first release of it in the journeys.
FORMS = ("0.22.27", "0.23.12")


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a shop by this release; never started again, to be cloned."""
    made: dict[str, Path] = {}

    def build(release: str) -> Path:
        if release not in made:
            made[release] = shops.build(tmp_path_factory.mktemp("shop") / release, release)
        return made[release]

    return build


@pytest.fixture(scope="session")
def started(built: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Path]:
    """The folder of a shop by one release after a start under another; to be read and cloned."""
    made: dict[tuple[str, str], Path] = {}

    def start(old: str, new: str) -> Path:
        if (old, new) not in made:
            folder = shops.clone(built(old), tmp_path_factory.mktemp("started") / new)
            with shops.running(folder, new):
                pass
            made[old, new] = folder
        return made[old, new]

    return start


@pytest.fixture(scope="session")
def after(started: Callable[[str, str], Path]) -> Callable[[str, str], Inspected]:
    """What is in such a folder."""
    seen: dict[tuple[str, str], Inspected] = {}

    def read(old: str, new: str) -> Inspected:
        if (old, new) not in seen:
            seen[old, new] = read_data(started(old, new), Version(new))
        return seen[old, new]

    return read


@pytest.fixture
def shop(built: Callable[[str], Path], tmp_path: Path) -> Callable[[str], Path]:
    """A copy of a shop for one test alone."""
    numbers = itertools.count()
    return lambda release: shops.clone(built(release), tmp_path / f"shop-{next(numbers)}")
