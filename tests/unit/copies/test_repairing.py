"""A copy that somebody worked on is made what it was, whatever was done to it, without copying all of it again."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pocketfleet.runtime import ledgers
from pocketfleet.runtime.copying import copy_tree, note_tree, repair_tree
from tests.unit.copies.folders import errand
from tests.unit.copies.test_preparing import CHANGES, told


@pytest.fixture
def snapshot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Records with files that another snapshot has, too."""
    monkeypatch.setattr(ledgers, "RACY", 0.03)
    folder = tmp_path / "snapshot"
    for record in ("r1", "r2", "r3"):
        (folder / "c" / record).mkdir(parents=True)
        (folder / "c" / record / "note.txt").write_text(f"of {record}")
        os.link(folder / "c" / record / "note.txt", tmp_path / f"other-{record}")
    (folder / "link").symlink_to("c/r1")
    (folder / "backups").mkdir()
    (tmp_path / "secret.txt").write_text("not yours")
    return folder


def emptied(folder: Path) -> None:
    """Nothing is left."""
    shutil.rmtree(folder / "c")
    (folder / "link").unlink()


WRITTEN: dict[str, Callable[[Path], object]] = {
    **CHANGES,
    "a mode that shuts us out": lambda folder: (folder / "c/r2").chmod(0),
    "all of it gone": emptied,
    "a backup": lambda folder: (folder / "backups").mkdir(),
}


@pytest.mark.parametrize("change", WRITTEN)
def test_it_is_what_it_was(snapshot: Path, tmp_path: Path, change: str) -> None:
    clone = tmp_path / "clone"
    copy_tree(snapshot, clone, errand(), skip=lambda path: path == "backups", ours=True)
    time.sleep(0.06)
    ledger, before = note_tree(clone, errand()), told(clone)
    inodes = {path: path.stat().st_ino for path in clone.rglob("note.txt")}
    for _ in range(2):
        time.sleep(0.06)
        WRITTEN[change](clone)
        (tmp_path / "outside.txt").unlink(missing_ok=True)
        (tmp_path / "secret.txt").write_text("not yours")
        repair_tree(snapshot, clone, ledger, errand(), skip=lambda path: path == "backups")
        assert told(clone) == before
        assert all(path.stat().st_nlink == 1 for path in clone.rglob("note.txt"))
    kept = [path for path, inode in inodes.items() if path.stat().st_ino == inode]
    assert kept or change in ("everything removed", "all of it gone")
    assert {path.read_text() for path in tmp_path.glob("other-*")} == {"of r1", "of r2", "of r3"}
