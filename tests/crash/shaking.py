"""Kills at random instants of our processes and of PocketBase, beside clients of which only some may notice."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from collections import Counter
from dataclasses import dataclass, field

import httpx

from tests.load import Entry, Load
from tests.server import Server, until

#: Who is killed; an instance's PocketBase is `guest`.
VICTIMS = ("node", "control", "edge", "guest")
#: Nobody notices the death of these: no request passes through them.
UNNOTICED = ("node", "control")


@dataclass(frozen=True, slots=True)
class Kill:
    """One that could be noticed, from just before it to the first answer after it; seconds since 1970."""

    victim: str
    #: whose PocketBase; "" for the edge, which carries everybody's requests
    host: str
    began: float
    ended: float
    #: the one status that it explains; 0 for whatever happened
    status: int = 0

    def excuses(self, failed: Entry) -> bool:
        """Whether that request was under way while it was felt; for the edge, whether its connection was there."""
        concerned = self.host in ("", failed.host) and self.status in (0, failed.status)
        since = failed.at if self.host else failed.seen or failed.at
        return concerned and since <= self.ended and failed.at + failed.took >= self.began


@dataclass
class Shaker:
    """Kills, and knows what each may have cost."""

    server: Server
    #: instances by name
    ids: dict[str, str]
    chance: random.Random
    killed: Counter[str] = field(default_factory=Counter)
    kills: list[Kill] = field(default_factory=list)

    def kill(self, victim: str) -> None:
        """With -9, whatever it is doing. One that does not run just now counts as none."""
        began = time.time()
        host = self.chance.choice(sorted(self.ids)) if victim == "guest" else ""
        if not (self._kill_guest(host) if host else self._kill_ours(victim)):
            return
        self.killed[victim] += 1
        if victim not in UNNOTICED:
            self.until_it_answers(host or self.chance.choice(sorted(self.ids)))
            self.kills.append(Kill(victim, host, began, time.time()))

    def require_excuses(self, load: Load) -> None:
        """Raises AssertionError with requests that failed though nobody died whom they could need."""
        failed = [entry for entry in load.failures if not any(kill.excuses(entry) for kill in self.kills)]
        shown = "\n".join(map(str, failed[:20]))
        assert not failed, f"{len(failed)} of {load.requests} failed without a reason:\n{shown}\n{self.kills}"

    def _kill_ours(self, victim: str) -> bool:
        with contextlib.suppress(LookupError):
            self.server.kill(victim)
            return True
        return False

    def _kill_guest(self, host: str) -> bool:
        pids = self.server.guest_pids(self.ids[host])
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return bool(pids)

    def until_it_answers(self, host: str) -> None:
        """A request through the edge, and where it sleeps it is woken."""

        def answers() -> bool:
            with contextlib.suppress(httpx.HTTPError), self.server.client(host) as client:
                return client.get("/api/health").status_code == 200
            return False

        until(answers, 90, f"{host} to answer again")
