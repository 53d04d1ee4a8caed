"""A disk that gets full in every step of an upgrade and of the way back: wholly old or wholly new, and it says which.

The instance's own hooks fill the disk, each in the very moment that its test is about: when PocketBase is stopped,
before it migrates, while it is verified. A rehearsal does not see the order to do so, since it lies outside of its
sandbox.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.load import Load
from tests.server import Server, until
from tests.shops import NEW, OLD, Shop

ENDED = ("succeeded", "failed", "rolled_back")
MEGABYTES = 200
#: Seconds for which the disk stays full; the undoing of a step is tried again for some ten seconds.
FULL = {"beside": 3.0, "elsewhere": 16.0}

#: Each FILL does what a file says whose name is that of the moment, where there is such a file.
FILL = """try { $os.readFile("%s-NAME"); $os.cmd("sh", "%s-NAME").output() } catch (_) { }"""
HOOKS = """
routerAdd("GET", "/fill", (c) => { FILL(verify); return c.json(200, {}) })
if (typeof onBootstrap === "function") {
  onBootstrap((e) => { FILL(switch); e.next() })
  onTerminate((e) => { FILL(back); e.next() })
} else {
  onTerminate((e) => { FILL(checkpoint) })
}
"""
PROBE = {"method": "GET", "path": "/fill", "expect_status": 200, "safe": True}
FAILING = {"method": "GET", "path": "/api/health", "expect_status": 418, "safe": True}


@dataclass
class Cramped:
    """A server whose home is all there is on a disk; its journal may lie elsewhere, as PostgreSQL's does."""

    server: Server
    place: Path
    journal: str

    @property
    def filler(self) -> Path:
        """The file that takes all that is left."""
        return self.place / "filler"

    def hooks(self, shop: Shop) -> str:
        """Those of an instance that fills the disk, at an order of its own: others fall asleep meanwhile."""
        fill = FILL.replace("%s", str(self.place / f"order-{shop.id}"))
        return re.sub(r"FILL\((\w+)\)", lambda found: fill.replace("NAME", found[1]), HOOKS)

    def order(self, shop: Shop, moment: str) -> Path:
        """This instance fills the disk in this moment; the order is gone once it has."""
        path = self.place / f"order-{shop.id}-{moment}"
        path.write_text(f'cat /dev/zero > "{self.filler}"\nrm "{path}"\n')
        return path

    def fill(self) -> None:
        """At once."""
        with self.filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(4096))

    def empty(self) -> None:
        """There is room again."""
        self.filler.unlink(missing_ok=True)
        for order in self.place.glob("order-*"):
            order.unlink()


@contextlib.contextmanager
def on_a_small_disk(journal: str) -> Iterator[Cramped]:
    """Skips loudly where that takes rights that we do not have."""
    outside = Path(tempfile.mkdtemp(prefix="pf-", dir="/tmp"))
    home = outside / "home"
    home.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={MEGABYTES}m,mode=700", "none", str(home)]
    if subprocess.run(mount, capture_output=True).returncode != 0:
        shutil.rmtree(outside)
        pytest.skip("SKIPPED LOUDLY: mounting a small disk needs root; no upgrade met a full disk")
    if journal == "elsewhere":
        (home / "control.sqlite3").symlink_to(outside / "control.sqlite3")
    # the sandbox of a rehearsal holds the executable alone, so it must not be a script that calls another one
    # without that of instances: their hooks call a shell to fill what is outside of their folders
    server = Server(home, versions=(OLD, NEW), counted=False, sandbox="off")
    try:
        yield Cramped(server.start(), home, journal)
    finally:
        server.clean()
        subprocess.run(["umount", "-l", str(home)], check=True)
        shutil.rmtree(outside)


@pytest.fixture(scope="module", params=[pytest.param("beside", marks=pytest.mark.soak), "elsewhere"])
def cramped(request: pytest.FixtureRequest) -> Iterator[Cramped]:
    """With the journal on the full disk, it stands still until there is room; without, every step meets the disk."""
    with on_a_small_disk(str(request.param)) as found:
        yield found


def make_shop(cramped: Cramped, name: str, *probes: dict[str, Any]) -> Shop:
    """One whose hooks fill the disk when they are told to."""
    shop = Shop(cramped.server, f"{name}-{cramped.journal}")
    cramped.server.put(shop.id, "pb_hooks/main.pb.js", cramped.hooks(shop))
    cramped.server.cli("sleep", shop.name)
    answer = cramped.server.api.put(f"/instances/{shop.name}/probes", json={"items": list(probes)})
    assert answer.status_code == 200, answer.text
    return shop


def begin(cramped: Cramped, shop: Shop, what: str, **body: Any) -> str:
    """An operation's id."""
    answer = cramped.server.api.post(f"/instances/{shop.name}/{what}", json=body)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["operation"]["id"])


def upgrade(cramped: Cramped, shop: Shop) -> str:
    """One that accepts whatever is found; answers its operation's id."""
    return begin(cramped, shop, "upgrade", range=NEW, accept_changes=True)


def operation_of(cramped: Cramped, operation_id: str) -> dict[str, Any]:
    """As the API shows it; {} while control cannot say."""
    with contextlib.suppress(httpx.HTTPError):
        answer = cramped.server.api.get(f"/operations/{operation_id}")
        if answer.status_code == 200:
            found: dict[str, Any] = answer.json()
            return found
    return {}


def over(cramped: Cramped, operation_id: str) -> bool:
    """Whether it has ended in any way."""
    return operation_of(cramped, operation_id).get("state") in ENDED


def stays_full(cramped: Cramped, operation_id: str) -> None:
    """For a while, or to the operation's end; then somebody makes room."""
    deadline = time.monotonic() + FULL[cramped.journal]
    while time.monotonic() < deadline and not over(cramped, operation_id):
        time.sleep(0.1)
    cramped.empty()


def meets_a_full_disk(cramped: Cramped, operation_id: str, is_full: Callable[[], bool]) -> dict[str, Any]:
    """The operation, once the disk was full and is not any more and it has ended."""
    until(lambda: is_full() or over(cramped, operation_id), 200, "the disk to be full")
    assert is_full(), f"it never came to that: {operation_of(cramped, operation_id)}"
    stays_full(cramped, operation_id)
    until(lambda: over(cramped, operation_id), 200, f"the end of {operation_of(cramped, operation_id)}")
    return operation_of(cramped, operation_id)


def is_whole(shop: Shop, operation: dict[str, Any], before: list[Any], load: Load, release: str) -> None:
    """Awake on request with this release and all records; writes go on; nothing is held."""
    assert operation["error"] is None or "not_undone" not in operation["error"], operation
    with shop.server.client(shop.name) as client:
        # a start that failed on the full disk is not repeated at once
        until(lambda: client.get("/api/health").status_code == 200, 60, f"{shop.name} to be awake on request")
    shop.works_on(release)
    assert shop.server.show(shop.name)["state"] == "awake"
    assert {*before} <= {*shop.records()}, operation
    load.require_nothing_lost()
    with shop.server.client(shop.name) as client:
        answer = client.post("/api/collections/notes/records", json={"text": "afterwards"})
    assert answer.status_code == 200, answer.text


@pytest.fixture(autouse=True)
def room_again(cramped: Cramped) -> Iterator[None]:
    """Whatever fails, the next test has room."""
    yield
    cramped.empty()


@pytest.mark.timeout(600)
@pytest.mark.parametrize("step", ["snapshot", "rehearse", "backup"])
def test_before_anything_is_touched(cramped: Cramped, step: str) -> None:
    shop = make_shop(cramped, f"at-{step}")
    before = shop.records()
    with Load(cramped.server, [shop.name], clients=2) as load:
        operation_id = upgrade(cramped, shop)

        def has_begun() -> bool:
            return any(item["name"] == step for item in operation_of(cramped, operation_id).get("steps", ()))

        until(lambda: has_begun() or over(cramped, operation_id), 200, step)
        cramped.fill()
        operation = meets_a_full_disk(cramped, operation_id, cramped.filler.exists)
    if step != "backup":
        assert (operation["state"], operation["error"]["code"]) == ("failed", "disk_trouble"), operation
    is_whole(shop, operation, before, load, NEW if operation["state"] == "succeeded" else OLD)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("moment", ["checkpoint", "switch", "verify"])
def test_in_the_cutover(cramped: Cramped, moment: str) -> None:
    shop = make_shop(cramped, f"at-{moment}", PROBE)
    before = shop.records()
    with Load(cramped.server, [shop.name], clients=2) as load:
        order = cramped.order(shop, moment)
        operation = meets_a_full_disk(cramped, upgrade(cramped, shop), lambda: not order.exists())
    is_whole(shop, operation, before, load, NEW if operation["state"] == "succeeded" else OLD)


@pytest.mark.timeout(600)
def test_on_the_way_back(cramped: Cramped) -> None:
    """The new release fails its probe, and as it is stopped the disk gets full: the old data must come back anyway."""
    shop = make_shop(cramped, "at-back", FAILING)
    before = shop.records()
    with Load(cramped.server, [shop.name], clients=2) as load:
        order = cramped.order(shop, "back")
        operation = meets_a_full_disk(cramped, upgrade(cramped, shop), lambda: not order.exists())
    assert (operation["state"], operation["error"]["code"]) == ("rolled_back", "verification_failed"), operation
    is_whole(shop, operation, before, load, OLD)


@pytest.mark.timeout(600)
def test_going_back_by_hand(cramped: Cramped) -> None:
    """`rollback` meets the full disk where it takes its checkpoint and where it puts the old data in place."""
    shop = make_shop(cramped, "by-hand")
    before = shop.records()
    operation_id = upgrade(cramped, shop)
    until(lambda: over(cramped, operation_id), 200, "the upgrade")
    shop.works_on(NEW)
    with Load(cramped.server, [shop.name], clients=0) as load:
        order = cramped.order(shop, "back")
        snapshot = operation_of(cramped, operation_id)["result"]["snapshot"]
        going_back = begin(cramped, shop, "rollback", snapshot=snapshot, accept_loss=True, export=False)
        operation = meets_a_full_disk(cramped, going_back, lambda: not order.exists())
    is_whole(shop, operation, before, load, OLD if operation["state"] == "succeeded" else NEW)
