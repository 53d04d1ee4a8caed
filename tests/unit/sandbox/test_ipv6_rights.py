"""A way out over IPv6 that cannot be had is said at the start, in words, whatever the sandbox's own setting."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from pocketfleet.config import Config
from pocketfleet.errors import SandboxUnavailable
from pocketfleet.runtime.sandbox import rights
from tests.sandboxes import needs_sandbox

pytestmark = needs_sandbox

#: An nft whose kernel has no nat for IPv6.
NO_NAT = """#!/bin/sh
rules=$(cat)
case $rules in *"ip6 saddr "*" masquerade"*) echo "Error: Could not process rule: Not supported" >&2; exit 1;; esac
printf %s "$rules" | exec {nft} "$@"
"""


@pytest.fixture
def no_nat(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "nft"
    program.write_text(NO_NAT.format(nft=shutil.which("nft")))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")


@pytest.mark.parametrize("sandbox", ["on", "auto"])
def test_without_nat_for_ipv6_nothing_starts_rather_than_without_it(home: Path, no_nat: None, sandbox: str) -> None:
    assert rights.choose(Config(home=home, sandbox=sandbox)) == (True, "")
    with pytest.raises(SandboxUnavailable, match=r"Not supported.*POCKETFLEET_SANDBOX_IPV6=off"):
        rights.choose(Config(home=home, sandbox=sandbox, sandbox_ipv6="on"))
    assert rights.choose(Config(home=home, sandbox="off", sandbox_ipv6="on"))[0] is False


def test_without_ipv6_in_the_kernel_nothing_starts_either(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rights, "_FORWARDING6", home / "nothing")
    with pytest.raises(SandboxUnavailable, match=r"no IPv6.*POCKETFLEET_SANDBOX_IPV6=off"):
        rights.choose(Config(home=home, sandbox_ipv6="on"))


def test_here_it_can_be_had(home: Path) -> None:
    if not Path("/proc/sys/net/ipv6").exists():
        pytest.skip("IPV6 IS NOT TESTED HERE: the kernel has none")
    assert rights.choose(Config(home=home, sandbox_ipv6="on")) == (True, "")
    assert not (home / "run").exists()
