"""The sandbox's runner keeps the contract, and what it starts is locked in."""

from __future__ import annotations

import contextlib
import os
import re
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from pocketfleet.domain.guest_limits import GuestLimits
from pocketfleet.runtime.guest import Guest
from pocketfleet.runtime.sandbox.netlink import Netlink
from pocketfleet.runtime.sandbox.runner import SandboxRunner
from tests.integration.runtime.rooms import House, house, request
from tests.integration.runtime.runner_contract import RunnerContract
from tests.sandboxes import left_of, limits_of, needs_sandbox

pytestmark = needs_sandbox


@pytest.fixture
async def place(home: Path) -> AsyncIterator[House]:
    """A supervisor over sandboxed guests, of which nothing is left at the end; the kernel takes cables away later."""
    async with house(home, sandboxed=True) as made:
        yield made
    assert [each for each in left_of(home) if not each.startswith("pf")] == []


async def test_processor_time_of_a_living_one_changes_and_nothing_else(place: House) -> None:
    runner = place.runner
    assert isinstance(runner, SandboxRunner)
    given = GuestLimits(memory=128 * 1024**2, cpus=0.5, processes=100, open_files=300, file_bytes=2**30)
    guest = place.add(limits=given)
    await place.supervisor.ensure(guest.instance_id, cause="GET /")
    held = {"memory": 128 * 1024**2, "cpus": 0.5, "cpu_weight": 100, "processes": 100}
    assert limits_of(place.config.home, guest.instance_id) == held
    limits = Path(f"/proc/{place.pid(guest)}/limits").read_text()
    assert re.search(r"^Max open files +300 +300 ", limits, re.MULTILINE)
    assert re.search(rf"^Max file size +{2**30} +{2**30} ", limits, re.MULTILINE)
    environment = Path(f"/proc/{place.pid(guest)}/environ").read_bytes().split(b"\0")
    assert f"GOMEMLIMIT={given.go_memory}".encode() in environment
    # less memory than it uses, and fewer processes than it has, would be its end
    runner.share(guest.instance_id, GuestLimits(memory=4096, cpus=0.25, cpu_weight=200, processes=1))
    now = limits_of(place.config.home, guest.instance_id)
    assert now == held | {"cpus": 0.25, "cpu_weight": 200}
    assert (await request(guest.listens_at, "/api/health"))["code"] == 200
    runner.share("nobody", given)
    assert limits_of(place.config.home, "nobody") == {}


class TestSandboxRunner(RunnerContract):
    """Against real cells."""

    @contextlib.asynccontextmanager
    async def occupied(self, guest: Guest) -> AsyncIterator[None]:
        """By an interface of another pocketfleet."""
        netlink, there = Netlink(), os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        netlink.make_pair("pfother-1", "pfother-2", there)
        os.close(there)
        try:
            link = socket.if_nametoindex("pfother-1")
            netlink.switch_on(link)
            netlink.add_route(guest.address, link)
            yield
        finally:
            netlink.remove(socket.if_nametoindex("pfother-1"))
            netlink.close()
