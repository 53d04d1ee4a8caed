"""The size of a tenant's folder, whatever the tenant put there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pocketfleet.runtime import sizes
from pocketfleet.runtime.errands import Errand, Stopped
from pocketfleet.runtime.sizes import measure_folder


def on_disk(*paths: Path) -> int:
    """Bytes that these take there, each by itself."""
    return sum(path.lstat().st_blocks * 512 for path in paths)


def test_all_files_count_and_those_with_two_names_once(tmp_path: Path) -> None:
    folder = tmp_path / "instance"
    (folder / "pb_data" / "storage" / "abc").mkdir(parents=True)
    (folder / "pb_hooks").mkdir()
    (folder / "pb_data" / "data.db").write_bytes(b"x" * 1000)
    (folder / "pb_data" / "storage" / "abc" / "image.png").write_bytes(b"x" * 200)
    (folder / "pb_hooks" / "main.pb.js").write_bytes(b"x" * 30)
    os.link(folder / "pb_data" / "data.db", folder / "pb_data" / "again.db")
    found = measure_folder(folder, Errand())
    files = [folder / name for name in ("pb_data/data.db", "pb_data/storage/abc/image.png", "pb_hooks/main.pb.js")]
    folders = [folder, *(path for path in folder.rglob("*") if path.is_dir())]
    assert (found.bytes, found.names, found.whole) == (on_disk(*files, *folders), 8, True)
    assert on_disk(*files) >= 1230


def test_no_link_is_followed_and_nothing_is_opened(tmp_path: Path) -> None:
    folder, elsewhere = tmp_path / "instance", tmp_path / "elsewhere"
    folder.mkdir()
    elsewhere.mkdir()
    (elsewhere / "secret").write_bytes(b"x" * 5000)
    (folder / "folder").symlink_to(elsewhere)
    (folder / "file").symlink_to(elsewhere / "secret")
    (folder / "loop").symlink_to(folder)
    os.mkfifo(folder / "pipe")
    assert measure_folder(folder, Errand()).bytes == on_disk(folder)
    (tmp_path / "link").symlink_to(elsewhere)
    with pytest.raises(OSError):
        measure_folder(tmp_path / "link", Errand())


def test_a_folder_that_turns_into_a_link_leads_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, elsewhere = tmp_path / "instance", tmp_path / "elsewhere"
    (folder / "storage").mkdir(parents=True)
    elsewhere.mkdir()
    (elsewhere / "secret").write_bytes(b"x" * 5000)
    look = sizes._stat

    def look_and_swap(entry: os.DirEntry[str]) -> os.stat_result | None:
        known = look(entry)
        (folder / "storage").rmdir()
        (folder / "storage").symlink_to(elsewhere)
        return known

    monkeypatch.setattr(sizes, "_stat", look_and_swap)
    alone = on_disk(folder)
    assert measure_folder(folder, Errand()).bytes == alone


def test_what_is_too_much_or_too_deep_says_so(tmp_path: Path) -> None:
    for number in range(20):
        (tmp_path / f"{number}").write_bytes(b"x")
    found = measure_folder(tmp_path, Errand(), most=10)
    assert (found.names, found.whole, found.too_deep) == (10, False, False)
    deep = tmp_path / "deep"
    deep.mkdir()
    here = os.open(deep, os.O_RDONLY)
    for _ in range(150):
        os.mkdir("d", dir_fd=here)
        inner = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = inner
    os.close(here)
    found = measure_folder(deep, Errand())
    assert (found.whole, found.too_deep) == (False, True)


def test_it_ends_when_nobody_waits_any_more(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    errand = Errand()
    errand.stop()
    with pytest.raises(Stopped):
        measure_folder(tmp_path, errand)
