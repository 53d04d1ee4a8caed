"""In which order the suite's files are handed to its workers: those that take long first, and some of them in parts.

A file stays with one worker, since its tests share a server. pytest-xdist would hand out the files with most tests
first: then the few tests that take minutes each come last, and one worker is waited for.
"""

from __future__ import annotations

import time
from collections import Counter

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling
from xdist.workermanage import WorkerController

#: Seconds by file, roughly, of those that take more than most; only their order matters. A run's last lines tell where
#: it has become wrong.
LONG = {
    "tests/acceptance/test_full_disk.py": 320,
    "tests/crash/test_restore_crash.py": 150,
    "tests/soak/test_soak.py": 120,
    "tests/crash/test_creating.py": 110,
    "tests/crash/test_shaken.py": 100,
    "tests/crash/test_engine.py": 80,
    "tests/acceptance/test_load.py": 73,
}
#: Files whose tests share nothing: each may go to another worker.
APART = frozenset({f"tests/crash/test_{name}.py" for name in ("restore_crash", "creating", "engine")})
#: Files whose tests share something for each value of their first parameter.
BY_PARAMETER = frozenset({"tests/acceptance/test_full_disk.py"})
#: Files and workers that a run's last lines tell of.
TOLD = 12


def scope_of(nodeid: str) -> str:
    """What stays with one worker: the file, or the part of it that a test belongs to."""
    file, _, test = nodeid.partition("::")
    if file in APART:
        return nodeid
    if file in BY_PARAMETER:
        return f"{file}[{test.partition('[')[2].partition('-')[0].rstrip(']')}]"
    return file


class LongestFirst(LoadScopeScheduling):
    """As `--dist loadfile`, in the order in which the tests are collected (see `sort`)."""

    def __init__(self, config: pytest.Config, log: Producer | None = None) -> None:
        config.option.loadscopereorder = False
        super().__init__(config, log)

    def _split_scope(self, nodeid: str) -> str:
        return scope_of(nodeid)


def sort(items: list[pytest.Item]) -> None:
    """The longest files first, the others as they are."""
    items.sort(key=lambda item: -LONG.get(item.nodeid.partition("::")[0], 0))


class Stopwatch:
    """What took how long, told at the end of a run with several workers."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._files: Counter[str] = Counter()
        self._ended: dict[str, float] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """One setup, call or teardown, in whichever worker."""
        self._files[report.nodeid.partition("::")[0]] += report.duration  # type: ignore[assignment]
        node: WorkerController | None = getattr(report, "node", None)
        if node is not None:
            self._ended[node.gateway.id] = time.monotonic() - self._began

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """The longest files, and when each worker had nothing left to do."""
        if not self._ended:
            return
        terminalreporter.section("longest files (seconds)")
        for file, seconds in self._files.most_common(TOLD):
            terminalreporter.write_line(f"{seconds:7.1f} {file}")
        ended = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in sorted(self._ended.items()))
        terminalreporter.write_line(f"workers had no more to do after {ended}")
