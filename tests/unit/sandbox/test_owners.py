"""An instance's files become its user's, whatever its tenant put there; what is done at rest is done as that user."""

from __future__ import annotations

import os
import sqlite3
import stat
from pathlib import Path

import pytest

from pocketfleet.domain.addresses import user_of
from pocketfleet.runtime.guest import make_folders
from pocketfleet.runtime.owners import as_owner, disown, own
from pocketfleet.runtime.still_files import open_at_rest

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="ONLY ROOT GIVES FILES AWAY: not tested here")

USER = user_of("127.1.0.1")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "instance"
    make_folders(made)
    (made / "pb_data" / "storage" / "a").mkdir(parents=True)
    (made / "pb_data" / "storage" / "a" / "file").write_text("x")
    with sqlite3.connect(made / "pb_data" / "data.db") as database:
        database.execute("CREATE TABLE t (x)")
    return made


def owners(folder: Path) -> set[int]:
    return {path.lstat().st_uid for path in [folder, *folder.rglob("*")]}


def test_everything_is_its_users(folder: Path) -> None:
    own(folder, USER)
    assert owners(folder) == {USER}
    disown(folder)
    assert folder.stat().st_uid == 0
    (folder / "pb_hooks" / "fresh.pb.js").write_text("")
    own(folder, USER)
    assert owners(folder) == {USER}


def test_links_are_not_followed(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "theirs").write_text("")
    (tmp_path / "folder").mkdir()
    (folder / "pb_public" / "link").symlink_to(tmp_path / "theirs")
    (folder / "pb_public" / "way").symlink_to(tmp_path / "folder")
    own(folder, USER)
    assert (folder / "pb_public" / "link").lstat().st_uid == USER
    assert [(tmp_path / name).stat().st_uid for name in ("theirs", "folder")] == [0, 0]


def test_a_file_with_a_name_elsewhere_stays_whose_it_is(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "shadow").write_text("")
    (folder / "pb_public" / "shadow").hardlink_to(tmp_path / "shadow")
    (folder / "pb_public" / "twice").hardlink_to(folder / "pb_data" / "storage" / "a" / "file")
    own(folder, USER)
    assert (tmp_path / "shadow").stat().st_uid == 0
    assert (folder / "pb_public" / "twice").stat().st_uid == USER


def test_what_root_left_beside_the_databases_is_put_right(folder: Path) -> None:
    own(folder, USER)
    (folder / "pb_data" / "data.db-wal").write_text("")
    (folder / "pb_data" / "backups").mkdir()
    own(folder, USER)
    assert owners(folder) == {USER}


def test_set_user_id_is_lost(folder: Path) -> None:
    program = folder / "pb_public" / "program"
    program.write_text("")
    program.chmod(0o4755)
    own(folder, USER)
    assert not program.stat().st_mode & stat.S_ISUID


def test_what_is_made_at_rest_is_its_users_although_the_way_there_is_ours(folder: Path) -> None:
    folder.parent.chmod(0o700)
    own(folder, USER)
    with open_at_rest(folder / "pb_data" / "data.db", folder) as database:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("INSERT INTO t VALUES (1)")
        sides = list((folder / "pb_data").glob("data.db-*"))
        assert sides
        assert owners(folder) == {USER}
    with as_owner(folder):
        (folder / "pb_hooks" / "made").write_text("")
        with pytest.raises(PermissionError):
            (folder.parent / "outside").write_text("")
    assert owners(folder) == {USER}
    (folder.parent / "outside").write_text("")
    assert (folder.parent / "outside").stat().st_uid == 0
