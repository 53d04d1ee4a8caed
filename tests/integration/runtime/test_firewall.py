"""The rules around instances on a server that has others', with real packets; Docker and ufw leave what stands here."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from pocketfleet.runtime.sandbox.firewall import Firewall, Way
from pocketfleet.runtime.sandbox.forwarding import Forwarding
from pocketfleet.runtime.sandbox.passage import Passage
from pocketfleet.runtime.sandbox.rule_changes import RuleChanges
from tests.integration.runtime.places import Place, server, wire
from tests.sandboxes import needs_sandbox

IPTABLES = shutil.which("iptables")
needs_iptables = pytest.mark.skipif(IPTABLES is None, reason="BESIDE DOCKER IS NOT TESTED HERE: there is no iptables")
pytestmark = needs_sandbox

CABLES = "pfabcdef-"
INSTANCE, INTERNET, CONTAINER, OFFICE = "240.0.0.7", "203.0.113.7", "172.17.0.2", "198.51.100.7"
#: What Docker makes of a server that forwarded nothing.
DOCKERS = (
    ("-P", "FORWARD", "DROP"),
    ("-N", "DOCKER-USER"),
    ("-A", "DOCKER-USER", "-j", "RETURN"),
    ("-I", "FORWARD", "-j", "DOCKER-USER"),
)
#: A port of the server's that leads to a container.
PUBLISHING = "add table ip docker; add chain ip docker in { type nat hook prerouting priority -100; }; "


class Scene:
    """A server between the internet and an instance, and the rules on it."""

    def __init__(self, folder: Path, server: Place, iptables: str | None = IPTABLES) -> None:
        self.server = server
        ipv4 = Way(Forwarding(4, folder / "forwarding", CABLES), Passage(CABLES, iptables))
        ipv6 = Way(Forwarding(6, folder / "forwarding6", CABLES), Passage(CABLES, None))
        self.firewall = Firewall("abcdef", CABLES, str(shutil.which("nft")), (ipv4, ipv6))
        self.internet = wire(server, "wan0", INTERNET)
        self.instance = wire(server, f"{CABLES}0001", INSTANCE)
        self.places = [self.internet, self.instance]

    def wire(self, name: str, address: str) -> Place:
        """Somebody else who comes."""
        self.places.append(wire(self.server, name, address))
        return self.places[-1]

    def load(self) -> None:
        """As node does at its start."""
        self.server.do(lambda: self.firewall.load((), ("25",)))

    def unload(self) -> None:
        """As node does at its end."""
        self.server.do(self.firewall.unload)

    def iptables(self, *words: str) -> str:
        return self.server.run("iptables", "-w", "5", *words)

    def dockerd(self) -> None:
        """Docker starts."""
        for rule in DOCKERS:
            self.iptables(*rule)

    def forwards(self) -> bool:
        return self.server.do(Path("/proc/sys/net/ipv4/ip_forward").read_text) == "1\n"


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    with contextlib.closing(server()) as here:
        made = Scene(tmp_path, here)
        yield made
        for place in made.places:
            place.close()


@needs_iptables
@pytest.mark.parametrize("first", ["docker", "pocketfleet"])
def test_beside_docker_instances_have_a_way_out_and_nobody_a_way_in(scene: Scene, first: str) -> None:
    for begin in (scene.dockerd, scene.load) if first == "docker" else (scene.load, scene.dockerd):
        begin()
    with scene.internet.listening(INTERNET) as there, scene.instance.listening(INSTANCE) as here:
        assert scene.instance.reaches(there)
        assert scene.server.reaches(here), "the edge, which is on the server itself"
        assert not scene.internet.reaches(here)


@needs_iptables
def test_docker_can_read_its_chains_and_finds_them_as_they_were(scene: Scene) -> None:
    scene.dockerd()
    before = scene.iptables("-S")
    scene.load()
    scene.load()
    assert scene.iptables("-n", "-L", "DOCKER-USER")
    added = set(scene.iptables("-S").splitlines()) - set(before.splitlines())
    assert len(added) == 2
    assert all(f"{CABLES}+" in rule for rule in added)
    scene.unload()
    assert scene.iptables("-S") == before


@needs_iptables
def test_what_the_operator_forbids_comes_first(scene: Scene) -> None:
    scene.iptables("-A", "FORWARD", "-d", INTERNET, "-j", "REJECT")
    scene.load()
    with scene.internet.listening(INTERNET) as there:
        assert not scene.instance.reaches(there)
        scene.iptables("-F", "FORWARD")
        assert scene.instance.reaches(there)


def test_a_server_that_forwarded_nothing_goes_on_so(scene: Scene) -> None:
    office = scene.wire("lan0", OFFICE)
    scene.load()
    assert scene.forwards()
    with scene.internet.listening(INTERNET) as there, office.listening(OFFICE) as here:
        assert scene.instance.reaches(there)
        assert not office.reaches(there)
        assert not scene.internet.reaches(here)
    scene.unload()
    assert not scene.forwards()


def test_who_comes_later_may_forward_as_docker_does(scene: Scene) -> None:
    scene.load()
    container = scene.wire("docker0", CONTAINER)
    with scene.internet.listening(INTERNET) as there, container.listening(CONTAINER) as here:
        assert container.reaches(there)
        assert not scene.internet.reaches(here), "it came by an interface that forwarded nothing"
        scene.server.run("nft", PUBLISHING + f"add rule ip docker in tcp dport 8080 dnat to {CONTAINER}:{here[1]}")
        assert scene.internet.reaches(("169.254.1.1", 8080)), "a port that Docker publishes"
    scene.unload()
    assert scene.forwards(), "it needs that"


def test_a_server_that_forwarded_before_does_so_after(scene: Scene) -> None:
    scene.server.do(lambda: Path("/proc/sys/net/ipv4/ip_forward").write_text("1"))
    office = scene.wire("lan0", OFFICE)
    scene.load()
    with scene.internet.listening(INTERNET) as there:
        assert office.reaches(there)
    scene.unload()
    assert scene.forwards()


@pytest.mark.parametrize("spoil", ["flush ruleset", "flush chain inet pocketfleet_abcdef input"])
def test_rules_that_somebody_flushes_are_loaded_again(scene: Scene, spoil: str) -> None:
    scene.load()
    keep = scene.firewall.keep
    assert not scene.server.do(keep)
    with scene.server.listening("169.254.1.1") as service, scene.internet.listening(INTERNET) as there:
        assert not scene.instance.reaches(service)
        scene.server.run("nft", spoil)
        assert scene.instance.reaches(service), "so that this test can fail"
        assert scene.server.do(keep)
        assert not scene.instance.reaches(service)
        assert scene.instance.reaches(there)
    assert not scene.server.do(keep)


def test_forwarding_that_somebody_switches_off_is_on_again(scene: Scene) -> None:
    scene.load()
    scene.server.do(lambda: Path("/proc/sys/net/ipv4/ip_forward").write_text("0"))
    assert scene.server.do(scene.firewall.keep)
    assert scene.forwards()


def test_nothing_is_kept_after_the_end(scene: Scene) -> None:
    scene.load()
    scene.unload()
    assert not scene.server.do(scene.firewall.keep)
    assert scene.server.run("nft", "list", "tables").count("pocketfleet") == 0


async def test_changes_of_rules_are_heard_of(scene: Scene) -> None:
    changes = scene.server.do(RuleChanges)
    try:
        hearing = asyncio.create_task(changes.next(300))
        scene.load()
        async with asyncio.timeout(60):
            await hearing
        quiet = asyncio.create_task(changes.next(300))
        done, _ = await asyncio.wait({quiet}, timeout=0.3)
        assert not done, "that was all"
        scene.server.run("nft", "flush", "ruleset")
        async with asyncio.timeout(60):
            await quiet
    finally:
        changes.close()
