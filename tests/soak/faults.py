"""What is done to a server while it works: kills, a full disk, a clock that jumps, reloads of the edge."""

from __future__ import annotations

import contextlib
import random
import signal
import threading
import time
from collections import Counter

import psutil

from tests.crash.shaking import VICTIMS, Kill, Shaker
from tests.server import Server
from tests.soak.clock import Clock
from tests.soak.disks import SmallDisk
from tests.soak.schedules import Event

#: Seconds for a server that was killed to greet again; its disk may be full meanwhile.
GREETS = 90.0


class Faults:
    """One after the other; what each may have cost is written down as a Kill. Disk and clock only where they are."""

    def __init__(
        self, server: Server, ids: dict[str, str], chance: random.Random, disk: SmallDisk | None, clock: Clock | None
    ) -> None:
        self.shaker = Shaker(server, ids, chance)
        self.done: Counter[str] = Counter()
        self._server = server
        self._disk = disk
        self._clock = clock
        self._emptying: threading.Thread | None = None

    def carry_out(self, event: Event) -> None:
        """Whatever it is; where it cannot be done here it is left out, and not counted."""
        if event.kind in VICTIMS:
            before = self.shaker.killed.total()
            self.shaker.kill(event.kind)
            self.done[f"{event.kind} killed"] += self.shaker.killed.total() - before
        elif event.kind == "disk":
            self._fill(event.amount)
        elif event.kind == "clock":
            self._jump(int(event.amount))
        elif event.kind == "reload":
            self._reload()
        else:
            self._kill_whole(event.kind)

    def excuse(self, kill: Kill) -> None:
        """Something else than a fault explains requests that fail."""
        self.shaker.kills.append(kill)

    def settle(self) -> None:
        """The disk has room again and everybody was heard since."""
        if self._emptying is not None:
            self._emptying.join()

    def _kill_whole(self, kind: str) -> None:
        """`serve` alone, which node and edge follow, or all of ours at once; guests live on. Then it is started again.

        A server starts on a disk with room only: it says so and ends where there is none.
        """
        self.settle()
        began = time.time()
        if kind == "everything":
            self._server.kill_all()
        else:
            self._kill_serve()
        self._server.start(GREETS)
        self.shaker.kills.append(Kill(kind, "", began, time.time()))
        self.done[f"{kind} killed"] += 1

    def _kill_serve(self) -> None:
        process = self._server.process
        assert process is not None
        family = psutil.Process(process.pid).children(recursive=True)
        guests = {found.pid for found in family if _is_guest(_command(found))}
        process.send_signal(signal.SIGKILL)
        process.wait(10)
        _, alive = psutil.wait_procs([found for found in family if found.pid not in guests], 20)
        assert not alive, f"they outlive serve: {[_command(found) for found in alive]}"
        self._server.process = None

    def _reload(self) -> None:
        with contextlib.suppress(LookupError, psutil.Error):
            self._server.reload_edge()
            self.done["edge reloaded"] += 1

    def _jump(self, ahead: int) -> None:
        if self._clock is not None:
            self._clock.jump(ahead)
            self.done["clock jumped"] += 1

    def _fill(self, seconds: float) -> None:
        """Full from now on, for so long; other faults go on meanwhile."""
        if self._disk is None:
            return
        self.settle()
        began = time.time()
        self._disk.fill()
        self._emptying = threading.Thread(target=self._empty_after, args=(self._disk, seconds, began), daemon=True)
        self._emptying.start()
        self.done["disk full"] += 1

    def _empty_after(self, disk: SmallDisk, seconds: float, began: float) -> None:
        """What failed to start is not tried again at once, so each instance is excused until it answers."""
        time.sleep(seconds)
        disk.empty()
        for host in sorted(self.shaker.ids):
            with contextlib.suppress(AssertionError):
                self.shaker.until_it_answers(host)
            self.shaker.kills.append(Kill("disk", host, began, time.time()))


def _is_guest(command: list[str]) -> bool:
    """A PocketBase, or bubblewrap around it."""
    return "serve" in command[1:2] or "/pocketbase" in command


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def until_all_answer(shaker: Shaker) -> None:
    """Every instance can be woken."""
    for host in sorted(shaker.ids):
        shaker.until_it_answers(host)
