"""One server per module of journeys, and its logs beside whatever failed."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import Any

import pytest

from tests.server import Server, running


@pytest.fixture(scope="module")
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """A running server, shared by the module; its SETTINGS, where it has any, are the server's."""
    with running(**getattr(request.module, "SETTINGS", {})) as started:
        yield started


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[Any]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failed journey shows what pocketfleet's own processes logged."""
    report = yield
    if report.failed:
        for value in getattr(item, "funcargs", {}).values():
            if isinstance(value, Server):
                report.sections.append(("pocketfleet's logs", value.diagnosis()))
                report.sections.append(("what serve said", value.said()))
    return report
