"""`create`, killed with -9 at every step boundary: an instance that its owner can use, or nothing at all."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from tests.crash.told import told
from tests.pocketbases import NEWEST

#: Dozens of lives of node, one after the other; a busy machine takes its time for each.
pytestmark = pytest.mark.timeout(600)


@pytest.mark.parametrize("version, step, points", [("0.22.27", "superuser", 2), (NEWEST, "", 16)])
def test_a_killed_create_ends_with_an_instance_that_its_owner_can_use(
    quick_home: Path, version: str, step: str, points: int
) -> None:
    """At every boundary with the newest release; with the oldest one around the step that differs."""
    answer = told(quick_home, "creating", version, step)
    assert [item["deaths"] for item in answer["plain"]] == [0]
    assert len(answer["boundaries"]) >= points
    assert {item["deaths"] for item in answer["boundaries"]} == {1}
    assert sum(item["deaths"] for item in answer["middle"]) > 0
    for item in itertools.chain(*answer.values()):
        assert item["state"] == "succeeded", item
        assert item["ready"], item
        assert item["signed in"] == 200, item
        assert item["params"] == ["email", "release"], item
        assert item["name"] == "shop", item
        assert item["hosts"] == 2, item
        assert item["folders"]["instances"] == [item["id"]], item
        assert item["folders"]["releases"] == [version], item


def test_a_killed_create_that_fails_leaves_nothing(quick_home: Path) -> None:
    answer = told(quick_home, "creating", "9.9.9")
    assert [item["deaths"] for item in answer["plain"]] == [0]
    assert len(answer["boundaries"]) > 12
    assert {item["deaths"] for item in answer["boundaries"]} == {1}
    for item in itertools.chain(*answer.values()):
        assert item["state"] == "failed", item
        assert "no superusers today" in item["error"], item
        assert item["params"] == ["email", "release"], item
        assert item["name"] is None, item
        assert item["hosts"] == 0, item
        assert item["folders"]["instances"] == [], item
        assert item["folders"]["logs"] == [], item
        assert item["folders"]["releases"] == ["9.9.9"], item
