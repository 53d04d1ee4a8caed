"""CPU time and memory of processes, out of /proc."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

import psutil
from tests.server import Server


def cpu_seconds(pids: Iterable[int]) -> float:
    """User and system time of these processes and all their threads, to the nanosecond where the kernel tells it."""
    return sum(_thread_seconds(pid) for pid in pids)


def _thread_seconds(pid: int) -> float:
    # schedstat counts nanoseconds; the clock of utime and stime ticks every 10 ms, too coarse for a process at rest
    spent = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            spent += int((task / "schedstat").read_text().split()[0])
        except (OSError, IndexError):
            times = psutil.Process(pid).cpu_times()
            return float(times.user + times.system)
    return spent / 1e9


def pss(pids: Iterable[int]) -> float:
    """Proportional set size of these processes together, MB: pages shared by n count 1/n each."""
    return sum(psutil.Process(pid).memory_full_info().pss for pid in pids) / 1e6


def rss(pids: Iterable[int]) -> float:
    """Resident set size of these processes together, MB."""
    return sum(psutil.Process(pid).memory_info().rss for pid in pids) / 1e6


def parts(server: Server) -> dict[str, list[int]]:
    """The pids of node, control and HAProxy (its master and its workers)."""
    master = server.pid("edge")
    workers = [child.pid for child in psutil.Process(master).children(recursive=True)]
    return {"node": [server.pid("node")], "control": [server.pid("control")], "edge": [master, *workers]}


def cpu_share(parts_: Mapping[str, list[int]], seconds: float) -> dict[str, float]:
    """Per part: percent of one processor over so many seconds from now."""
    before = {name: cpu_seconds(pids) for name, pids in parts_.items()}
    began = time.monotonic()
    time.sleep(seconds)
    lasted = time.monotonic() - began
    return {name: 100 * (cpu_seconds(pids) - before[name]) / lasted for name, pids in parts_.items()}


def commands() -> list[list[str]]:
    """The command lines of all processes there are."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            found.append(process.cmdline())
    return found
