"""Where the file system holds projects to limits, no tenant gets past its storage until it is measured."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from pocketfleet.domain.addresses import user_of
from pocketfleet.runtime.disk import opened_folder
from pocketfleet.runtime.projects import mark
from pocketfleet.runtime.sandbox.quotas import Quotas
from pocketfleet.runtime.sandbox.walls import SLACK
from pocketfleet.runtime.sizes import Amount, most_names
from tests.attacks.conftest import STORAGE, Scene, made_scene
from tests.projects import CountedDisk
from tests.sandboxes import needs_sandbox
from tests.server import until

pytestmark = needs_sandbox

#: What SQLite and PocketBase write meanwhile, and the attacker's own Python, measured before or not.
_ELSE = 40_000_000
_REFUSED = {"ENOSPC", "EDQUOT"}


@pytest.fixture(scope="module", params=["xfs", "ext4"])
def disk(request: pytest.FixtureRequest) -> Iterator[Path]:
    """An empty one."""
    folder = Path(tempfile.mkdtemp(prefix="pf-", dir="/tmp"))
    made = CountedDisk(folder, request.param)
    try:
        if not made.mount(held=True):
            pytest.skip(f"PROJECT QUOTAS OF {request.param.upper()} ARE NOT TESTED HERE: {made.why_not}")
        yield made.place
        made.unmount()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def scene(disk: Path) -> Iterator[Scene]:
    """The attacker and its neighbour, on that disk."""
    home = disk / "home"
    home.mkdir()
    with made_scene(home) as made:
        # under a limit files are marked at the next start, and a program that was brought is no one's but root's
        made.server.cli("sleep", made.attacker)
        yield made


def taken(folder: Path) -> int:
    """Bytes on the disk."""
    return sum(path.lstat().st_blocks * 512 for path in folder.rglob("*"))


def answers(scene: Scene, status: int) -> bool:
    with scene.server.client(scene.attacker) as client:
        return client.get("/api/health").status_code == status


def made_well(scene: Scene, *junk: str) -> None:
    """It was put to sleep whole, and after its owner has made room it is as before."""
    folder = scene.server.folder(scene.attacker)
    until(lambda: answers(scene, 507), 60, "its being noticed")
    scene.neighbour_is_well()
    data = folder / "pb_data" / "data.db"
    with contextlib.closing(sqlite3.connect(f"file:{data}?mode=ro&immutable=1", uri=True)) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    scene.server.cli("power", scene.attacker, "off")
    scene.server.cli("power", scene.attacker, "on")
    assert answers(scene, 200), "it may be awake for its owner to make room"
    for name in junk:
        shutil.rmtree(folder / name) if (folder / name).is_dir() else (folder / name).unlink()
    scene.server.cli("sleep", scene.attacker)
    until(lambda: answers(scene, 200), 30, "it to be as before")


def test_more_than_the_wall_is_never_on_the_disk(scene: Scene) -> None:
    found = scene.attack("pour", 1_500_000_000)
    most = STORAGE + SLACK.bytes + _ELSE
    assert found["outcome"] in _REFUSED
    assert found["poured"] < most
    assert taken(scene.server.folder(scene.attacker)) < most
    made_well(scene, "junk")


def test_many_files_are_bounded_too(scene: Scene) -> None:
    found = scene.attack("litter", 200_000)
    assert found["outcome"] in _REFUSED
    assert found["made"] < most_names(STORAGE) + SLACK.names + 2_000
    made_well(scene, "litter")


def test_no_tenant_is_counted_by_another_project(scene: Scene) -> None:
    own = user_of(scene.address(scene.attacker).partition(":")[0])
    found = scene.attack("uncount", user_of(scene.address(scene.neighbour).partition(":")[0]))
    assert {name: each.pop("project") for name, each in found.items()} == {".": own, "pb_data/data.db": own}
    assert [each.pop("handed down") for each in found.values()] == [True, False]
    # a file hands nothing down, so that nothing changes there
    assert found["pb_data/data.db"].pop("no longer handed down") in {"done", "EINVAL", "EPERM"}
    assert {outcome for each in found.values() for outcome in each.values()} <= {"EINVAL", "EPERM"}


def test_the_wall_is_gone_where_nothing_runs(scene: Scene) -> None:
    """Our own work on the files never meets it, and a full quota does not look like a full disk."""
    with scene.server.client(scene.attacker) as client:
        assert client.get("/api/health").status_code == 200
    folder = scene.server.folder(scene.attacker)
    assert os.statvfs(folder).f_blocks * os.statvfs(folder).f_frsize < 2 * (STORAGE + SLACK.bytes)
    scene.server.cli("sleep", scene.attacker)
    assert os.statvfs(folder).f_blocks * os.statvfs(folder).f_frsize > 1_500_000_000


def test_a_limit_is_in_force_at_once(disk: Path) -> None:
    """And what is known of a project that nobody has heard of is nothing."""
    folder, project = disk / "alone", 3_000_000_000
    folder.mkdir()
    quotas = Quotas(disk)
    assert quotas.open() == ""
    try:
        assert quotas.used(project) == Amount(0, 0)
        with opened_folder(folder) as opened:
            mark(opened, project)
        (folder / "before").write_bytes(bytes(30_000_000))
        os.sync()
        used = quotas.used(project)
        assert 30_000_000 <= used.bytes < 31_000_000
        assert used.names == 2
        quotas.hold(project, used + Amount(1_000_000, 10))
        room = os.statvfs(folder)
        # in whole blocks
        assert 0 < room.f_bavail * room.f_frsize <= 1_000_000 + 2 * room.f_frsize
        quotas.hold(project, None)
        assert os.statvfs(folder).f_bavail * room.f_frsize > 1_000_000_000
    finally:
        quotas.close()
        shutil.rmtree(folder)
