"""A snapshot that takes its instance's place: nothing stays shared with others, and no link of a tenant is followed."""

from __future__ import annotations

import asyncio
import errno
import json
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pocketfleet.errors import SnapshotUnusable
from pocketfleet.runtime import file_copying, own_files, putting_back
from pocketfleet.runtime.errands import Errand, carry_out
from pocketfleet.runtime.manifest import Manifest

FILE = Path("pb_data/storage/c1/r1/note.txt")


def put(path: Path, text: str) -> Path:
    """A file with the time that all of them have."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    os.utime(path, ns=(1, 1))
    return path


def written_down(snapshot: Path, taken_at: datetime) -> None:
    """The manifest of a snapshot, as far as it matters here."""
    manifest = Manifest(snapshot.name, "i", "0.40.6", taken_at, False, 1, 1, {}, {}, 1)
    (snapshot / "manifest.json").write_text(json.dumps(manifest.as_json()))


async def hand_over(snapshot: Path, live: Path, since: timedelta = timedelta(hours=-1)) -> None:
    """As the store does it, of a snapshot that was taken so long ago; if it lies ahead nothing changed since. What is
    left of it goes, as it does once the gate is open."""
    if snapshot.is_dir():
        written_down(snapshot, datetime.now(UTC) - since)

    def work(errand: Errand) -> None:
        putting_back.hand_over(snapshot, live, errand)
        putting_back.forget_given(snapshot.parent, live)

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


def storage(folder: Path, *, shared: Path | None = None) -> dict[str, int]:
    """Three records with a file each; `shared`: under second names. Answers inodes by path."""
    for record in ("r1", "r2", "r3"):
        path = folder / "pb_data/storage/c1" / record / "note.txt"
        if shared is None:
            put(path, f"of {record}")
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.unlink(missing_ok=True)
            path.hardlink_to(shared / path.relative_to(folder))
    return inodes(folder)


def inodes(folder: Path) -> dict[str, int]:
    """Of files and folders below storage."""
    top = folder / "pb_data/storage"
    return {str(path.relative_to(top)): path.stat().st_ino for path in top.rglob("*")}


@pytest.fixture
def records(tmp_path: Path) -> tuple[Path, Path, Path]:
    """A snapshot, another one that shares all its files, and a live folder with its own."""
    snapshot, other, live = tmp_path / "one", tmp_path / "two", tmp_path / "live"
    storage(other)
    storage(snapshot / "data", shared=other)
    storage(live)
    return snapshot, other, live


def nothing_is_shared(live: Path, other: Path) -> None:
    """Every file is one of its own, and holds what the snapshot holds."""
    for path in (other / "pb_data/storage").rglob("*.txt"):
        mine = live / path.relative_to(other)
        assert mine.read_text() == path.read_text()
        assert (mine.stat().st_nlink, path.stat().st_nlink) == (1, 1), path


async def test_a_storage_in_which_nothing_differs_is_exchanged_whole(records: tuple[Path, Path, Path]) -> None:
    snapshot, other, live = records
    before = inodes(live) | {"": (live / "pb_data/storage").stat().st_ino}
    await hand_over(snapshot, live)
    assert inodes(live) | {"": (live / "pb_data/storage").stat().st_ino} == before
    nothing_is_shared(live, other)


CHANGED: dict[str, Callable[[Path], object]] = {
    "a file more": lambda folder: put(folder / "r1/more.txt", "by the new release"),
    "a record less": lambda folder: (folder / "r1/note.txt").unlink(),
    "another content": lambda folder: put(folder / "r1/note.txt", "changed"),
    "another content of that length and time": lambda folder: put(folder / "r1/note.txt", "OF r1"),
    "another mode": lambda folder: (folder / "r1/note.txt").chmod(0o640),
    "a name elsewhere": lambda folder: os.link(folder / "r1/note.txt", folder / "r1/again.txt"),
}


@pytest.mark.parametrize("change", CHANGED)
async def test_of_a_storage_that_was_touched_folders_that_were_not_are_exchanged(
    records: tuple[Path, Path, Path], change: str
) -> None:
    snapshot, other, live = records
    before = inodes(live)
    # the clock of a file system ticks some hundred times a second
    await asyncio.sleep(0.05)
    taken_at = datetime.now(UTC)
    await asyncio.sleep(0.05)
    CHANGED[change](live / "pb_data/storage/c1")
    await hand_over(snapshot, live, datetime.now(UTC) - taken_at)
    after = inodes(live)
    assert {after[record] == before[record] for record in ("c1/r2", "c1/r3")} == {True}
    assert after["c1/r1"] != before["c1/r1"]
    assert after.keys() == inodes(other).keys()
    nothing_is_shared(live, other)


@pytest.mark.parametrize("since", [timedelta(hours=-1), timedelta(hours=1)])
async def test_where_names_cannot_be_exchanged_files_move_one_by_one(
    records: tuple[Path, Path, Path], monkeypatch: pytest.MonkeyPatch, since: timedelta
) -> None:
    """`since`: nothing changed since the snapshot, or everything: then all is copied."""
    snapshot, other, live = records
    before = inodes(live)

    def unknown(*arguments: object) -> None:
        raise OSError(errno.EINVAL, "not on this file system")

    monkeypatch.setattr(own_files, "exchange_in", unknown)
    await hand_over(snapshot, live, since)
    nothing_is_shared(live, other)
    files = [name for name in before if name.endswith(".txt")]
    assert {inodes(live)[name] == before[name] for name in files} == {since < timedelta()}


async def test_a_full_disk_leaves_the_data_in_its_place(
    records: tuple[Path, Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot, _, live = records
    monkeypatch.setattr(file_copying, "RESERVE", 10**18)
    await hand_over(snapshot, live, timedelta(hours=1))
    for name in ("r1", "r2", "r3"):
        path = live / "pb_data/storage/c1" / name / "note.txt"
        assert path.read_text() == f"of {name}"
        assert sorted(inner.name for inner in path.parent.iterdir()) == ["note.txt"]
