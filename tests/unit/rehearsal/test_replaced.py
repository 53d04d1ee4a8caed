"""What a restore replaces, judged from small databases: passwords, files, collections made anew."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

import pytest

from pocketfleet.domain.releases import Version
from pocketfleet.rehearsal.inspected import Inspected
from pocketfleet.rehearsal.replaced import Brought, compare_replaced
from pocketfleet.runtime.changes import changes_between
from pocketfleet.runtime.guest import make_folders

PEOPLE = {"0.22.27": ("_admins", "passwordHash"), "0.40.6": ("_superusers", "password")}


def make(folder: Path, release: str, people: dict[str, str], posts: dict[str, str], posts_id: str = "posts_id") -> Path:
    """Data with superusers and users of these passwords, and posts."""
    make_folders(folder)
    superusers, column = PEOPLE[release]
    with contextlib.closing(sqlite3.connect(folder / "pb_data" / "data.db")) as database:
        database.execute("CREATE TABLE _collections (id TEXT, name TEXT, type TEXT)")
        database.execute(
            "INSERT INTO _collections VALUES (?, 'posts', 'base'), ('users_id', 'users', 'auth')", [posts_id]
        )
        for table in (superusers, "users"):
            database.execute(f"CREATE TABLE {table} (id TEXT, email TEXT, tokenKey TEXT, {column} TEXT)")
            rows = [(one, f"{one}@example.com", "key", password) for one, password in people.items()]
            database.executemany(f"INSERT INTO {table} VALUES (?, ?, ?, ?)", rows)
        database.execute("CREATE TABLE posts (id TEXT, title TEXT)")
        database.executemany("INSERT INTO posts VALUES (?, ?)", posts.items())
        database.commit()
    return folder


def judged(now: Path, then: Path) -> list[str]:
    """What is found, in words."""
    collections = [{"name": "posts", "type": "base"}, {"name": "users", "type": "auth"}]
    after = Inspected(Version("0.40.6"), collections, {}, {"posts": 2, "users": 1}, {}, [])
    return [one.text for one in compare_replaced(now, Brought(then, changes_between(now, then)), after)]


@pytest.mark.parametrize("old", ["0.22.27", "0.40.6"])
def test_passwords_that_are_others_are_counted_across_all_ages(tmp_path: Path, old: str) -> None:
    posts = {"a": "one", "b": "two"}
    now = make(tmp_path / "now", old, {"ann": "x", "bob": "y"}, posts)
    same = make(tmp_path / "same", "0.40.6", {"ann": "x", "bob": "y"}, posts)
    other = make(tmp_path / "other", "0.40.6", {"ann": "x", "bob": "z"}, posts)
    assert judged(now, same) == []
    assert [text for text in judged(now, other) if "password" in text] == [
        "1 of superusers has another password than now.",
        "1 of users has another password than now.",
    ]


def test_a_collection_made_anew_is_the_same_with_the_same_records(tmp_path: Path) -> None:
    now = make(tmp_path / "now", "0.40.6", {"ann": "x"}, {"a": "one", "b": "two", "c": "three"})
    then = make(tmp_path / "then", "0.40.6", {"ann": "x"}, {"a": "one", "b": "other"}, posts_id="made anew")
    assert judged(now, then) == ["posts: 1 record of now is missing, 1 record is otherwise."]


def test_files_are_known_by_name_and_size_whatever_their_times(tmp_path: Path) -> None:
    folders = [make(tmp_path / name, "0.40.6", {}, {}) for name in ("now", "then")]
    for folder, files in zip(
        folders, ({"a": b"1", "b": b"2", "c": b"3"}, {"a": b"1", "b": b"22", "d": b"4"}), strict=True
    ):
        stored = folder / "pb_data" / "storage" / "posts_id" / "record"
        stored.mkdir(parents=True)
        for name, content in files.items():
            (stored / name).write_bytes(content)
        (stored / "a.attrs").write_bytes(folder.name.encode())
    assert judged(*folders) == [
        "1 uploaded file of now is missing.",
        "1 uploaded file of now is of another size.",
        "1 uploaded file is more than now.",
    ]
