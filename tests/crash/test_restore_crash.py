"""`restore`, killed with -9 at every step boundary: wholly old or wholly new, and the operation says which."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from tests.crash.told import told

#: Dozens of lives of node, one after the other; a busy machine takes its time for each.
pytestmark = pytest.mark.timeout(600)

#: story -> (state, what a visitor sees, what is left in `incoming`)
EXPECTED = {
    "good": ("succeeded", ["one"], ["bad000000000000.zip", "refused00000000.zip"]),
    "bad": ("rolled_back", ["one", "two"], ["bad000000000000.zip", "good00000000000.zip", "refused00000000.zip"]),
    "refused": ("failed", ["one", "two"], ["bad000000000000.zip", "good00000000000.zip", "refused00000000.zip"]),
}


#: The way back and what a rehearsal refuses are of the length that `make soak` has.
STORIES = [
    ("good", 0, 2),
    ("good", 1, 2),
    pytest.param("bad", 0, 2, marks=pytest.mark.soak),
    pytest.param("refused", 0, 1, marks=pytest.mark.soak),
]


@pytest.mark.parametrize("story, share, of", STORIES)
def test_a_killed_restore_is_whole(quick_home: Path, story: str, share: int, of: int) -> None:
    """Half of the boundaries each; of the way back every second one; of a rehearsal's those of its own steps."""
    state, titles, incoming = EXPECTED[story]
    answer = told(quick_home, "restoring", story, str(share), str(of))
    identifier = answer.pop("id")
    assert [item["deaths"] for item in answer["plain"]] == [0]
    assert len(answer["boundaries"]) >= (3 if story == "refused" else 10)
    assert {item["deaths"] for item in answer["boundaries"]} == {1}
    for item in itertools.chain(*answer.values()):
        assert item["state"] == state, item
        assert item["titles"] == titles, item
        assert (item["hold"], item["held"]) == ("", False), item
        assert item["instances"] == [identifier], item
        assert item["incoming"] == incoming, item
        assert item["clones"] == [], item
        assert item["rehearsals"] == (["broken"] if story == "refused" else []), item
