"""What is counted by project goes where it must all the same, on a real XFS: into its place, out of it, away."""

from __future__ import annotations

import fcntl
import json
import os
import struct
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pocketfleet.domain.addresses import user_of
from pocketfleet.runtime import putting_back
from pocketfleet.runtime.disk import opened_folder, remove_tree
from pocketfleet.runtime.errands import carry_out
from pocketfleet.runtime.guest import make_folders
from pocketfleet.runtime.manifest import Manifest
from pocketfleet.runtime.owners import own
from pocketfleet.runtime.projects import hand_down_nothing, mark
from pocketfleet.runtime.sandbox.marking import mark_tree
from pocketfleet.runtime.sandbox.quotas import Quotas
from tests.projects import CountedDisk

USER = user_of("240.1.0.1")


@pytest.fixture(scope="module")
def disk() -> Iterator[Path]:
    """An empty XFS. It knows projects whether or not this kernel holds them to limits."""
    with tempfile.TemporaryDirectory(prefix="pf-", dir="/tmp") as folder:
        made = CountedDisk(Path(folder), "xfs")
        if not made.mount(held=False):
            pytest.skip(f"PROJECTS ARE NOT TESTED HERE, that takes root, loop devices and XFS: {made.why_not}")
        yield made.place
        made.unmount()


@pytest.fixture
def folder(disk: Path, request: pytest.FixtureRequest) -> Path:
    """An instance's, in a folder of this test's own."""
    made = disk / str(request.node.name) / "instance"
    make_folders(made)
    put(made / "pb_data/storage/c1/r1/note.txt", "kept")
    put(made / "pb_data/data.db", "all of it")
    return made


def put(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    os.utime(path, ns=(1, 1))
    return path


def attributes(path: Path) -> tuple[int, bool]:
    """A file's or folder's project, and whether it hands that down."""
    opened = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        flags, _, _, found, _ = struct.unpack("=IIIII8x", fcntl.ioctl(opened, 0x801C581F, bytes(28)))
    finally:
        os.close(opened)
    return found, bool(flags & 0x200)


def project(path: Path) -> int:
    return attributes(path)[0]


def give(folder: Path, *, most: int = 10_000) -> bool:
    """To its user and project, as every start does."""
    own(folder, USER)
    return mark_tree(folder, USER, most)


def projects(folder: Path) -> set[int]:
    """Of all files and folders; links and the like are counted by none."""
    found = [folder, *(path for path in folder.rglob("*") if not path.is_symlink())]
    return {project(path) for path in found if path.is_dir() or path.is_file()}


def test_all_is_counted_and_so_is_what_comes(folder: Path) -> None:
    (folder / "pb_public/link").symlink_to("/etc/passwd")
    os.mkfifo(folder / "pb_public/fifo")
    assert give(folder)
    assert projects(folder) == {USER}
    assert {attributes(path)[1] for path in [folder, *folder.rglob("*")] if path.is_dir()} == {True}
    put(folder / "pb_data/storage/c1/r2/more.txt", "later")
    (folder / "pb_data/data.db").replace(folder / "pb_data/moved.db")
    assert project(folder / "pb_data/storage/c1/r2/more.txt") == project(folder / "pb_data/storage/c1/r2") == USER
    # a link is its tenant's to rename as before, and what it leads to is not touched
    link = (folder / "pb_public/link").rename(folder / "pb_public/renamed")
    assert (str(link.readlink()), link.lstat().st_uid, project(Path("/etc/passwd"))) == ("/etc/passwd", USER, 0)


def test_what_takes_long_goes_on_at_the_next_start(folder: Path) -> None:
    for number in range(300):
        put(folder / f"pb_data/storage/c1/r{number}/note.txt", "")
    starts = 1
    while not give(folder, most=100):
        starts += 1
        assert attributes(folder) == (0, False)
    assert projects(folder) == {USER}
    # a file and a folder for each of three hundred, a hundred at a time
    assert 6 <= starts <= 8


def test_what_takes_the_place_of_something_marked_is_not(folder: Path) -> None:
    assert give(folder)
    fresh = folder.parent / "fresh"
    put(fresh / "a.pb.js", "")
    (folder / "pb_hooks").rename(folder.parent / "hooks")
    with pytest.raises(OSError, match="cross-device"):
        fresh.rename(folder / "pb_hooks")
    with opened_folder(folder) as top:
        hand_down_nothing(top)
    fresh.rename(folder / "pb_hooks")
    assert attributes(folder) == (USER, False)
    assert give(folder)
    assert projects(folder) == {USER}


def test_who_has_a_name_elsewhere_is_not_counted(folder: Path) -> None:
    theirs = put(folder.parent / "theirs", "")
    (folder / "pb_public/shadow").hardlink_to(theirs)
    (folder / "pb_public/twice").hardlink_to(folder / "pb_data/data.db")
    give(folder)
    assert (project(theirs), theirs.stat().st_uid) == (0, 0)
    assert project(folder / "pb_public/twice") == USER


async def test_a_snapshot_takes_the_place_of_what_is_counted(folder: Path) -> None:
    """The folders in which nothing differs are exchanged as a whole, as everywhere."""
    snapshot, other = folder.parent / "one", folder.parent / "two"
    for record in ("r1", "r2"):
        name = f"pb_data/storage/c1/{record}/note.txt"
        put(other / name, f"of {record}")
        put(snapshot / "data" / name, "").unlink()
        (snapshot / "data" / name).hardlink_to(other / name)
        put(folder / name, f"of {record}")
    put(folder / "pb_data/backups/own.zip", "PocketBase's")
    # root's own, as what is shared with snapshots is here
    assert mark_tree(folder, USER, 10_000)
    before = (folder / "pb_data/storage").stat().st_ino
    manifest = Manifest("one", "i", "0.40.6", datetime.now(UTC) + timedelta(hours=1), False, 1, 1, {}, {}, 1)
    (snapshot / "manifest.json").write_text(json.dumps(manifest.as_json()))
    await carry_out(lambda errand: putting_back.hand_over(snapshot, folder, errand))
    assert (folder / "pb_data/storage").stat().st_ino == before
    for record in ("r1", "r2"):
        assert (folder / f"pb_data/storage/c1/{record}/note.txt").read_text() == f"of {record}"
        assert (folder / f"pb_data/storage/c1/{record}/note.txt").stat().st_nlink == 1
    assert (folder / "pb_data/backups/own.zip").read_text() == "PocketBase's"
    putting_back.forget_given(folder.parent, folder)
    assert give(folder)
    assert projects(folder) == {USER}
    assert projects(other) == {0}


def test_zips_of_before_come_along_although_they_were_not_counted(folder: Path) -> None:
    """Killed before they were moved, and started again under a limit that is new; and a tenant lays things there."""
    replaced = folder.parent / f"{putting_back.PREFIX}s"
    put(replaced / "pb_data/backups/own.zip", "PocketBase's")
    put(replaced / "pb_data/backups/folder/inner", "")
    (replaced / "pb_data/backups/link").symlink_to("/etc/passwd")
    give(folder)
    putting_back.recover(folder.parent, folder, ())
    backups = folder / "pb_data/backups"
    assert ((backups / "own.zip").read_text(), replaced.exists()) == ("PocketBase's", False)
    assert {path.name for path in backups.iterdir()} == {"own.zip", "folder", "link"}
    assert attributes(backups) == (USER, True)


def test_what_is_counted_in_part_is_removed(folder: Path) -> None:
    """A folder deep inside that another project's has come to lie in."""
    give(folder)
    with opened_folder(folder / "pb_data/storage/c1") as opened:
        mark(opened, USER + 1)
    put(folder / "pb_data/storage/c1/x/y/z/deep.txt", "")
    remove_tree(folder)
    assert not folder.exists()


def test_a_home_that_is_counted_as_a_whole_has_no_walls(folder: Path) -> None:
    """What is moved between the home's folders would have to be of one project."""
    instances = folder.parent / "home" / "instances"
    instances.mkdir(parents=True)
    with opened_folder(instances.parent) as opened:
        mark(opened, 42)
    assert Quotas(instances).open().endswith("is of project 42 itself")
