"""A snapshot that takes its instance's place: nothing stays shared with others, and no link of a tenant is followed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pocketfleet.errors import SnapshotUnusable
from pocketfleet.runtime import putting_back
from pocketfleet.runtime.errands import Errand, carry_out

FILE = Path("pb_data/storage/c1/r1/note.txt")


def put(path: Path, text: str) -> Path:
    """A file with the time that all of them have."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    os.utime(path, ns=(1, 1))
    return path


async def hand_over(snapshot: Path, live: Path) -> None:
    """As the store does it."""

    def work(errand: Errand) -> None:
        putting_back.hand_over(snapshot, live, errand)

    await carry_out(work)


@pytest.fixture
def places(tmp_path: Path) -> tuple[Path, Path, Path]:
    """A snapshot, another one that shares its file, and the live folder without files."""
    snapshot, other, live = tmp_path / "one", tmp_path / "two", tmp_path / "live"
    put(snapshot / "data" / FILE, "kept")
    (other / FILE).parent.mkdir(parents=True)
    (other / FILE).hardlink_to(snapshot / "data" / FILE)
    (live / "pb_data" / "storage").mkdir(parents=True)
    return snapshot, other, live


async def test_a_file_that_live_has_of_its_own_is_taken(places: tuple[Path, Path, Path]) -> None:
    snapshot, other, live = places
    inode = put(live / FILE, "kept").stat().st_ino
    await hand_over(snapshot, live)
    assert (live / FILE).stat().st_ino == inode
    assert (other / FILE).stat().st_nlink == 1


@pytest.mark.parametrize("text", ["another", "evil"])
async def test_what_lies_behind_a_link_is_not_taken(places: tuple[Path, Path, Path], text: str) -> None:
    snapshot, other, live = places
    foreign = put(live.parent / "foreign" / "r1" / "note.txt", text)
    (live / "pb_data" / "storage" / "c1").symlink_to(foreign.parent.parent)
    await hand_over(snapshot, live)
    assert foreign.read_text() == text
    assert (live / FILE).read_text() == (other / FILE).read_text() == "kept"
    assert not (live / "pb_data" / "storage" / "c1").is_symlink()
    assert (live / FILE).stat().st_nlink == (other / FILE).stat().st_nlink == 1
    (live / FILE).write_text("changed in place")
    assert (other / FILE).read_text() == "kept"


async def test_where_it_cannot_be_moved_all_is_as_it_was(
    places: tuple[Path, Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot, _, live = places
    put(live / "pb_data" / "data.db", "new")
    rename = Path.rename

    def refused(self: Path, target: Path) -> Path:
        if self.name == "data":
            raise OSError(5, "Input/output error")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", refused)
    with pytest.raises(OSError, match="Input/output error"):
        await hand_over(snapshot, live)
    assert (live / "pb_data" / "data.db").read_text() == "new"
    assert (snapshot / "data" / FILE).read_text() == "kept"
    assert sorted(path.name for path in live.parent.iterdir()) == ["live", "one", "two"]


async def test_a_snapshot_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SnapshotUnusable):
        await hand_over(tmp_path / "none", tmp_path / "live")
