"""What is counted by project goes where it must all the same, on a real XFS: into its place, out of it, away."""

from __future__ import annotations

import json
import os
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
from pocketfleet.runtime.owners import disown, own
from pocketfleet.runtime.projects import mark, mark_file, project_of
from tests.projects import CountedDisk

USER = user_of("240.1.0.1")
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK


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


def project(path: Path) -> int:
    opened = os.open(path, _READ)
    try:
        return project_of(opened)
    finally:
        os.close(opened)


def projects(folder: Path) -> set[int]:
    """Of all files and folders; links and the like are counted by none."""
    return {project(path) for path in [folder, *folder.rglob("*")] if path.is_dir() or path.is_file()}


def test_all_is_counted_and_so_is_what_comes(folder: Path) -> None:
    (folder / "pb_public/link").symlink_to("/etc/passwd")
    os.mkfifo(folder / "pb_public/fifo")
    own(folder, USER, project=USER)
    assert {project(path) for path in folder.rglob("*") if not path.is_symlink() and not path.is_fifo()} == {USER}
    put(folder / "pb_data/storage/c1/r2/more.txt", "later")
    (folder / "pb_data/data.db").replace(folder / "pb_data/moved.db")
    assert project(folder / "pb_data/storage/c1/r2/more.txt") == project(folder / "pb_data/storage/c1/r2") == USER
    assert project(Path("/etc/passwd")) == 0


def test_what_was_its_users_already_is_counted_from_then_on(folder: Path) -> None:
    own(folder, USER)
    assert projects(folder) == {0}
    own(folder, USER, project=USER)
    assert projects(folder) == {USER}
    # what we put there at rest comes into a folder that hands it down; a folder that is moved in does not
    (folder / "pb_hooks").rename(folder.parent / "hooks")
    (folder.parent / "fresh").mkdir()
    put(folder.parent / "fresh/a.pb.js", "")
    with opened_folder(folder) as top:
        with pytest.raises(OSError, match="cross-device"):
            (folder.parent / "fresh").rename(folder / "pb_hooks")
        mark(top, 0)
    disown(folder)
    own(folder, USER, project=USER)
    assert projects(folder) == {USER}


def test_who_has_a_name_elsewhere_is_not_counted(folder: Path) -> None:
    theirs = put(folder.parent / "theirs", "")
    (folder / "pb_public/shadow").hardlink_to(theirs)
    (folder / "pb_public/twice").hardlink_to(folder / "pb_data/data.db")
    own(folder, USER, project=USER)
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
    own(folder, 0, project=USER, whole=True)
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
    own(folder, USER, project=USER)
    assert projects(folder) == {USER}
    assert projects(other) == {0}


def test_zips_of_before_come_along_although_they_were_not_counted(folder: Path) -> None:
    """Killed before they were moved, and started again under a limit that is new."""
    replaced = folder.parent / f"{putting_back.PREFIX}s"
    put(replaced / "pb_data/backups/own.zip", "PocketBase's")
    (replaced / "pb_data/backups/link").symlink_to("/etc/passwd")
    own(folder, USER, project=USER)
    (replaced / "pb_data/backups/link").unlink()
    putting_back.recover(folder.parent, folder, ())
    zipped = folder / "pb_data/backups/own.zip"
    assert (zipped.read_text(), project(zipped), replaced.exists()) == ("PocketBase's", USER, False)


def test_what_is_counted_in_part_is_removed(folder: Path) -> None:
    """A folder deep inside that another project's has come to lie in."""
    own(folder, USER, project=USER)
    inner = folder / "pb_data/storage/c1"
    with opened_folder(inner) as opened:
        mark(opened, USER + 1)
    put(inner / "x/y/z/deep.txt", "")
    with opened_folder(folder / "pb_data") as data:
        mark_file(data, "data.db", 0)
    remove_tree(folder)
    assert not folder.exists()
