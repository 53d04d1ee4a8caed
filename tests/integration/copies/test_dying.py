"""Taking, putting back, cloning and removing, killed with -9 at every touch of the disk: all or nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.integration.copies.dying import INSTANCE

_ROOT = Path(__file__).resolve().parents[3]
_ZIPS = {f"{INSTANCE}/pb_data/backups/{name}" for name in ("first.zip", "second.zip")}


def _told(home: Path, verb: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "tests.integration.copies.dying", str(home), verb]
    done = subprocess.run(command, cwd=_ROOT, capture_output=True, timeout=100)
    assert done.returncode == 0, done.stderr.decode()[-3000:]
    answer: dict[str, Any] = json.loads(done.stdout)
    deaths = [item["at"] for item in answer["told"] if item["died"]]
    assert len(deaths) > 20, "it must have died often"
    return answer


def _put_back(answer: dict[str, Any]) -> dict[str, str]:
    """The instance as the snapshot has it, with PocketBase's own zips as they are now."""
    zips = {path: content for path, content in answer["old"].items() if path in _ZIPS}
    return {f"{INSTANCE}/{path}": content for path, content in answer["snapshot"].items()} | zips


@pytest.mark.parametrize("verb", ["put_back", "put_back-by-hand"])
def test_put_back_ends_wholly_old_or_wholly_new(home: Path, verb: str) -> None:
    """`by-hand`: on a file system where two names cannot be exchanged at once."""
    answer = _told(home, verb)
    new = _put_back(answer)
    without_zips = {path: content for path, content in new.items() if path not in _ZIPS}
    outcomes = set()
    for item in answer["told"]:
        after = {path: content for path, content in item["after"]["instances"].items() if path not in _ZIPS}
        old = {path: content for path, content in answer["old"].items() if path not in _ZIPS}
        assert after in (old, without_zips) or (verb != "put_back" and after == {}), item["at"]
        if item["way"] == "again":
            assert item["instances"] == new, item["at"]
        else:
            assert item["instances"] in (answer["old"], new), item["at"]
            outcomes.add(item["instances"] == new)
        assert item["names"] == ["one"], item["at"]
        assert item["snapshots"]["one"] == answer["snapshot"]
    assert outcomes == {True, False}


def test_handing_over_goes_on_wherever_it_was_killed(home: Path) -> None:
    answer = _told(home, "hand_over")
    new = _put_back(answer)
    plain_old = {path: content for path, content in answer["old"].items() if path not in _ZIPS}
    plain_new = {path: content for path, content in new.items() if path not in _ZIPS}
    for item in answer["told"]:
        after = {path: content for path, content in item["after"]["instances"].items() if path not in _ZIPS}
        assert after in (plain_old, plain_new, {}), item["at"]
        # the operation that does it is always taken up again; a sweep before that takes nothing away
        assert item["present"] in (["one"], []), item["at"]
        assert item["names"] in (["one"], ["given-one"]), item["at"]
        if item["way"] == "again":
            assert item["instances"] == new, item["at"]
            assert item["names"] == ["given-one"], item["at"]


@pytest.mark.parametrize("verb", ["take", "prepare"])
def test_a_snapshot_that_was_not_finished_is_none(home: Path, verb: str) -> None:
    """`prepare`: its files ahead, then taken; both may be broken off."""
    answer = _told(home, verb)
    for item in answer["told"]:
        assert item["instances"] == answer["old"], item["at"]
        assert item["present"] == item["names"], item["at"]
        if item["way"] == "again" or "two" in item["after"]["present"]:
            assert item["present"] == ["one", "two"], item["at"]
            held = {f"{INSTANCE}/{path}": content for path, content in item["snapshots"]["two"].items()}
            # the database was opened on the copy, so its bytes are its own
            different = {path for path in held if held[path] != answer["old"].get(path)}
            assert different <= {f"{INSTANCE}/pb_data/data.db"}, item["at"]
            assert held.keys() == answer["old"].keys() - _ZIPS, item["at"]
        else:
            assert item["present"] == ["one"], item["at"]


def test_a_clone_is_whole_or_not_there(home: Path) -> None:
    answer = _told(home, "copy_to")
    whole = {f"ccccccccccccccc/{path}": content for path, content in answer["snapshot"].items()}
    for item in answer["told"]:
        after = {path: text for path, text in item["after"]["instances"].items() if path.startswith("c")}
        assert after in ({}, whole), item["at"]
        if item["way"] == "again":
            assert item["instances"] == answer["old"] | whole, item["at"]
        assert item["names"] == ["one"], item["at"]


def test_a_snapshot_that_is_removed_is_gone_or_whole(home: Path) -> None:
    answer = _told(home, "remove")
    for item in answer["told"]:
        assert item["snapshots"] in ({}, {"one": answer["snapshot"]}), item["at"]
        if item["way"] == "again":
            assert item["names"] == [], item["at"]
