"""Running a program of this folder in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).resolve().parents[2]


def told(home: Path, program: str, *arguments: str) -> Any:
    """The JSON that it printed."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("POCKETFLEET_")}
    environment |= {"POCKETFLEET_HOME": str(home), "DJANGO_SETTINGS_MODULE": "pocketfleet.web.settings"}
    command = [sys.executable, "-m", "tests.crash", program, *arguments]
    done = subprocess.run(command, cwd=_ROOT, env=environment, capture_output=True, timeout=500)
    assert done.returncode == 0, done.stderr.decode()[-3000:]
    return json.loads(done.stdout)
