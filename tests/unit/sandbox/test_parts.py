"""Addresses and users, rules, groups and the filter's program: what can be said of them without a cell."""

from __future__ import annotations

import ipaddress
import os
import platform
import struct
from pathlib import Path

import pytest

from pocketfleet.domain import addresses
from pocketfleet.domain.guest_limits import GuestLimits
from pocketfleet.runtime.reasons import why_it_ended
from pocketfleet.runtime.sandbox import filter as calls
from pocketfleet.runtime.sandbox.cgroups import CONTROLLERS, Cgroups
from pocketfleet.runtime.sandbox.firewall import Firewall, Way
from pocketfleet.runtime.sandbox.forwarding import Forwarding
from pocketfleet.runtime.sandbox.networks import network6
from pocketfleet.runtime.sandbox.passage import Passage
from pocketfleet.runtime.sandbox.ways_out import WaysOut


def firewall_of(network: str) -> Firewall:
    """One that is never loaded."""
    ways = [Way(Forwarding(version, Path("/nowhere"), "pfabcdef-"), Passage("pfabcdef-", None)) for version in (4, 6)]
    return Firewall("abcdef", "pfabcdef-", "nft", (ways[0], ways[1]), network)


@pytest.mark.parametrize("number", [0, 1, 253, 254, 65_023, 65_024, addresses.CAPACITY - 1])
def test_an_address_is_its_number(number: int) -> None:
    address = addresses.address_of(number)
    inside = addresses.sandboxed_address(address)
    assert addresses.number_of(address) == addresses.number_of(inside) == number
    assert inside.startswith("240.")
    assert addresses.user_of(inside) == addresses.USERS_FROM + number < 2**31


@pytest.mark.parametrize("address", ["127.0.0.1", "127.1.0.255", "127.255.0.1", "240.0.0.2", "localhost", "127.1.0"])
def test_what_is_no_instances_address(address: str) -> None:
    with pytest.raises(ValueError, match=address):
        addresses.number_of(address)


def test_the_rules_hold_what_was_asked_for() -> None:
    firewall = firewall_of("")
    text = firewall.rules(("10.0.0.5:5432", "10.1.0.0/16"), ("25", "465"), before=(["lo", "eth0"], []), out=WaysOut())
    assert "$" not in text
    for line in (
        "ip daddr 10.0.0.5/32 tcp dport 5432 accept",
        "ip daddr 10.1.0.0/16 accept",
        "tcp dport { 25, 465 } goto refused",
        'meta nfproto ipv4 iifname { "lo", "eth0" } oifname != "pf*" goto as_before',
        "table inet pocketfleet_abcdef {",
        "meta nfproto ipv6 goto refused",
    ):
        assert line in text
    assert "goto as_before" not in firewall.rules((), (), before=((), ()), out=WaysOut())


def test_without_the_setting_ipv6_is_closed_and_with_it_has_the_same_rules() -> None:
    closed, opened = (
        firewall_of(each).rules((), ("25",), before=((), ()), out=WaysOut()) for each in ("", "fd70:66ab:cdef::/48")
    )
    only = {line.strip() for line in closed.splitlines()} ^ {line.strip() for line in opened.splitlines()}
    assert only == {
        "meta nfproto ipv6 goto refused",
        "chain sources {",
        "type filter hook prerouting priority raw; policy accept;",
        'iifname "pfabcdef-*" meta nfproto ipv6 fib saddr . iif oif missing drop',
        "icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept",
        "exthdr rt exists goto refused",
        "ip6 daddr @inside6 goto refused",
        "ip6 daddr @routers6 goto refused",
        "rt ip6 nexthop != @routers6 goto refused",
        "add @open6 { ip6 saddr ct count over 1000 } goto refused",
        'ip6 saddr fd70:66ab:cdef::/48 oifname != "pf*" masquerade',
    }
    assert "# IPv6 o" not in closed + opened


def test_destinations_of_ipv6_are_allowed_as_those_of_ipv4() -> None:
    out = WaysOut(("2a00::1",), ("sit1",))
    text = firewall_of("fd70:66ab:cdef::/48").rules(
        ("fd00::5", "[fd00:1::/64]:5432"), (), before=([], ["lo", "eth0"]), out=out
    )
    for line in (
        "elements = { fe80::/10, fc00::/7, 2a00::1 }",
        'oifname != { "sit1" } rt ip6 nexthop != @routers6 goto refused',
        "ip6 daddr fd00::5/128 accept",
        "ip6 daddr fd00:1::/64 tcp dport 5432 accept",
        "ip6 daddr fd00:1::/64 udp dport 5432 accept",
        'meta nfproto ipv6 iifname { "lo", "eth0" } oifname != "pf*" goto as_before',
    ):
        assert line in text


def test_homes_of_one_machine_have_networks_of_their_own() -> None:
    found = [ipaddress.IPv6Network(network6(mark)) for mark in ("abcdef", "abcde0", "0bcdef", "000000")]
    assert len(set(found)) == 4
    assert all(each.subnet_of(ipaddress.IPv6Network("fd00::/8")) and each.prefixlen == 48 for each in found)


def test_what_was_noted_of_another_boot_is_not_believed_and_an_older_releases_file_is(tmp_path: Path) -> None:
    record = tmp_path / "forwarding"
    forwarding = Forwarding(4, record, "pfabcdef-")
    assert (forwarding.is_noted, forwarding.before()) == (False, [])
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    record.write_text(f"{boot}\nlo\neth0")
    assert forwarding.before() == ["lo", "eth0"]
    record.write_text(f"{boot}\nlo\neth0 accept_ra\n")
    assert Forwarding(6, record, "pfabcdef-").before() == ["lo", "eth0"]
    for other in (f"{boot[::-1]}\nlo\neth0", boot, ""):
        record.write_text(other)
        assert forwarding.before() == []


def test_limits_as_groups_of_version_2_take_them(tmp_path: Path) -> None:
    (tmp_path / "cgroup.subtree_control").write_text("memory")
    cgroups = Cgroups("abcdef", dict.fromkeys(CONTROLLERS, tmp_path), version=2)
    cgroups.prepare()
    assert (tmp_path / "cgroup.subtree_control").read_text() == "+cpu +pids"
    assert cgroups.make("one", GuestLimits(memory=1000, cpus=1.5, processes=7)) == [
        tmp_path / "pocketfleet-abcdef" / "one" / "cgroup.procs"
    ]
    made = {path.name: path.read_text() for path in (tmp_path / "pocketfleet-abcdef" / "one").iterdir()}
    assert made == {"memory.max": "1000", "pids.max": "7", "cpu.weight": "100", "cpu.max": "150000 100000"}
    one = tmp_path / "pocketfleet-abcdef" / "one"
    cgroups.share("one", GuestLimits(memory=500, cpus=0.1, cpu_weight=300, processes=3))
    assert {path.name: path.read_text() for path in one.iterdir()} == made | {
        "cpu.weight": "300",
        "cpu.max": "10000 100000",
    }
    cgroups.share("one", GuestLimits())
    assert (one / "cpu.max").read_text() == "max 100000"
    with pytest.raises(FileNotFoundError):
        cgroups.share("two", GuestLimits())
    assert (cgroups.memory_limit("one"), cgroups.memory_limit("two")) == (1000, 0)
    (one / "memory.max").write_text("max\n")
    assert cgroups.memory_limit("one") == 0
    (tmp_path / "pocketfleet-abcdef" / "one" / "memory.events").write_text("low 0\nmax 3\noom 1\noom_kill 1\n")
    assert cgroups.ended_for_memory("one")
    assert not cgroups.ended_for_memory("two")
    assert cgroups.present() == {"one"}


def test_joining_is_made_quick_where_the_kernel_knows_how() -> None:
    mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    tops = [Path(place) for _, place, kind, *_ in mounts if kind == "cgroup2"]
    if os.geteuid() != 0 or not tops or tuple(map(int, platform.release().split(".")[:2])) < (6, 0):
        pytest.skip("JOINING A GROUP QUICKLY IS NOT TESTED HERE: that takes root, cgroup2 and Linux 6.0")

    def options() -> set[str]:
        lines = Path("/proc/self/mounts").read_text().splitlines()
        return {option for line in lines if line.split()[1] == str(tops[0]) for option in line.split()[3].split(",")}

    before = options()
    if not Cgroups("abcdef", dict.fromkeys(CONTROLLERS, tops[0]), version=2).quicken():
        pytest.skip("JOINING A GROUP QUICKLY IS NOT TESTED HERE: this container may not say so")
    assert options() == before | {"favordynmods"}
    assert not Cgroups("abcdef", dict.fromkeys(CONTROLLERS, tops[0]), version=1).quicken()


def test_a_group_of_version_1_is_joined_by_the_thread(tmp_path: Path) -> None:
    tops = {name: tmp_path / name for name in CONTROLLERS}
    for top in tops.values():
        top.mkdir()
    cgroups = Cgroups("abcdef", tops, version=1)
    cgroups.prepare()
    joined = cgroups.make("one", GuestLimits())
    # a whole process at once, by cgroup.procs, makes the kernel wait for all processors
    assert joined == [top / "pocketfleet-abcdef" / "one" / "tasks" for top in tops.values()]


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_every_jump_of_the_filter_lands_in_it(machine: str) -> None:
    text = calls.program(machine)
    steps = [struct.unpack_from("=HBBI", text, at) for at in range(0, len(text), 8)]
    for at, (code, yes, no, _) in enumerate(steps):
        if code & 7 == 5:
            assert at + 1 + max(yes, no) < len(steps)
    assert steps[-1] == (0x06, 0, 0, 0x7FFF0000)
    assert len(steps) < 4096


def test_no_number_is_forbidden_twice() -> None:
    for column in (0, 1):
        numbers = [each[column] for each in calls.FORBIDDEN.values() if each[column] is not None]
        assert len(numbers) == len(set(numbers))


def test_a_cause_is_said_instead_of_the_code() -> None:
    told = why_it_ended(-9, "whatever", answered=True, cause="it used too much")
    assert told == "PocketBase was ended: it used too much."
