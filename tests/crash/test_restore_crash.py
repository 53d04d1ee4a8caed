"""`restore`, killed with -9 at every step boundary: wholly old or wholly new, and the operation says which."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest

from tests.crash.told import told

#: Dozens of lives of node, one after the other; a busy machine takes its time for each.
pytestmark = pytest.mark.timeout(600)

#: story -> (state, what a visitor sees, the verdicts of its rehearsals)
EXPECTED: dict[str, tuple[str, list[str], list[str]]] = {
    "good": ("succeeded", ["one"], []),
    "bad": ("rolled_back", ["one", "two"], []),
    "refused": ("failed", ["one", "two"], ["broken"]),
    "accepted": ("succeeded", ["one"], ["changed"]),
}


#: The way back and what a rehearsal refuses are of the length that `make soak` has, and of what it lets pass most.
STORIES = [
    ("good", 0, 2),
    ("good", 1, 2),
    ("accepted", 0, 4),
    pytest.param("accepted", 1, 4, marks=pytest.mark.soak),
    pytest.param("accepted", 2, 4, marks=pytest.mark.soak),
    pytest.param("accepted", 3, 4, marks=pytest.mark.soak),
    pytest.param("bad", 0, 2, marks=pytest.mark.soak),
    pytest.param("refused", 0, 1, marks=pytest.mark.soak),
]


@pytest.mark.parametrize("story, share, of", STORIES)
def test_a_killed_restore_is_whole(quick_home: Path, story: str, share: int, of: int) -> None:
    """A share of the boundaries each; of a rehearsal's those of its own steps, and what comes after it."""
    state, titles, verdicts = EXPECTED[story]
    used = {story} if state == "succeeded" else set()
    incoming = sorted(f"{one.ljust(15, '0')}.zip" for one in EXPECTED if one not in used)
    answer = told(quick_home, "restoring", story, str(share), str(of))
    identifier = answer.pop("id")
    assert [item["deaths"] for item in answer["plain"]] == [0]
    assert len(answer["boundaries"]) >= (3 if verdicts else 10)
    assert {item["deaths"] for item in answer["boundaries"]} == {1}
    for item in itertools.chain(*answer.values()):
        # as text, which pytest shows whole
        assert item["state"] == state, json.dumps(item)
        assert item["titles"] == titles, item
        assert (item["hold"], item["held"]) == ("", False), item
        assert item["instances"] == [identifier], item
        assert item["incoming"] == incoming, item
        assert item["clones"] == [], item
        assert item["rehearsals"] == verdicts, item
