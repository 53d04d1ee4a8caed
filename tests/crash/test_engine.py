"""The engine, killed with -9 at every point of a toy plan: the outcome is whole, each effect happened once."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from tests.crash.told import told

#: Dozens of lives of node, one after the other; a busy machine takes its time for each.
pytestmark = pytest.mark.timeout(600)

#: story -> (state, files at the end, files that were made and removed again, steps' states)
EXPECTED = {
    "succeeds": ("succeeded", ["one", "three", "two"], [], ["done", "done", "done"]),
    "fails": ("failed", [], ["one", "two"], ["compensated"] * 3),
    "rolls back": ("rolled_back", [], ["one", "two"], ["compensated"] * 3),
    "fails at once": ("failed", [], [], ["compensated"]),
    "past commit, second try": ("succeeded", ["one", "three", "two"], [], ["done", "done", "done"]),
    "past commit, never": ("failed", ["one", "two"], [], ["done", "done", "failed"]),
}


@pytest.mark.parametrize("story", EXPECTED)
def test_killed_at_every_point(quick_home: Path, story: str) -> None:
    state, files, undone, steps = EXPECTED[story]
    made = [f"made {name}" for name in [*files, *undone]]
    history = sorted([*made, *(f"removed {name}" for name in undone)])
    answer = told(quick_home, "toy", story)
    assert [item["deaths"] for item in answer["plain"]] == [0]
    # a run may look at the journal once less than the one whose looks were counted: then the last death never comes
    deaths = [item["deaths"] for item in answer["journal"]]
    assert deaths[:-1] == [1] * (len(deaths) - 1)
    assert deaths[-1] in (0, 1)
    # before each step that is begun and after each that is made, and the same for those that are undone
    begun = len(steps) + len(made) + (0 if "done" in steps else len(steps) * 2)
    assert sum(item["deaths"] for item in answer["effects"]) == begun
    for item in itertools.chain(*answer.values()):
        assert item["state"] == state, item
        assert item["effects"] == files, item
        assert item["history"] == history, item
        assert list(item["steps"].values()) == steps, item
        assert item["error"] == (None if state == "succeeded" else "source_down"), item
        assert item["result"] == ({"did": "three", "saw": ["one", "two"]} if state == "succeeded" else {}), item
