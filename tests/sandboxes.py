"""Whether this machine can lock instances in; tests that need it are skipped loudly where it cannot."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from pocketfleet.config import Config
from pocketfleet.errors import SandboxUnavailable
from pocketfleet.runtime.sandbox import rights


def _why_not() -> str:
    with tempfile.TemporaryDirectory(prefix="pf-") as home:
        try:
            rights.check(Config(home=Path(home)))
        except SandboxUnavailable as error:
            return error.detail
    return ""


WHY_NOT = _why_not()
needs_sandbox = pytest.mark.skipif(bool(WHY_NOT), reason=f"THE SANDBOX IS NOT TESTED HERE: {WHY_NOT}")
