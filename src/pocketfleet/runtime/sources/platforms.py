"""What this machine is called in the names of PocketBase's files."""

from __future__ import annotations

import platform

from pocketfleet.errors import SourceDown

_MACHINES = {
    "x86_64": "amd64",
    "amd64": "amd64",
    "aarch64": "arm64",
    "arm64": "arm64",
    "armv7l": "armv7",
    "ppc64le": "ppc64le",
    "s390x": "s390x",
}


def platform_name() -> str:
    """`linux_amd64`, `darwin_arm64`, ... Raises SourceDown where PocketBase builds nothing for this machine."""
    machine = _MACHINES.get(platform.machine().lower())
    if machine is None:
        raise SourceDown(f"There is no PocketBase for this kind of machine ({platform.machine()}).")
    return f"{platform.system().lower()}_{machine}"


def archive_name(version: str) -> str:
    """The zip of a release for this machine, `pocketbase_0.40.6_linux_amd64.zip`."""
    return f"pocketbase_{version}_{platform_name()}.zip"
