"""The way out over IPv6, with real packets between namespaces, and what it leaves of how a server was before."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import itertools
import shutil
import socket
import struct
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pocketfleet.runtime.sandbox import firewall as rules
from pocketfleet.runtime.sandbox.firewall import Firewall, Way
from pocketfleet.runtime.sandbox.forwarding import Forwarding
from pocketfleet.runtime.sandbox.netlink import Netlink
from pocketfleet.runtime.sandbox.networks import Networks, network6
from pocketfleet.runtime.sandbox.passage import Passage
from tests.integration.runtime.places import Place, server, until_running, wire, wire6
from tests.sandboxes import needs_sandbox

CONF = Path("/proc/sys/net/ipv6/conf")
pytestmark = [
    needs_sandbox,
    pytest.mark.skipif(not CONF.exists(), reason="THE WAY OUT OVER IPV6 IS NOT TESTED HERE: the kernel has none"),
]

MARK = "abcdef"
#: The server's own, and one somewhere; packets to either never leave the namespaces.
OURS, SOMEWHERE = "2a00:f00::2", "2600:f00::7"
#: Seconds in which whatever is not refused at once would have come.
PATIENCE = 10.0
REFUSED = (errno.ECONNREFUSED, errno.EACCES)
#: An address of everything that is nobody's on the internet.
INSIDE = (
    *("::1", "::10.0.0.1", "::ffff:0:10.0.0.1", "64:ff9b::10.0.0.1", "64:ff9b:1::1", "100::1"),
    *("2001::1", "2001:2::1", "2001:db8::1", "2002:a00:1::1", "3fff::1", "5f00::1"),
    *("fc00::1", "fd00:ec2::254", "fd20:ce::254", "fec0::1", "fe80::2"),
)
#: linux/in6.h
FREEBIND = 78
#: Flags of a default route out of an advertisement: linux/ipv6_route.h
LEARNT = 0x00010000 | 0x00040000
IP, IP6TABLES = shutil.which("ip") or "", shutil.which("ip6tables")


class Scene:
    """A server between the internet and instances of the sandbox's own making."""

    def __init__(self, folder: Path, server: Place) -> None:
        self.server, self.folder = server, folder
        self.internet = wire6(server, "wan0", OURS)
        self.networks = Networks(MARK, ipv6=True)
        self.firewall = self.node()
        self.places = [self.internet]

    def node(self, *, ipv6: bool = True, ip6tables: str | None = None) -> Firewall:
        """A node's, started with the setting on or off."""
        prefix = self.networks.prefix
        ipv4 = Way(Forwarding(4, self.folder / "forwarding", prefix), Passage(prefix, None))
        ipv6_ = Way(Forwarding(6, self.folder / "forwarding6", prefix), Passage(prefix, ip6tables))
        return Firewall(MARK, prefix, str(shutil.which("nft")), (ipv4, ipv6_), network6(MARK) if ipv6 else "")

    def load(self, *allowed: str) -> None:
        self.server.do(lambda: self.firewall.load(allowed, ("25",)))

    def instance(self, address: str = "240.0.0.7") -> Place:
        """What runs there is an instance."""
        network = self.server.do(lambda: self.networks.take(address))
        self.places.append(Place(network.descriptor))
        self.places[-1].do(lambda: until_running("eth0"))
        self.server.do(lambda: until_running(network.cable))
        return self.places[-1]


@contextlib.contextmanager
def made(folder: Path) -> Iterator[Scene]:
    """A scene for as long as it lasts."""
    with contextlib.closing(server()) as here:
        scene = Scene(folder, here)
        yield scene
        scene.networks.close()
        for place in scene.places:
            place.close()


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """Its rules are what a test loads."""
    with made(tmp_path_factory.mktemp("run")) as scene:
        yield scene


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Scene]:
    """A server as it is before pocketfleet ever came."""
    with made(tmp_path) as scene:
        yield scene


@pytest.fixture(scope="module")
def instance(scene: Scene) -> Place:
    return scene.instance()


@pytest.fixture(scope="module")
def neighbour(scene: Scene) -> Place:
    return scene.instance("240.0.0.8")


def addresses(place: Place) -> list[str]:
    """What it has of IPv6 besides its loopback's."""
    lines = place.do(lambda: Path("/proc/thread-self/net/if_inet6").read_text()).splitlines()
    return [str(ipaddress.IPv6Address(bytes.fromhex(line[:32]))) for line in lines if not line.endswith(" lo")]


def state(scene: Scene) -> dict[str, str]:
    """All that is set for IPv6 on the server, but on the cables of instances."""

    def here() -> dict[str, str]:
        found = {}
        for path in CONF.glob("*/*"):
            if not path.parent.name.startswith("pf"):
                with contextlib.suppress(OSError):
                    found[f"{path.parent.name} {path.name}"] = path.read_text()
        return found

    return scene.server.do(here)


def refusal(place: Place, address: str, port: int) -> int:
    """The number of the error that a connection ends with; 0 where there is one."""

    def reach() -> int:
        with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as asking:
            asking.settimeout(PATIENCE)
            # a packet that nobody answers is not sent again, so that refused means at once
            asking.setsockopt(socket.IPPROTO_TCP, socket.TCP_SYNCNT, 1)
            scope = (0, socket.if_nametoindex("eth0")) if address.startswith("fe") else ()
            try:
                asking.connect((address, port, *scope))
            except TimeoutError:
                return errno.ETIMEDOUT
            except OSError as error:
                return error.errno or -1
            return 0

    return place.do(reach)


def test_an_instance_reaches_the_internet_as_its_server(scene: Scene, instance: Place) -> None:
    scene.load()
    with scene.internet.do(lambda: socket.create_server(("::", 0), family=socket.AF_INET6)) as there:
        assert refusal(instance, SOMEWHERE, there.getsockname()[1]) == 0
        there.settimeout(PATIENCE)
        assert there.accept()[1][0] == OURS


def test_where_there_is_no_way_over_ipv4_that_is_said_at_once(scene: Scene, instance: Place) -> None:
    """Who has addresses of both kinds takes IPv4 first, from an address like ours (RFC 6724)."""
    scene.load()
    assert refusal(instance, "198.51.100.7", 443) == errno.ENETUNREACH


def test_what_is_inside_is_refused_at_once(scene: Scene, instance: Place, neighbour: Place) -> None:
    scene.load()
    with (
        scene.internet.listening("::") as (_, there),
        scene.server.listening("::") as (_, here),
        neighbour.listening("::") as (_, beside),
    ):
        targets = [(address, there) for address in INSIDE] + [(address, here) for address in ("fe80::1", OURS)]
        targets += [(address, beside) for address in addresses(neighbour)]
        found = {target: refusal(instance, *target) for target in targets}
        assert {target: error for target, error in found.items() if error not in REFUSED} == {}
        scene.load("::/0")
        with_all_allowed = [address for address in INSIDE if refusal(instance, address, there) == 0]
        assert len(with_all_allowed) > 10, "so that this test can fail"


def test_the_way_over_ipv4_is_as_it_was(scene: Scene, instance: Place) -> None:
    scene.load()
    scene.places.append(wire(scene.server, "wan4", "203.0.113.7"))
    with scene.places[-1].listening("203.0.113.7") as there, scene.server.listening("169.254.1.1") as here:
        assert instance.reaches(there)
        assert not instance.reaches(here)


def test_neighbours_are_inside_although_their_addresses_are_not(scene: Scene, instance: Place) -> None:
    office = wire(scene.server, "lan0", "2800::7")
    scene.places.append(office)
    with office.listening("::") as (_, port):
        scene.load()
        assert refusal(instance, "2800::7", port) in REFUSED
        scene.load(f"[2800::7]:{port}")
        assert refusal(instance, "2800::7", port) == 0


@pytest.mark.parametrize("way", ["via 2802::1", "metric 1"])
def test_a_router_at_any_address_or_none_is_a_way_out(fresh: Scene, way: str) -> None:
    if not IP:
        pytest.skip("ROUTERS AT ADDRESSES OF THE INTERNET ARE NOT TESTED HERE: there is no ip")
    fresh.load()
    instance = fresh.instance()
    with fresh.internet.listening("::") as (_, port):
        assert refusal(instance, SOMEWHERE, port) == 0
        fresh.internet.run(IP, "addr", "add", "2802::1/64", "dev", "eth0", "nodad")
        fresh.internet.run(IP, "addr", "add", f"{SOMEWHERE}/128", "dev", "eth0", "nodad")
        fresh.server.run(IP, "-6", "route", "del", "default")
        fresh.server.run(IP, "-6", "route", "add", "2802::/64", "dev", "wan0")
        fresh.server.run(IP, "-6", "route", "add", "default", *way.split(), "dev", "wan0")
        assert refusal(instance, SOMEWHERE, port) in REFUSED
        assert fresh.server.do(fresh.firewall.keep)
        assert refusal(instance, SOMEWHERE, port) == 0
        if way.startswith("via"):
            assert refusal(instance, "2802::1", port) in REFUSED


def test_spam_does_not_leave(scene: Scene, instance: Place) -> None:
    scene.load()
    with scene.internet.do(lambda: socket.create_server(("::", 25), family=socket.AF_INET6)):
        assert refusal(instance, SOMEWHERE, 25) in REFUSED


def test_what_is_allowed_is_reached(scene: Scene, instance: Place) -> None:
    with scene.internet.listening("::") as (_, port), scene.server.listening("::") as (_, service):
        scene.load(f"[fd00::5]:{port}", OURS)
        assert refusal(instance, "fd00::5", port) == 0
        assert refusal(instance, "fd00::6", port) in REFUSED
        assert refusal(instance, OURS, service) == 0


def test_an_instance_has_no_end_of_connections(
    scene: Scene, instance: Place, neighbour: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rules, "_CONNECTIONS", 3)
    scene.load()
    with scene.internet.listening("::") as (_, port), contextlib.ExitStack() as opened:
        for _ in range(3):
            opened.enter_context(instance.do(lambda: socket.create_connection((SOMEWHERE, port), PATIENCE)))
        assert refusal(instance, SOMEWHERE, port) in REFUSED
        assert refusal(neighbour, SOMEWHERE, port) == 0


def test_nobody_sends_under_anothers_address(scene: Scene, instance: Place, neighbour: Place) -> None:
    scene.load()
    (anothers,) = addresses(neighbour)
    with scene.internet.do(lambda: socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)) as there:
        there.settimeout(PATIENCE)
        there.bind(("::", 0))
        port = there.getsockname()[1]

        def send(source: str, words: bytes) -> None:
            def there() -> None:
                with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sending:
                    sending.setsockopt(socket.IPPROTO_IPV6, FREEBIND, 1)
                    sending.bind((source, 0))
                    sending.sendto(words, (SOMEWHERE, port))

            instance.do(there)

        send(anothers, b"a lie")
        send("2800::1", b"another lie")
        send("::", b"the truth")
        assert there.recv(100) == b"the truth"
        scene.server.run("nft", "flush", "chain", "inet", scene.firewall.table, "sources")
        send(anothers, b"so that this test can fail")
        assert there.recv(100) == b"so that this test can fail"


def test_nobody_names_another_way(scene: Scene, instance: Place) -> None:
    scene.load()
    counter = "add table inet seen; add chain inet seen coming { type filter hook prerouting priority 0; };"
    scene.internet.run("nft", f"{counter} add rule inet seen coming exthdr rt exists counter")

    def send() -> None:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sending:
            # by way of there to a private network, which a router that heeds such headers would see to
            segments = (socket.inet_pton(socket.AF_INET6, each) for each in ("fd00::5", SOMEWHERE))
            way = struct.pack("!BBBBBBH", 0, 4, 4, 1, 1, 0, 0) + b"".join(segments)
            sending.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RTHDR, way)
            sending.sendto(b"onwards", ("fd00::5", 9))

    instance.do(send)
    scene.server.run("nft", "flush", "chain", "inet", scene.firewall.table, "outwards")
    instance.do(send)
    give_up = time.monotonic() + PATIENCE
    while "packets 0" in (seen := scene.internet.run("nft", "list", "table", "inet", "seen")):
        assert time.monotonic() < give_up
    assert "packets 1 " in seen, "the one that nobody refused"


def test_with_the_setting_off_there_is_no_ipv6_at_all(fresh: Scene) -> None:
    before = state(fresh)
    fresh.networks, fresh.firewall = Networks(MARK), fresh.node(ipv6=False)
    fresh.load()
    instance = fresh.instance()
    with fresh.internet.listening("::") as (_, port):
        assert refusal(instance, SOMEWHERE, port) in (errno.EADDRNOTAVAIL, errno.ENETUNREACH)
    assert addresses(instance) == []
    assert state(fresh) == before
    assert not (fresh.folder / "forwarding6").exists()


@pytest.mark.parametrize("spoil", ["rules", "forwarding", "routers"])
def test_what_somebody_undoes_is_done_again(scene: Scene, instance: Place, spoil: str) -> None:
    scene.load()
    keep = scene.firewall.keep
    assert not scene.server.do(keep)
    if spoil == "rules":
        scene.server.run("nft", "flush", "ruleset")
    else:
        where, value = ("all/forwarding", "0") if spoil == "forwarding" else ("wan0/accept_ra", "1")
        scene.server.do(lambda: (CONF / where).write_text(value))
    assert scene.server.do(keep)
    assert not scene.server.do(keep)
    assert state(scene)["wan0 accept_ra"] == "2\n"
    with scene.internet.listening("::") as (_, port):
        assert refusal(instance, SOMEWHERE, port) == 0
        assert refusal(instance, "fd00::5", port) in REFUSED


@pytest.mark.skipif(not IP6TABLES, reason="BESIDE DOCKER IS NOT TESTED HERE: there is no ip6tables")
def test_beside_docker_instances_have_a_way_out(scene: Scene, instance: Place) -> None:
    scene.server.run("ip6tables", "-w", "5", "-P", "FORWARD", "DROP")
    before = scene.server.run("ip6tables", "-w", "5", "-S")
    beside = scene.node(ip6tables=IP6TABLES)
    with scene.internet.listening("::") as (_, port):
        scene.load()
        assert not instance.reaches((SOMEWHERE, port)), "so that this test can fail"
        scene.server.do(lambda: beside.load((), ()))
        assert refusal(instance, SOMEWHERE, port) == 0
    scene.server.do(beside.unload)
    assert scene.server.run("ip6tables", "-w", "5", "-S") == before
    scene.server.run("ip6tables", "-w", "5", "-P", "FORWARD", "ACCEPT")


def test_a_server_that_forwarded_nothing_goes_on_so_and_who_comes_later_may(fresh: Scene) -> None:
    office = wire(fresh.server, "lan0", "2800::7")
    fresh.load()
    container = wire(fresh.server, "docker0", "2801::7")
    fresh.places += [office, container]
    with fresh.internet.listening("::") as (_, port):
        assert not office.reaches((SOMEWHERE, port))
        assert container.reaches((SOMEWHERE, port))
        fresh.server.do(fresh.firewall.unload)
        assert container.reaches((SOMEWHERE, port)), "it needs that"
        closed = fresh.node(ipv6=False)
        fresh.server.do(lambda: closed.load((), ()))
        assert container.reaches((SOMEWHERE, port))
        assert not office.reaches((SOMEWHERE, port)), "with the setting off either"
    assert state(fresh)["wan0 accept_ra"] == "2\n", "as long as it forwards"


def test_a_server_that_forwarded_before_does_so_after_and_listens_to_no_router_for_us(fresh: Scene) -> None:
    fresh.server.do(lambda: (CONF / "all/forwarding").write_text("1"))
    before = state(fresh)
    fresh.load()
    assert state(fresh) == before
    fresh.server.do(fresh.firewall.unload)
    assert state(fresh) == before


def test_a_server_that_takes_routers_words_goes_on_to(fresh: Scene) -> None:
    before = state(fresh)
    advertise(fresh, "2a00:1::")
    learnt = ways(fresh)
    assert learnt
    fresh.load()
    assert ways(fresh) == learnt
    advertise(fresh, "2a00:2::")
    fresh.server.do(fresh.firewall.unload)
    assert ways(fresh) == learnt
    assert state(fresh) == before
    advertise(fresh, "2a00:3::")


@pytest.mark.parametrize("afterwards", ["on", "off"])
def test_whoever_is_killed_leaves_what_the_next_one_needs(
    fresh: Scene, afterwards: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fresh.places += [wire(fresh.server, "lan0", "2800::7"), wire(fresh.server, "lan1", "2801::7")]
    fresh.server.do(lambda: (CONF / "lan0/forwarding").write_text("1"))
    fresh.server.do(lambda: (CONF / "lan1/accept_ra").write_text("0"))
    before = state(fresh)
    for effects in range(100):
        with monkeypatch.context() as patching:
            kill_after(effects, patching)
            one = fresh.node()
            died = fresh.server.do(lambda one=one: dies(one))  # type: ignore[misc]
        following = fresh.node(ipv6=afterwards == "on")
        fresh.server.do(lambda following=following: following.load((), ()))  # type: ignore[misc]
        assert state(fresh)["wan0 accept_ra"] == ("2\n" if afterwards == "on" else "1\n")
        fresh.server.do(following.unload)
        assert state(fresh) == before, f"after {effects} effects"
        assert "pocketfleet" not in fresh.server.run("nft", "list", "tables")
        if not died:
            assert effects > 10
            return
    raise AssertionError("it never came to its end")


class Killed(BaseException):
    """What a SIGKILL is to whatever comes after."""


def kill_after(effects: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process has done so much to the machine when it ends."""
    left = itertools.count(effects, -1)

    def until(real: Callable[..., Any]) -> Callable[..., Any]:
        def effect(*given: Any, **named: Any) -> Any:
            if next(left) <= 0:
                raise Killed
            return real(*given, **named)

        return effect

    for name in ("write_text", "replace", "unlink"):
        monkeypatch.setattr(Path, name, until(getattr(Path, name)))
    monkeypatch.setattr(subprocess, "run", until(subprocess.run))


def dies(firewall: Firewall) -> bool:
    """Whether it was killed between its start and its end."""
    try:
        firewall.load((), ())
        firewall.unload()
    except Killed:
        return True
    return False


def ways(scene: Scene) -> list[str]:
    """Default routes that the server has from routers."""
    lines = scene.server.do(lambda: Path("/proc/thread-self/net/ipv6_route").read_text()).splitlines()
    return [line[:32] for line in lines if int(line.split()[8], 16) & LEARNT == LEARNT]


def advertise(scene: Scene, prefix: str) -> None:
    """A router tells the server its network, and is believed. Not the one that the server has a way by already."""
    network = ipaddress.IPv6Network(f"{prefix}/64")
    option = struct.pack("!BBBBIII", 3, 4, 64, 0xC0, 3600, 1800, 0) + network.network_address.packed
    message = struct.pack("!BBHBBHII", 134, 0, 0, 64, 0, 1800, 0, 0) + option

    def send() -> None:
        with socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6) as router:
            router.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
            router.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_LOOP, 0)
            router.bind(("fe80::3", 0, 0, socket.if_nametoindex("eth0")))
            router.sendto(message, ("ff02::1", 0, 0, socket.if_nametoindex("eth0")))

    if "fe80::3" not in addresses(scene.internet):
        scene.internet.do(lambda: Netlink().add_address(socket.if_nametoindex("eth0"), "fe80::3"))
    give_up = time.monotonic() + PATIENCE
    while not any(ipaddress.IPv6Address(each) in network for each in addresses(scene.server)):
        assert time.monotonic() < give_up
        scene.internet.do(send)
        time.sleep(0.02)
