"""Facts about processes by pid: when one began, whether it lives, which hold a file open, and its end by pidfd."""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import signal
from collections.abc import Callable
from pathlib import Path

_PROC = Path("/proc")


def start_time(pid: int) -> int | None:
    """Clock ticks from boot to the start of the process (proc(5), field 22); None where there is none, or a zombie.

    Together with the pid it names one process for as long as the machine is up; `exec` does not change it.
    """
    try:
        text = (_PROC / str(pid) / "stat").read_text()
    except OSError:
        return None
    state, *fields = text.rpartition(")")[2].split()
    return None if state in "ZXx" else int(fields[18])


def command_of(pid: int) -> list[str]:
    """The command line, empty where the process is gone."""
    try:
        return (_PROC / str(pid) / "cmdline").read_bytes().decode(errors="replace").split("\0")[:-1]
    except OSError:
        return []


def holders(path: Path) -> list[int]:
    """Pids of all processes but this one that have the file open. Reads all of /proc: for rare cases only."""
    try:
        wanted = path.stat()
    except FileNotFoundError:
        return []
    pids = [int(entry.name) for entry in _PROC.iterdir() if entry.name.isdigit()]
    return [pid for pid in pids if pid != os.getpid() and has_open(pid, wanted)]


def has_open(pid: int, wanted: os.stat_result) -> bool:
    """Whether the process has this very file open, as far as we may see."""
    with contextlib.suppress(OSError), os.scandir(_PROC / str(pid) / "fd") as entries:
        for entry in entries:
            with contextlib.suppress(OSError):
                if os.path.samestat(entry.stat(), wanted):
                    return True
    return False


class Pidfd:
    """A process that cannot be mistaken for another: signals and its end go through the descriptor."""

    def __init__(self, pid: int) -> None:
        """Raises ProcessLookupError where there is no such process."""
        self.pid = pid
        self._descriptor = os.pidfd_open(pid)

    def signal(self, number: signal.Signals) -> None:
        """Nothing happens where it has ended already."""
        if self._descriptor >= 0:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._descriptor, number)

    def has_ended(self) -> bool:
        """Zombies have."""
        if self._descriptor < 0:
            return True
        poll = select.poll()
        poll.register(self._descriptor, select.POLLIN)
        return bool(poll.poll(0))

    def on_end(self, act: Callable[[], None]) -> None:
        """Call once when it ends, child or not; the descriptor is closed then."""
        loop = asyncio.get_running_loop()

        def ended() -> None:
            self.close()
            act()

        loop.add_reader(self._descriptor, ended)

    def close(self) -> None:
        """Stop watching."""
        if self._descriptor < 0:
            return
        with contextlib.suppress(RuntimeError):
            asyncio.get_running_loop().remove_reader(self._descriptor)
        os.close(self._descriptor)
        self._descriptor = -1


async def kill(pid: int, still_wanted: Callable[[], bool]) -> None:
    """SIGKILL a process that is not ours to reap, and wait until it is gone.

    `still_wanted` is asked once the pid is pinned, so that a successor of the same number is never hit.
    """
    try:
        process = Pidfd(pid)
    except ProcessLookupError:
        return
    try:
        if not still_wanted():
            return
        process.signal(signal.SIGKILL)
        while not process.has_ended():  # noqa: ASYNC110 - a matter of milliseconds
            await asyncio.sleep(0.001)
    finally:
        process.close()
