"""Copying a tenant's folder: everything that is the tenant's, and nothing that leads elsewhere."""

from __future__ import annotations

import os
import shutil
import socket
import stat
import threading
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pocketfleet.errors import DiskTrouble
from pocketfleet.runtime import file_copying
from pocketfleet.runtime.copying import copy_file, copy_tree, measure, plain, stays_inside
from pocketfleet.runtime.disk import exchange
from pocketfleet.runtime.errands import Errand, Stopped
from tests.unit.copies.folders import errand


@pytest.fixture
def tenant(tmp_path: Path) -> Path:
    """A tenant's folder, and beside it a secret of somebody else's."""
    (tmp_path / "secret.txt").write_text("not yours")
    (tmp_path / "others").mkdir()
    (tmp_path / "others" / "deep.txt").write_text("not yours")
    folder = tmp_path / "tenant"
    (folder / "a" / "b").mkdir(parents=True)
    (folder / "a" / "b" / "own.txt").write_text("mine")
    return folder


def test_everything_ordinary_comes_along(tenant: Path, tmp_path: Path) -> None:
    (tenant / "empty").mkdir()
    (tenant / "a" / "run.sh").write_text("#!/bin/sh")
    (tenant / "a" / "run.sh").chmod(0o4755)
    (tenant / "a" / "locked").mkdir(mode=0o500)
    (tenant / "nothing.txt").touch()
    odd = os.fsencode(tenant) + b"/\xff\xfe.txt"
    with open(odd, "wb") as opened:  # noqa: PTH123 - a name that is no text
        opened.write(b"odd")
    os.utime(tenant / "a" / "b" / "own.txt", ns=(1, 1_000_000_007))
    done = copy_tree(tenant, tmp_path / "copy", errand())
    copy = tmp_path / "copy"
    assert (copy / "a" / "b" / "own.txt").read_text() == "mine"
    assert (copy / "a" / "b" / "own.txt").stat().st_mtime_ns == 1_000_000_007
    assert (copy / "empty").is_dir()
    assert stat.S_IMODE((copy / "a" / "run.sh").stat().st_mode) == 0o755
    assert stat.S_IMODE((copy / "a" / "locked").stat().st_mode) == 0o700
    assert (done.files, done.bytes, done.left_out) == (4, 4 + 9 + 0 + 3, [])
    counted = measure(copy)
    assert (counted.files, counted.bytes) == (done.files, done.bytes)


def test_links_and_special_things_are_left_out_with_a_word(tenant: Path, tmp_path: Path) -> None:
    (tenant / "to-file").symlink_to("../secret.txt")
    (tenant / "to-folder").symlink_to(tmp_path / "others")
    (tenant / "a" / "b" / "far").symlink_to("../../../secret.txt")
    (tenant / "inside").symlink_to("a/b/own.txt")
    (tenant / "a" / "up").symlink_to("../a/b")
    os.link(tmp_path / "secret.txt", tenant / "hard")
    os.mkfifo(tenant / "fifo")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tenant / "socket"))
    if os.geteuid() == 0:
        os.mknod(tenant / "device", stat.S_IFCHR | 0o600, os.makedev(1, 5))
    done = copy_tree(tenant, tmp_path / "copy", errand())
    copy = tmp_path / "copy"
    names = {str(path.relative_to(copy)) for path in copy.rglob("*")}
    assert names == {"a", "a/b", "a/b/own.txt", "inside", "a/up"}
    assert (copy / "inside").readlink() == Path("a/b/own.txt")
    words = {word.partition(":")[0] for word in done.left_out}
    assert words == {"to-file", "to-folder", "a/b/far", "hard", "fifo", "socket"} | (
        {"device"} if os.geteuid() == 0 else set()
    )
    assert "another name outside" in next(word for word in done.left_out if word.startswith("hard"))


def test_a_file_whose_names_are_all_inside_comes_along(tenant: Path, tmp_path: Path) -> None:
    os.link(tenant / "a" / "b" / "own.txt", tenant / "again.txt")
    done = copy_tree(tenant, tmp_path / "copy", errand())
    assert (tmp_path / "copy" / "again.txt").read_text() == (tmp_path / "copy" / "a" / "b" / "own.txt").read_text()
    assert (tmp_path / "copy" / "again.txt").stat().st_nlink == 1
    assert done.left_out == []


def test_names_that_change_while_they_are_copied_lead_nowhere(tenant: Path, tmp_path: Path) -> None:
    """A file and a link to a secret, and a folder and a link to others', swap names all the time."""
    (tenant / "file").write_text("mine")
    (tenant / "folder").mkdir()
    (tenant / "folder" / "deep.txt").write_text("mine")
    (tenant / "link-file").symlink_to(tmp_path / "secret.txt")
    (tenant / "link-folder").symlink_to(tmp_path / "others")
    over = threading.Event()

    def swap() -> None:
        while not over.is_set():
            for name in ("file", "folder"):
                exchange(tenant / name, tenant / f"link-{name}")

    swapping = threading.Thread(target=swap)
    swapping.start()
    try:
        for number in range(300):
            copy = tmp_path / f"copy-{number}"
            copy_tree(tenant, copy, errand())
            found = {path.read_text() for path in copy.rglob("*") if path.is_file() and not path.is_symlink()}
            assert found <= {"mine"}
    finally:
        over.set()
        swapping.join()


def test_a_second_pass_finds_everything_changed(tenant: Path, tmp_path: Path) -> None:
    kinds: list[Callable[[Path], object]] = [
        lambda path: path.write_text("file"),
        lambda path: (path / "inner").mkdir(parents=True),
        lambda path: path.symlink_to("a"),
    ]
    for first in kinds:
        for second in kinds:
            copy = tmp_path / "copy"
            for number, kind in enumerate((first, second)):
                kind(tenant / "x")
                assert copy_tree(tenant, copy, errand()).left_out == [], number
                known = (tenant / "x").lstat()
                assert stat.S_IFMT((copy / "x").lstat().st_mode) == stat.S_IFMT(known.st_mode)
                shutil.rmtree(tenant / "x") if stat.S_ISDIR(known.st_mode) else (tenant / "x").unlink()
            shutil.rmtree(copy)


def test_what_did_not_change_is_shared_with_an_earlier_copy_and_never_with_the_tenant(
    tenant: Path, tmp_path: Path
) -> None:
    (tenant / "a" / "changes.txt").write_text("one")
    first, second = tmp_path / "first", tmp_path / "second"
    copy_tree(tenant, first, errand(), linkable=lambda path: True)
    (tenant / "a" / "changes.txt").write_text("two")
    os.utime(tenant / "a" / "changes.txt", ns=(5, 5))
    done = copy_tree(tenant, second, errand(), base=first, linkable=lambda path: path.startswith("a/"))
    assert done.linked == 1
    assert (first / "a/b/own.txt").stat().st_ino == (second / "a/b/own.txt").stat().st_ino
    assert (first / "a/changes.txt").read_text() == "one"
    assert (second / "a/changes.txt").read_text() == "two"
    assert (tenant / "a/b/own.txt").stat().st_nlink == 1
    # a third pass over a copy that shares files replaces them instead of writing into them
    (tenant / "a/b/own.txt").write_text("other")
    copy_tree(tenant, second, errand())
    assert (second / "a/b/own.txt").read_text() == "other"
    assert (first / "a/b/own.txt").read_text() == "mine"


def test_a_copy_of_ours_may_have_names_elsewhere(tenant: Path, tmp_path: Path) -> None:
    os.link(tenant / "a/b/own.txt", tmp_path / "other-snapshot.txt")
    assert copy_tree(tenant, tmp_path / "theirs", errand()).files == 0
    done = copy_tree(tenant, tmp_path / "ours", errand(), ours=True)
    assert (done.files, done.left_out) == (1, [])
    assert (tmp_path / "ours/a/b/own.txt").stat().st_nlink == 1


def test_holes_stay_holes(tenant: Path, tmp_path: Path) -> None:
    with (tenant / "sparse").open("wb") as opened:
        opened.truncate(10**10)
        opened.seek(5_000_000_000)
        opened.write(b"in the middle")
    copy_tree(tenant, tmp_path / "copy", errand())
    made = (tmp_path / "copy" / "sparse").stat()
    assert made.st_size == 10**10
    assert made.st_blocks * 512 < 10**7
    with (tmp_path / "copy" / "sparse").open("rb") as opened:
        opened.seek(5_000_000_000)
        assert opened.read(13) == b"in the middle"


def test_content_is_the_same_whatever_the_file_system_offers(
    tenant: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = os.urandom(3_000_001)
    (tenant / "large").write_bytes(content)
    copy_tree(tenant, tmp_path / "one", errand())

    def unknown(*arguments: object) -> int:
        raise OSError(95, "not supported")

    monkeypatch.setattr(os, "copy_file_range", unknown)
    copy_tree(tenant, tmp_path / "two", errand())
    assert (tmp_path / "one" / "large").read_bytes() == content
    assert (tmp_path / "two" / "large").read_bytes() == content


def test_a_disk_that_gets_full_is_left_to_others(tenant: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_copying, "RESERVE", 10**18)
    with pytest.raises(DiskTrouble, match="nearly full"):
        copy_tree(tenant, tmp_path / "copy", errand())


def test_a_thing_that_is_called_off_ends(tenant: Path, tmp_path: Path) -> None:
    called_off = Errand()
    called_off.stop()
    with pytest.raises(Stopped):
        copy_tree(tenant, tmp_path / "copy", called_off)


def test_very_deep_folders_are_left_out(tenant: Path, tmp_path: Path) -> None:
    deep = tenant
    for _ in range(120):
        deep = deep / "d"
    deep.mkdir(parents=True)
    done = copy_tree(tenant, tmp_path / "copy", errand())
    assert "folders deep" in done.left_out[0]


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo])
def test_one_file_is_a_file(tmp_path: Path, make: object) -> None:
    make(tmp_path / "odd")  # type: ignore[operator]
    with pytest.raises(DiskTrouble, match="not a plain file"):
        copy_file(tmp_path / "odd", tmp_path / "copy", errand())


@given(st.lists(st.sampled_from(["..", "a", "b", "."]), min_size=1, max_size=6), st.integers(1, 4))
def test_a_link_that_is_kept_stays_inside(parts: list[str], depth: int) -> None:
    """Against the meaning of paths: with real folders on the way it never leaves the top."""
    path = PurePosixPath(*["f"] * depth)
    level, lowest = depth - 1, 0
    for part in parts:
        level += {"..": -1, ".": 0}.get(part, 1)
        lowest = min(lowest, level)
    if stays_inside(path, "/".join(parts)):
        assert lowest >= 0
    assert not stays_inside(path, "/" + "/".join(parts))


def test_names_can_be_shown() -> None:
    assert plain("caf\u00e9") == "caf\u00e9"
    assert plain(os.fsdecode(b"\xff\n")) == "\ufffd\ufffd"
