"""A copy made ahead and looked through again is what a fresh copy would be, whatever a tenant did in between."""

from __future__ import annotations

import os
import shutil
import stat
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pocketfleet.runtime import ledgers
from pocketfleet.runtime.copying import Copied, copy_tree, measure
from pocketfleet.runtime.ledgers import Ledger
from tests.unit.copies.folders import errand

#: Seconds in which the clock of a file system ticks for sure; what is older is believed in these tests.
TICK = 0.03


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two seconds for each would take long."""
    monkeypatch.setattr(ledgers, "RACY", TICK)


def passed_over(path: str) -> bool:
    """As databases are."""
    return path.endswith(".db")


def prepared(tenant: Path, copy: Path, base: Path | None = None) -> Ledger:
    """The first pass, of what has lain there for a while."""
    time.sleep(2 * TICK)
    ledger = Ledger()
    copy_tree(tenant, copy, errand(), skip=passed_over, base=base, linkable=lambda path: True, exact=True, notes=ledger)
    return ledger


def finished(tenant: Path, copy: Path, since: Ledger | None) -> Copied:
    """The second one."""
    return copy_tree(tenant, copy, errand(), skip=passed_over, linkable=lambda path: True, exact=True, since=since)


def told(folder: Path) -> dict[str, object]:
    """All that a copy is: kinds, modes, contents, times of files."""
    found: dict[str, object] = {}
    for path in sorted(folder.rglob("*")):
        known = path.lstat()
        facts: tuple[object, ...] = (stat.S_IFMT(known.st_mode),)
        if stat.S_ISREG(known.st_mode):
            facts = (*facts, known.st_mode, known.st_mtime_ns, path.read_bytes())
        elif stat.S_ISLNK(known.st_mode):
            facts = (*facts, str(path.readlink()))
        else:
            facts = (*facts, known.st_mode, known.st_mtime_ns)
        found[str(path.relative_to(folder))] = facts
    return found


@pytest.fixture
def tenant(tmp_path: Path) -> Path:
    """Records with files, as PocketBase lays them down."""
    folder = tmp_path / "tenant"
    for record in ("r1", "r2", "r3"):
        (folder / "c" / record).mkdir(parents=True)
        (folder / "c" / record / "note.txt").write_text(f"of {record}")
        os.utime(folder / "c" / record / "note.txt", ns=(5, 5))
    (folder / "link").symlink_to("c/r1")
    (tmp_path / "secret.txt").write_text("not yours")
    return folder


def in_place(path: Path) -> None:
    """Another content of the same length, and the times of before: nothing but the change time tells."""
    known = path.stat()
    with path.open("r+") as opened:
        opened.write("OF")
    os.utime(path, ns=(known.st_atime_ns, known.st_mtime_ns))


def swapped(folder: Path) -> None:
    """Files move along with their folders, and keep their change times."""
    (folder / "c/r1").rename(folder / "c/away")
    (folder / "c/r2").rename(folder / "c/r1")
    (folder / "c/away").rename(folder / "c/r2")


def replaced(folder: Path, make: Callable[[Path], object]) -> None:
    """Something else has the file's name."""
    path = folder / "c/r1/note.txt"
    path.unlink()
    make(path)


def without_r3(folder: Path, make: Callable[[Path], object]) -> None:
    """Something else has the name of a record's folder."""
    shutil.rmtree(folder / "c/r3")
    make(folder / "c/r3")


def relinked(folder: Path) -> None:
    """The link leads to another record."""
    (folder / "link").unlink()
    (folder / "link").symlink_to("c/r2")


CHANGES: dict[str, Callable[[Path], object]] = {
    "nothing": lambda folder: None,
    "a file added": lambda folder: (folder / "c/r1/more.txt").write_text("more"),
    "a record added": lambda folder: (folder / "c/r4/deep").mkdir(parents=True),
    "a file removed": lambda folder: (folder / "c/r1/note.txt").unlink(),
    "a record removed": lambda folder: shutil.rmtree(folder / "c/r2"),
    "everything removed": lambda folder: shutil.rmtree(folder / "c"),
    "changed in place, times of before": lambda folder: in_place(folder / "c/r1/note.txt"),
    "another mode": lambda folder: (folder / "c/r1/note.txt").chmod(0o640),
    "another mode of a folder": lambda folder: (folder / "c/r2").chmod(0o750),
    "two records swap names": swapped,
    "a folder instead": lambda folder: replaced(folder, lambda path: (path / "inner").mkdir(parents=True)),
    "a link instead": lambda folder: replaced(folder, lambda path: path.symlink_to("../r2/note.txt")),
    "a link to outside instead": lambda folder: replaced(folder, lambda path: path.symlink_to("/etc/hostname")),
    "a FIFO instead": lambda folder: replaced(folder, os.mkfifo),
    "a name outside": lambda folder: os.link(folder / "c/r1/note.txt", folder.parent / "outside.txt"),
    "a foreign file": lambda folder: replaced(folder, (folder.parent / "secret.txt").rename),
    "a file instead of a folder": lambda folder: without_r3(folder, lambda path: path.write_text("x")),
    "a link instead of a folder": lambda folder: without_r3(folder, lambda path: path.symlink_to("r1")),
    "another link": relinked,
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("kept", [True, False])
def test_a_second_pass_is_exact(tenant: Path, tmp_path: Path, change: str, kept: bool) -> None:
    """`kept`: the ledger; without it times are all there is to go by."""
    base, copy = tmp_path / "base", tmp_path / "copy"
    copy_tree(tenant, base, errand())
    ledger = prepared(tenant, copy, base)
    (copy / "made.db").write_text("by somebody else")
    CHANGES[change](tenant)
    done = finished(tenant, copy, ledger if kept else None)
    fresh = copy_tree(tenant, tmp_path / "fresh", errand(), skip=passed_over)
    assert (copy / "made.db").read_text() == "by somebody else"
    (copy / "made.db").unlink()
    found, expected = told(copy), told(tmp_path / "fresh")
    if not kept and change in ("changed in place, times of before", "two records swap names"):
        # nothing but the ledger can tell
        assert found.keys() == expected.keys()
    else:
        assert found == expected
    assert (done.files, done.bytes) == (fresh.files, fresh.bytes) == (measure(copy).files, measure(copy).bytes)
    assert sorted(done.left_out) == sorted(fresh.left_out)
    for record in ("r1", "r2", "r3"):
        assert (base / "c" / record / "note.txt").read_text() == f"of {record}", "what it shares stays as it was"


def test_what_did_not_change_is_not_looked_at(tenant: Path, tmp_path: Path) -> None:
    ledger = prepared(tenant, tmp_path / "copy")
    # nobody does that; it shows that the second pass believes its ledger
    (tmp_path / "copy/c/r2/note.txt").unlink()
    (tenant / "c/r1/more.txt").write_text("more")
    assert finished(tenant, tmp_path / "copy", ledger).files == 4
    assert (tmp_path / "copy/c/r1/more.txt").exists()
    assert not (tmp_path / "copy/c/r2/note.txt").exists()


def test_what_had_just_changed_when_it_was_read_is_not_believed(
    tenant: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledgers, "RACY", 3600.0)
    base, copy = tmp_path / "base", tmp_path / "copy"
    copy_tree(tenant, base, errand())
    ledger = prepared(tenant, copy, base)
    assert (copy / "c/r1/note.txt").stat().st_nlink == 2
    finished(tenant, copy, ledger)
    assert (copy / "c/r1/note.txt").stat().st_nlink == 1, "copied anew"


def test_a_pass_that_was_broken_off_can_be_made_again(tenant: Path, tmp_path: Path) -> None:
    ledger = prepared(tenant, tmp_path / "copy")
    (tenant / "c/r1/note.txt").write_text("changed")
    (tenant / "c/r3/more.txt").write_text("more")
    finished(tenant / "c", tmp_path / "copy" / "c", None)
    shutil.rmtree(tmp_path / "copy/c/r3")
    (tmp_path / "copy/c/r3").mkdir()
    (tmp_path / "copy/c/r3/note.txt").write_text("half")
    (tmp_path / "copy/c/r1/note.txt").write_text("half")
    finished(tenant, tmp_path / "copy", None)
    assert told(tmp_path / "copy") == told(tenant)
    finished(tenant, tmp_path / "copy", ledger)
    assert told(tmp_path / "copy") == told(tenant)


#: A tree: names to contents or to trees.
Tree = dict[str, "str | Tree"]
NAMES = st.sampled_from(["a", "b", "c", "d.db"])
TREES: st.SearchStrategy[Tree] = st.recursive(
    st.dictionaries(NAMES, st.sampled_from(["", "one", "two", "->a", "->../b", "|"]), max_size=3),
    lambda inner: st.dictionaries(NAMES, inner | st.sampled_from(["one", "->b"]), max_size=3),
    max_leaves=8,
)


def grow(tree: Tree, folder: Path) -> None:
    """Make it so, and touch nothing that is so already."""
    folder.mkdir(exist_ok=True)
    for path in folder.iterdir():
        if path.name not in tree:
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    for name, content in tree.items():
        path = folder / name
        if isinstance(content, dict):
            if path.is_symlink() or (path.exists() and not path.is_dir()):
                path.unlink()
            grow(content, path)
        elif told_of(path) != content:
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink(missing_ok=True)
            if content.startswith("->"):
                path.symlink_to(content[2:])
            elif content == "|":
                os.mkfifo(path)
            else:
                path.write_text(content)
                os.utime(path, ns=(5, 5))


def told_of(path: Path) -> str | None:
    """What makes it so."""
    if path.is_symlink():
        return f"->{path.readlink()}"
    if path.is_fifo():
        return "|"
    return path.read_text() if path.is_file() else None


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(TREES, TREES, st.booleans())
def test_whatever_it_was_and_became(tmp_path: Path, was: Tree, became: Tree, kept: bool) -> None:
    place = tmp_path / "one"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    tenant, copy, fresh = place / "tenant", place / "copy", place / "fresh"
    grow(was, tenant)
    ledger = prepared(tenant, copy)
    grow(became, tenant)
    if not kept:
        # contents of one length and time are the same to a pass that has no ledger
        for path in tenant.rglob("*"):
            if path.is_file() and not path.is_symlink():
                os.utime(path, ns=(5, path.stat().st_ino))
    done = finished(tenant, copy, ledger if kept else None)
    whole = copy_tree(tenant, fresh, errand(), skip=passed_over)
    assert told(copy) == told(fresh)
    assert (done.files, done.bytes, sorted(done.left_out)) == (whole.files, whole.bytes, sorted(whole.left_out))
