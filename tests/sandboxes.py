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

#: What is asked of a group: the files that say it in version 2 and 1.
_FILES = {
    "memory": ("memory.max", "memory.limit_in_bytes"),
    "processes": ("pids.max", "pids.max"),
    "cpus": ("cpu.max", "cpu.cfs_quota_us"),
    "cpu_weight": ("cpu.weight", "cpu.shares"),
}


def limits_of(home: Path, instance_id: str) -> dict[str, float]:
    """What the kernel holds an awake instance to, by the names of GuestLimits; nothing for one without a group."""
    found: dict[str, float] = {}
    for name, (new, old) in _FILES.items():
        for group in _groups(home):
            if (group / instance_id / new).exists():
                found[name] = float((group / instance_id / new).read_text().split()[0])
            elif (group / instance_id / old).exists():
                found[name] = float((group / instance_id / old).read_text())
                found[name] /= 10.24 if old == "cpu.shares" else 1
    return found | ({"cpus": found["cpus"] / 100_000} if found else {})


def left_of(home: Path) -> list[str]:
    """Interfaces, control groups and rules of this home's sandbox, those that iptables was given among them."""
    prefix = rights.means(Config(home=home)).networks.prefix
    mark = prefix.removeprefix("pf").removesuffix("-")
    groups = [str(path) for path in _groups(home)]
    tables = subprocess.run(["nft", "list", "tables"], capture_output=True, text=True, check=True).stdout.splitlines()
    cables = [name for _, name in socket.if_nameindex() if name.startswith(prefix)]
    rules = [table for table in tables if table.endswith(f"pocketfleet_{mark}")]
    for program in filter(shutil.which, ("iptables", "ip6tables")):
        listed = subprocess.run([program, "-w", "5", "-S", "FORWARD"], capture_output=True, text=True, check=True)
        rules += [rule for rule in listed.stdout.splitlines() if prefix in rule]
    return [*cables, *groups, *rules]


def _groups(home: Path) -> list[Path]:
    mark = rights.means(Config(home=home)).networks.prefix.removeprefix("pf").removesuffix("-")
    tops = [Path("/sys/fs/cgroup"), *Path("/sys/fs/cgroup").glob("*")]
    return [path for top in tops for path in top.glob(f"pocketfleet-{mark}")]


def _why_not() -> str:
    with tempfile.TemporaryDirectory(prefix="pf-") as home:
        try:
            rights.check(Config(home=Path(home)))
        except SandboxUnavailable as error:
            return error.detail
    return ""


WHY_NOT = _why_not()
needs_sandbox = pytest.mark.skipif(bool(WHY_NOT), reason=f"THE SANDBOX IS NOT TESTED HERE: {WHY_NOT}")
