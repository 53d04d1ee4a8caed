"""Hypothesis and schemathesis make up requests: no 5xx, no answer that the API's own OpenAPI does not describe."""

from __future__ import annotations

import os

import pytest

from pocketfleet.web import waiting
from tests.integration.web.fuzzing import World, explore
from tests.integration.web.served import Served


@pytest.fixture(autouse=True)
def _nobody_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no node here that would do what is wanted."""
    monkeypatch.setattr(waiting, "LONGEST", 0.0)


# making up requests is work for the processor, and a busy machine is slow
@pytest.mark.timeout(600)
def test_the_api_keeps_its_word(served: Served) -> None:
    assert explore(World(served), examples=2) > 100


@pytest.mark.soak
def test_the_api_keeps_its_word_for_long(served: Served) -> None:
    examples = int(os.environ.get("POCKETFLEET_SOAK_EXAMPLES", "200"))
    assert explore(World(served), examples=examples, derandomize=False) > 40 * examples
