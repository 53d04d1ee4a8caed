"""Fixtures of the whole suite: a home of one's own, free ports, real executables."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from xdist.remote import Producer

from pocketfleet import sealing
from tests import scheduling
from tests.ports import free_port as free_port

# Django's settings read the configuration once, when they are first imported: give that a home nobody uses.
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "pocketfleet.web.settings")
_SETTINGS_HOME = tempfile.mkdtemp(prefix="pf-")
os.environ["POCKETFLEET_HOME"] = _SETTINGS_HOME
# as the first start does
sealing.make(Path(_SETTINGS_HOME) / "sealing.key")

# How long an example takes says more about who else uses the machine than about what is tested.
settings.register_profile("untimed", max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")


def pytest_configure(config: pytest.Config) -> None:
    """Times are told where there are several workers."""
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(scheduling.Stopwatch())


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """See scheduling."""
    scheduling.sort(items)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> scheduling.LongestFirst | None:
    """For `--dist loadfile`, which the suite is run with."""
    return scheduling.LongestFirst(config, log) if config.option.dist == "loadfile" else None


def pytest_unconfigure() -> None:
    """Remove what the run made outside pytest's own folders."""
    shutil.rmtree(_SETTINGS_HOME, ignore_errors=True)


@pytest.fixture
def home() -> Iterator[Path]:
    """An empty home with a path short enough for unix sockets."""
    path = Path(tempfile.mkdtemp(prefix="pf-", dir="/tmp"))
    yield path
    shutil.rmtree(path, ignore_errors=True)
