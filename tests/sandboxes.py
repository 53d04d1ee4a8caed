"""Whether this machine can lock instances in; tests that need it are skipped loudly where it cannot."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

import pytest

from pocketfleet.config import Config
from pocketfleet.errors import SandboxUnavailable
from pocketfleet.runtime.sandbox import rights


def left_of(home: Path) -> list[str]:
    """Interfaces, control groups and rules of this home's sandbox, those that iptables was given among them."""
    prefix = rights.means(Config(home=home)).networks.prefix
    mark = prefix.removeprefix("pf").removesuffix("-")
    tops = [Path("/sys/fs/cgroup"), *Path("/sys/fs/cgroup").glob("*")]
    groups = [str(path) for top in tops for path in top.glob(f"pocketfleet-{mark}")]
    tables = subprocess.run(["nft", "list", "tables"], capture_output=True, text=True, check=True).stdout.splitlines()
    cables = [name for _, name in socket.if_nameindex() if name.startswith(prefix)]
    rules = [table for table in tables if table.endswith(f"pocketfleet_{mark}")]
    if shutil.which("iptables"):
        listed = subprocess.run(["iptables", "-w", "5", "-S", "FORWARD"], capture_output=True, text=True, check=True)
        rules += [rule for rule in listed.stdout.splitlines() if prefix in rule]
    return [*cables, *groups, *rules]


def _why_not() -> str:
    with tempfile.TemporaryDirectory(prefix="pf-") as home:
        try:
            rights.check(Config(home=Path(home)))
        except SandboxUnavailable as error:
            return error.detail
    return ""


WHY_NOT = _why_not()
needs_sandbox = pytest.mark.skipif(bool(WHY_NOT), reason=f"THE SANDBOX IS NOT TESTED HERE: {WHY_NOT}")
