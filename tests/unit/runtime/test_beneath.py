"""Reaching what lies in a hostile folder: the same by the kernel's call and step by step, and nothing outside it."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import pytest

from pocketfleet.runtime import beneath
from pocketfleet.runtime.beneath import exists, open_beneath, open_file, stat_beneath, walk, walk_below
from pocketfleet.runtime.disk import opened_folder
from pocketfleet.runtime.removing import remove_tree


@pytest.fixture(params=[True, False], ids=["openat2", "step by step"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param and not beneath._knows_openat2():
        pytest.skip("this kernel has no openat2")
    monkeypatch.setattr(beneath, "_knows_openat2", lambda: bool(request.param))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A tenant's, and a file outside that nobody may reach."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret").write_text("CANARY")
    made = tmp_path / "tenant"
    (made / "a" / "b").mkdir(parents=True)
    (made / "a" / "b" / "file").write_text("own")
    return made


TRAPS: dict[str, Callable[[Path, Path], object]] = {
    "absolute": lambda path, secret: path.symlink_to(secret),
    "relative": lambda path, secret: path.symlink_to(os.path.relpath(secret, path.parent)),
    "inside": lambda path, secret: path.symlink_to("../a/b/file"),
    "hard": lambda path, secret: path.hardlink_to(secret),
    "fifo": lambda path, secret: os.mkfifo(path),
    "folder": lambda path, secret: path.mkdir(),
    "socket": lambda path, secret: socket.socket(socket.AF_UNIX).bind(str(path)),
    "magic": lambda path, secret: path.symlink_to("/proc/self/root"),
}


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("trap", TRAPS)
def test_no_trap_is_opened_as_a_file(folder: Path, trap: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)  # a socket's address is short
    TRAPS[trap](Path("a/trap"), folder.parent / "outside" / "secret")
    with opened_folder(folder) as opened:
        with pytest.raises(OSError):
            open_file(opened, "a/trap")
        assert exists(folder, "a/trap"), "it is there, as what it is"


@pytest.mark.usefixtures("way")
def test_no_folder_on_the_way_may_be_a_link_and_there_is_no_way_up(folder: Path) -> None:
    (folder / "link").symlink_to("a/b")
    (folder / "out").symlink_to("../outside")
    with opened_folder(folder) as opened:
        for path in ("link/file", "out/secret", "../outside/secret", "/etc/hostname", str(folder / "a/b/file")):
            with pytest.raises(OSError):
                open_beneath(opened, path, os.O_RDONLY)
            with pytest.raises(OSError):
                stat_beneath(opened, path)
            assert not exists(folder, path)
        with open_file(opened, "a/b/file") as file:
            assert file.read() == b"own"
        assert stat.S_ISLNK(stat_beneath(opened, "link").st_mode), "a link is looked at, not followed"


@pytest.mark.usefixtures("way")
def test_a_walk_names_everything_and_enters_folders_alone(folder: Path) -> None:
    (folder / "a" / "loop").symlink_to("..")
    (folder / "out").symlink_to("../outside")
    os.mkfifo(folder / "fifo")
    with opened_folder(folder) as opened:
        found = {str(entry.path): (entry.is_file, entry.is_link) for entry in walk(opened)}
    links = dict.fromkeys(("a/loop", "out"), (False, True))
    assert found == {"a/b/file": (True, False), "fifo": (False, False), **links}
    assert list(walk_below(folder, "out")) == []
    assert list(walk_below(folder, "missing")) == []
    assert [str(entry.path) for entry in walk_below(folder, "a", lambda path: path.name != "b")] == ["loop"]


@pytest.mark.usefixtures("way")
def test_what_is_exchanged_while_a_walk_stands_before_it_leads_nowhere(folder: Path) -> None:
    (folder / "a" / "c").mkdir()
    (folder / "a" / "c" / "secret").write_text("own")
    seen = []
    for entry in walk_below(folder.parent, folder.name):
        if entry.path == PurePosixPath("a/b/file"):
            # the next folder, and the very file that was looked at
            (folder / "a" / "c").rename(folder / "away")
            (folder / "a" / "c").symlink_to(folder.parent / "outside")
            (folder / "a" / "b" / "file").unlink()
            (folder / "a" / "b" / "file").symlink_to(folder.parent / "outside" / "secret")
            with pytest.raises(OSError):
                entry.open()
        elif entry.is_file:
            with entry.open() as file:
                seen.append(file.read())
    assert b"CANARY" not in b"".join(seen)


def test_a_folder_of_any_depth_and_mode_is_removed_and_nothing_that_it_leads_to(folder: Path) -> None:
    here = os.open(folder, os.O_RDONLY)
    for number in range(1200):
        name = f".up-{number % 7}"  # names that we might have chosen
        os.mkdir(name, dir_fd=here)
        os.symlink("/etc", "link", dir_fd=here)
        os.mkfifo("fifo", dir_fd=here)
        inner = os.open(name, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = inner
    os.close(here)
    (folder / "out").symlink_to(folder.parent / "outside")
    (folder / "a" / "b").chmod(0)
    (folder / "a").chmod(0o500)
    remove_tree(folder)
    assert not folder.exists()
    assert (folder.parent / "outside" / "secret").read_text() == "CANARY"
    folder.symlink_to("outside")
    remove_tree(folder)
    assert [path.name for path in folder.parent.iterdir()] == ["outside"]
    remove_tree(folder)
