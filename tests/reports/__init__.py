"""Reports of real rehearsals, kept as JSON so that pages are tried on what really comes: large, long and hostile.

Made anew by `python -m tests.reports.make`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent
NAMES = ("safe", "planted", "old-hooks", "broken-rule", "lost-record", "ugly")


def report(name: str) -> dict[str, Any]:
    """One of them."""
    found: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text())
    return found
