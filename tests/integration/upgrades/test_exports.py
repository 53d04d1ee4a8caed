"""What going back would lose, as a zip: every record and file of it, and nothing else."""

from __future__ import annotations

import json
import sqlite3
import zipfile
from pathlib import Path

from pocketfleet.runtime.changes import LISTED
from pocketfleet.runtime.exports import write_losses


def make(folder: Path, notes: dict[str, str], files: dict[str, str]) -> Path:
    """A copy with one collection."""
    (folder / "pb_data" / "storage").mkdir(parents=True)
    with sqlite3.connect(folder / "pb_data" / "data.db") as connection:
        connection.execute("CREATE TABLE _collections (id TEXT, name TEXT, type TEXT, created TEXT, updated TEXT)")
        connection.execute("INSERT INTO _collections VALUES ('c1', 'notes', 'base', '', '')")
        connection.execute("CREATE TABLE notes (id TEXT PRIMARY KEY, text TEXT)")
        connection.executemany("INSERT INTO notes VALUES (?, ?)", notes.items())
    connection.close()
    for path, text in files.items():
        target = folder / "pb_data" / "storage" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
    return folder


async def test_everything_that_would_be_lost_is_in_it(tmp_path: Path) -> None:
    many = {f"new{number:05d}": f"ümläut {number}" for number in range(LISTED + 5)}
    old = make(tmp_path / "old", {"same": "a", "changed": "before", "gone": "b"}, {"c1/same/one.txt": "one"})
    new = make(tmp_path / "new", {"same": "a", "changed": "after", **many}, {"c1/new/two.txt": "two"})
    (new / "pb_data" / "storage" / "c1" / "new" / "link.txt").symlink_to("/etc/hostname")
    for folder, text in ((old, "before"), (new, "after")):
        (folder / "pb_public").mkdir()
        (folder / "pb_public" / "index.html").write_text(text)
    target = tmp_path / "out" / "lost.zip"
    written = await write_losses(old, new, target, {"from": "0.40.6", "to": "0.36.9"})
    assert written.size == target.stat().st_size
    assert [path.name for path in target.parent.iterdir()] == ["lost.zip"]
    with zipfile.ZipFile(target) as archive:
        assert archive.testzip() is None
        names = ["files/c1/new/two.txt", "lost.json", "own/pb_public/index.html", "records/notes.json"]
        assert sorted(archive.namelist()) == names
        assert archive.read("own/pb_public/index.html") == b"after"
        assert archive.read("files/c1/new/two.txt") == b"two"
        found = json.loads(archive.read("records/notes.json"))
        summary = json.loads(archive.read("lost.json"))
    assert {record["id"]: record["text"] for record in found["created"]} == many
    assert found["changed"] == [{"id": "changed", "text": "after"}]
    assert summary["records"]["notes"]["deleted_ids"] == ["gone"]
    assert summary["files_by_collection"]["notes"]["created_ids"] == ["c1/new/link.txt", "c1/new/two.txt"]
    assert (summary["version"], summary["from"], summary["to"]) == (1, "0.40.6", "0.36.9")
