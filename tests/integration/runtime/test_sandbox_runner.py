"""The sandbox's runner keeps the contract, and what it starts is locked in."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from pocketfleet.runtime.guest import Guest
from pocketfleet.runtime.sandbox.netlink import Netlink
from tests.integration.runtime.rooms import House, house
from tests.integration.runtime.runner_contract import RunnerContract
from tests.sandboxes import left_of, needs_sandbox

pytestmark = needs_sandbox


@pytest.fixture
async def place(home: Path) -> AsyncIterator[House]:
    """A supervisor over sandboxed guests, of which nothing is left at the end; the kernel takes cables away later."""
    async with house(home, sandboxed=True) as made:
        yield made
    assert [each for each in left_of(home) if not each.startswith("pf")] == []


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
