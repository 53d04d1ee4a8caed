"""Each trick of a malicious tenant is refused or contained, and the neighbour feels nothing of it."""

from __future__ import annotations

import contextlib
import os
import socket
import sqlite3
from pathlib import Path
from typing import Any

import psutil
import pytest

from pocketfleet.domain.addresses import USERS_FROM
from pocketfleet.runtime.sandbox.filter import FORBIDDEN
from tests.attacks.conftest import MEMORY, STORAGE, Scene
from tests.sandboxes import needs_sandbox
from tests.server import until

pytestmark = needs_sandbox

#: What the kernel says of connections that our rules refuse.
REFUSED = {"ECONNREFUSED", "EHOSTUNREACH", "ENETUNREACH", "ECONNRESET", "EACCES"}
ABSENT = {"ENOENT", "EACCES", "EPERM", "ENOTDIR"}
NO_ROOM = {"EROFS", "EACCES", "ENOENT", "EPERM"}


def hosts_addresses() -> list[str]:
    """All that this machine has, but loopback ones, and cables'."""
    return [
        each.address
        for name, found in psutil.net_if_addrs().items()
        for each in found
        if each.family == socket.AF_INET and name != "lo" and not name.startswith("pf")
    ]


def test_files_of_others_are_not_there(scene: Scene) -> None:
    home = scene.server.home
    secrets = [home, home / "control.sqlite3", home / "operator.json", home / "secret.key", home / "run"]
    neighbours = [scene.server.folder(scene.neighbour), scene.server.folder(scene.neighbour) / "pb_data" / "data.db"]
    hosts = [Path("/etc/shadow"), Path("/root"), Path("/home"), Path("/var"), Path("/bin/sh"), Path("/usr/bin")]
    ways = [
        "/instances/../etc/shadow",
        f"/instances/{scene.neighbour}",
        str(Path("/proc", "1", "root", "etc", "shadow")),
        "/proc/kcore",
    ]
    found = scene.attack("read", [*map(str, [*secrets, *neighbours, *hosts]), *ways])
    assert {path: outcome for path, outcome in found.items() if outcome not in ABSENT} == {}


def test_nothing_can_be_written_but_ones_own(scene: Scene) -> None:
    places = ["/junk", "/pocketbase", "/instances/junk", "/etc/junk", "/etc/resolv.conf", "/dev/junk", "/proc/junk"]
    places += ["/dev/shm/junk", "/proc/sysrq-trigger", "/proc/sys/kernel/core_pattern", "/proc/self/oom_score_adj"]
    found = scene.attack("write", places)
    # this one may be raised, never lowered
    found.pop("/proc/self/oom_score_adj")
    assert {path: outcome for path, outcome in found.items() if outcome not in NO_ROOM} == {}


def test_its_user_may_nothing(scene: Scene) -> None:
    found = scene.attack("powers")
    assert found["user"] >= USERS_FROM
    nothing = "0000000000000000"
    sets = ("CapEff", "CapPrm", "CapBnd", "CapInh", "CapAmb")
    assert found["status"] == {**dict.fromkeys(sets, nothing), "NoNewPrivs": "1"}
    assert found["seccomp"] == "2"
    refusals = ("root", "give away", "device", "user namespace", "clone", "typing", "sysctl")
    assert {name: found[name] for name in refusals if found[name] not in ("EPERM", "EACCES", "EINVAL")} == {}
    assert found["typing"] == found["clone"] == found["user namespace"] == "EPERM"
    assert (found["netlink"], found["netfilter"]) == ("done", "EAFNOSUPPORT")
    assert sorted(found["interfaces"]) == ["eth0", "lo"]
    assert [family for family, outcome in found["families"].items() if outcome == "done"] == ["1", "16"]


def test_system_calls_that_nobody_needs_are_refused(scene: Scene) -> None:
    column = 0 if os.uname().machine == "x86_64" else 1
    numbers = {name: numbers[column] for name, numbers in FORBIDDEN.items() if numbers[column] is not None}
    found = scene.attack("calls", list(numbers.values()))
    assert {name: found[str(number)] for name, number in numbers.items() if found[str(number)] != "EPERM"} == {}


def test_nothing_that_was_handed_down_leads_outside(scene: Scene) -> None:
    found = scene.attack("inherited")
    assert found["written"] == found["climbed"] == []
    outside = {Path(path).name for path in found["open"] if path.startswith(("/tmp/pf-", str(scene.server.home)))}
    assert outside <= {"stdout.raw", "stderr.raw", f"{scene.attacker}.lock"}


def test_other_processes_are_not_there(scene: Scene) -> None:
    pids = [scene.server.pid("node"), scene.server.pid("control"), scene.server.pid("edge"), os.getpid()]
    pids += scene.server.guest_pids(scene.neighbour)
    found = scene.attack("processes", pids)
    assert len(found["seen"]) <= 5
    assert all("bwrap" in name or "pocketbase" in name or "ld.so" in name for name in found["seen"].values())
    assert set(found["killed"].values()) <= {"ESRCH"}
    scene.neighbour_is_well()


def test_whoever_kills_all_kills_itself(scene: Scene) -> None:
    before = {name: scene.server.pid(name) for name in ("node", "control", "edge")}
    with contextlib.suppress(AssertionError):
        scene.attack("kill_all")
    assert {name: scene.server.pid(name) for name in before} == before
    scene.neighbour_is_well()
    scene.attack("powers")


def test_this_host_is_out_of_reach(scene: Scene, hosts_service: int) -> None:
    ports = [scene.server.port, hosts_service]
    places = ["127.0.0.1", "169.254.1.1", "240.0.0.1", *hosts_addresses()]
    found = scene.attack("connect", [f"{place}:{port}" for place in places for port in ports])
    assert {target: outcome for target, (outcome, _) in found.items() if outcome not in REFUSED} == {}
    assert max(seconds for _, seconds in found.values()) < 1, "refused at once, not after a silence"
    sockets = [str(scene.server.home / "edge" / name) for name in ("runtime.sock", "master.sock", "control.sock")]
    assert set(scene.attack("unix", [*sockets, "@pocketfleet"]).values()) <= {"ENOENT", "EACCES", "ECONNREFUSED"}


def test_the_neighbour_is_out_of_reach(scene: Scene) -> None:
    scene.neighbour_is_well()
    address = scene.address(scene.neighbour)
    host, _, port = address.rpartition(":")
    record = scene.address(scene.attacker)
    with socket.create_connection((host, int(port)), timeout=5):
        pass  # from here it can be reached
    # all of 240.0.0.0/4 is its own there, and at its own address it listens itself
    found = scene.attack("connect", [address, record])
    assert found[address][0] in REFUSED
    assert found[record][0] == "done"


@pytest.mark.parametrize(
    "target",
    [
        *("169.254.169.254:80", "10.0.0.1:80", "172.16.0.1:80", "192.168.1.1:80", "100.100.100.200:80"),
        *("168.63.129.16:80", "192.0.0.192:80", "0.0.0.0:80"),
        *("fd00:ec2::254:80", "::1:80", "2606:4700::1111:443"),
    ],
)
def test_inside_is_out_of_reach(scene: Scene, target: str) -> None:
    ((outcome, seconds),) = scene.attack("connect", [target]).values()
    assert outcome in REFUSED | {"EADDRNOTAVAIL"}
    assert seconds < 1


def test_the_internet_can_be_reached_but_for_spam(scene: Scene, internet: dict[str, str]) -> None:
    found = scene.attack("connect", list(internet.values()))
    assert found[internet["open"]][0] == "done"
    assert found[internet["mail"]][0] in REFUSED


def test_a_fork_bomb_ends_at_its_limit(scene: Scene) -> None:
    found = scene.attack("fork", 5000)
    assert found["error"] == "EAGAIN"
    assert found["forked"] < 100
    scene.neighbour_is_well()


def test_a_memory_hog_is_ended(scene: Scene) -> None:
    with contextlib.suppress(AssertionError):
        scene.attack("remember", 2 * MEMORY)
        raise LookupError("it had more than its limit")
    scene.neighbour_is_well()
    scene.attack("powers")


def test_a_flood_of_output_fills_nothing(scene: Scene) -> None:
    with scene.server.client(scene.attacker) as client:
        assert client.get("/flood").status_code == 200
    scene.neighbour_is_well()
    folder = scene.server.home / "logs" / scene.attacker
    # 48 MB were printed
    until(lambda: sum(path.stat().st_blocks * 512 for path in folder.iterdir()) < 15_000_000, 20, "the room given back")


def test_links_lead_nowhere(scene: Scene) -> None:
    home, neighbour = scene.server.home, scene.server.folder(scene.neighbour)
    base = f"/instances/{scene.attacker}"
    links = {
        f"{base}/pb_public/shadow": "/etc/shadow",
        f"{base}/pb_public/control": str(home / "control.sqlite3"),
        f"{base}/pb_public/neighbour": str(neighbour),
        f"{base}/pb_data/storage": str(neighbour / "pb_data" / "storage"),
        f"{base}/pb_data/extra.db": str(home / "control.sqlite3"),
        f"{base}/pb_migrations/1_evil.js": "/etc/shadow",
        f"{base}/pb_admin_ext/all": "/",
    }
    made = scene.attack("link", links)
    assert set(made.values()) <= {"done", "EEXIST"}
    with scene.server.client(scene.attacker) as client:
        for name in ("shadow", "control", "neighbour/pb_data/data.db"):
            assert client.get(f"/{name}").status_code in (400, 403, 404)
    # what we ourselves copy of it: neither followed, nor in the way
    scene.server.cli("snapshot", scene.attacker, check=False)
    copies = home / "snapshots" / scene.attacker
    secret = sqlite3_bytes(home / "control.sqlite3")
    for path in copies.rglob("*") if copies.exists() else []:
        assert not (path.is_file() and not path.is_symlink() and path.read_bytes()[:4096] == secret), path
    before = (home / "control.sqlite3").stat()
    scene.server.cli("sleep", scene.attacker)
    after = (home / "control.sqlite3").stat()
    assert (before.st_uid, before.st_gid, before.st_mode) == (after.st_uid, after.st_gid, after.st_mode)
    for link in links:
        (scene.server.folder(scene.attacker) / link.removeprefix(f"{base}/")).unlink(missing_ok=True)
    scene.neighbour_is_well()


def sqlite3_bytes(path: Path) -> bytes:
    """The first page of a database."""
    with path.open("rb") as opened:
        return opened.read(4096)


@pytest.mark.parametrize("kind", ["named", "nameless"])
def test_whoever_fills_the_disk_sleeps_until_there_is_room(scene: Scene, kind: str) -> None:
    order: dict[str, Any] = {"named": 0, "nameless": 0, "seconds": 45} | {kind: STORAGE}
    before = told(scene)
    scene.attack("fill", order)

    def answers(status: int) -> bool:
        with scene.server.client(scene.attacker) as client:
            return client.get("/api/health").status_code == status

    if kind == "nameless":
        # it is on the disk for as long as its process lives: when that has been put to sleep, it is gone
        until(lambda: told(scene) > before, 60, "its being noticed")
        until(lambda: answers(200), 60, "its room to be given back")
        return
    until(lambda: answers(507), 60, "its being noticed")
    scene.neighbour_is_well()
    until(lambda: told(scene) >= 1, 20, "its owner to be told")
    data = scene.server.folder(scene.attacker) / "pb_data" / "data.db"
    with contextlib.closing(sqlite3.connect(f"file:{data}?mode=ro&immutable=1", uri=True)) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    scene.server.cli("power", scene.attacker, "off")
    scene.server.cli("power", scene.attacker, "on")
    assert answers(200), "it may be awake for its owner to make room"
    (scene.server.folder(scene.attacker) / "junk").unlink()
    scene.server.cli("sleep", scene.attacker)
    until(lambda: answers(200), 30, "it to be as before")


def told(scene: Scene) -> int:
    """How often the attacker's owner was told that its storage is used up."""
    items = scene.server.api.get(f"/instances/{scene.attacker}/events").json()["items"]
    return sum(event["kind"] == "storage_full" for event in items)
