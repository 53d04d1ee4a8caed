"""The power is lost at every step: what was not flushed to the disk is gone, and all is wholly old or wholly new."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.crash.power import Disk
from tests.crash.test_upgrading import NEW, OLD, begin, ended, has_begun, is_whole, make_shop
from tests.server import Server

pytestmark = pytest.mark.timeout(600)

#: Those after which something must be on the disk; the others have changed nothing yet, and are for `make soak`.
STEPS = ("switch", "commit")
OTHERS = ("hold", "resolve", "snapshot", "rehearse", "decide", "backup", "prepare", "checkpoint", "verify", "open")


@pytest.fixture(scope="module")
def disk() -> Iterator[Disk]:
    """Mounted and empty."""
    folder = Path(tempfile.mkdtemp(prefix="pf-", dir="/tmp"))
    made = Disk(folder / "image", folder / "disk")
    try:
        if not made.make():
            pytest.skip("NO LOSS OF POWER IS TESTED HERE: that takes root, loop devices and ext4")
        yield made
        made.remove()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def server(disk: Disk) -> Iterator[Server]:
    """All of it on that disk."""
    made = Server(disk.place / "home", versions=(OLD, NEW), counted=False)
    made.output = disk.place.with_name("output")
    made.home.mkdir()
    try:
        yield made.start()
    finally:
        made.clean()


def lose_power(server: Server, disk: Disk) -> None:
    """At once, for everything; and start again."""
    everybody = server.leftovers()
    disk.cut()
    server.drop(everybody)
    disk.restore()
    server.start()


@pytest.mark.parametrize("step", [*STEPS, *(pytest.param(step, marks=pytest.mark.soak) for step in OTHERS)])
def test_an_upgrade_without_power(server: Server, disk: Disk, step: str) -> None:
    name = f"at-{step}"
    make_shop(server, name)
    # PocketBase itself keeps what was written a moment ago in the machine's memory
    disk.flush()
    operation_id = begin(server, name)
    while not has_begun(server, operation_id, step):
        time.sleep(0.005)
    lose_power(server, disk)
    is_whole(server, name, ended(server, operation_id), 0)


def test_what_has_ended_stays_so(server: Server, disk: Disk) -> None:
    make_shop(server, "upgraded")
    disk.flush()
    operation = ended(server, begin(server, "upgraded"))
    lose_power(server, disk)
    assert operation["state"] == ended(server, operation["id"])["state"] == "succeeded"
    is_whole(server, "upgraded", operation, 0)
    restored = server.api.post("/instances/upgraded/rollback", json={"snapshot": operation["result"]["snapshot"]})
    assert restored.status_code == 202, restored.text
    back = ended(server, restored.json()["operation"]["id"])
    lose_power(server, disk)
    assert back["state"] == ended(server, back["id"])["state"] == "succeeded"
    assert server.show("upgraded")["release"] == OLD
    is_whole(server, "upgraded", {**back, "state": "rolled_back"}, 0)
