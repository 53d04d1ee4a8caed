"""Tables of one's own for each test, and control serving them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from pocketfleet.config import Config, load
from tests.integration.web.served import Served, fresh_tables, make_template, short_home, tables_of


@pytest.fixture(scope="session")
def template() -> Iterator[Path]:
    """An empty database, made once."""
    folder = short_home()
    yield make_template(folder)
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def config(home: Path) -> Config:
    """The server's settings on a home of its own."""
    made = load({}, home=home, port=8099)
    for folder in (made.edge, made.logs):
        folder.mkdir(parents=True)
    return made


@pytest.fixture
def tables(template: Path, config: Config) -> Iterator[None]:
    """Tables with nothing but the operator and a catalogue."""
    with tables_of(config):
        fresh_tables(template, config)
        yield


@pytest.fixture
def served(tables: None, config: Config) -> Iterator[Served]:
    """Control on those tables."""
    running = Served(config)
    yield running
    running.stop()
