"""One round of a rehearsal: a release on a fresh clone, started twice, looked into, asked everything, written to."""

from __future__ import annotations

import asyncio
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pocketfleet.domain.releases import Version
from pocketfleet.rehearsal.boot import Boot, boot
from pocketfleet.rehearsal.clone import Clone, Release, Surroundings, make_clone
from pocketfleet.rehearsal.identities import SUPERUSER, Identity, Minter
from pocketfleet.rehearsal.inspected import Inspected, read_data
from pocketfleet.rehearsal.replay import Answer, Client, Player
from pocketfleet.rehearsal.requests import Ask
from pocketfleet.rehearsal.sandbox import Attempt, Confined, Place
from pocketfleet.runtime import inspect
from pocketfleet.runtime.errands import Errand, Progress, carry_out

#: Level of errors in PocketBase's log (slog's).
_ERROR = 8
_JOBS_SECONDS = 0.5
_VARIES = re.compile(r"\b[a-z0-9]{15}\b|\d+")


@dataclass(frozen=True, slots=True)
class Script:
    """What every round asks, in this order: what reads, then what writes; and the seconds that the first one has."""

    reading: Sequence[Ask]
    writing: Sequence[Ask]
    seconds: tuple[float, float] = (90.0, 45.0)


@dataclass(slots=True)
class Round:
    """What came of it. Without `answers` the release did not start; `strict` is a start that failed over a hook."""

    release: str
    starts: list[Boot] = field(default_factory=list)
    strict: Boot | None = None
    inspected: Inspected | None = None
    answers: list[Answer] = field(default_factory=list)
    written: list[Answer] = field(default_factory=list)
    #: what could not be reproduced, or took too long; the first round alone has it
    lost: list[Ask] = field(default_factory=list)
    #: what is asked from now on; the first round alone has it
    kept: list[Ask] = field(default_factory=list)
    #: tokens of the first round's data by identity, and the status that each gave here
    tokens: dict[Identity, str] = field(default_factory=dict)
    token_statuses: dict[Identity, int] = field(default_factory=dict)
    crons: list[str] | None = None
    #: the tenant's own jobs that were started, last of all
    ran: list[str] = field(default_factory=list)
    #: what PocketBase logged as an error, requests apart
    errors: set[str] = field(default_factory=set)
    attempts: list[Attempt] = field(default_factory=list)
    output: str = ""

    @property
    def answered(self) -> bool:
        """Whether the release started, and started again."""
        return len(self.starts) == 2 and all(start.answered for start in self.starts)


class Stage:
    """Where rounds take place: a snapshot, a folder of one's own, and what PocketBase is given."""

    def __init__(self, snapshot: Path, work: Path, surroundings: Surroundings, place: Place) -> None:
        self._snapshot = snapshot
        self._work = work
        self._surroundings = surroundings
        self._place = place
        self._number = 0

    async def play(self, release: Release, script: Script, first: Round | None, progress: Progress) -> Round:
        """A whole round. `first` is the first one, None if this is it: then the script is only a proposal."""
        done = Round(release.version)
        clone, running = await self._start(release, done)
        try:
            if running is None:
                return done
            await running.stop()
            done.inspected = await asyncio.to_thread(read_data, clone.folder, Version.parse(release.version))
            again, running = await boot(clone, forgiving=done.strict is not None)
            done.starts.append(again)
            if running is not None:
                await _ask(clone, running, script, first, done, progress)
        finally:
            if running is not None:
                await running.close()
            await asyncio.to_thread(shutil.rmtree, clone.folder.parent, ignore_errors=True)
        return done

    async def _start(self, release: Release, done: Round) -> tuple[Clone, Confined | None]:
        """A clone and its first start; one that failed over a hook is repeated as it would go live: without hooks."""
        clone = await self._clone(release)
        start, running = await boot(clone)
        if start.fails_over_hooks:
            done.strict = start
            await asyncio.to_thread(shutil.rmtree, clone.folder.parent, ignore_errors=True)
            clone = await self._clone(release)
            start, running = await boot(clone, forgiving=True)
        done.starts.append(start)
        done.output = start.output
        return clone, running

    async def _clone(self, release: Release) -> Clone:
        self._number += 1
        work = self._work / str(self._number)
        return await make_clone(self._snapshot, work, release, self._surroundings, self._place)


async def _ask(
    clone: Clone, running: Confined, script: Script, first: Round | None, done: Round, progress: Progress
) -> None:
    def work(errand: Errand) -> None:
        client = Client(running.socket)
        try:
            _play(clone, client, errand, script, first, done)
        finally:
            client.close()

    begun = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S")
    await carry_out(work, progress)
    if done.ran:
        # they run by themselves, and nothing tells when they are done
        await asyncio.sleep(_JOBS_SECONDS)
    await running.stop()
    done.attempts = running.attempts
    done.errors = await asyncio.to_thread(_errors, clone.folder, begun)
    done.output += running.output()


def _play(clone: Clone, client: Client, errand: Errand, script: Script, first: Round | None, done: Round) -> None:
    minter = Minter(clone.folder, clone.settings, live=True)
    player = Player(client, minter, errand)
    tell = _telling(errand, len(script.reading) + len(script.writing))
    if first is None:
        done.kept, done.answers, done.lost = player.reproduce(script.reading, tell, script.seconds[0])
    else:
        done.answers = player.play(script.reading, tell)
    done.crons = _crons(client, minter)
    whose = {ask.identity for ask in script.reading if ask.identity.collection}
    done.tokens = {one: minter.token(one) for one in whose} if first is None else {}
    done.token_statuses = _try_tokens(client, first.tokens if first else done.tokens, clone.release)
    seconds = script.seconds[1] if first is None else None
    done.written = player.play(script.writing, lambda number: tell(len(script.reading) + number), seconds)

    jobs = [job for job in done.crons or [] if not job.startswith("__pb")]
    if first is None or first.ran:
        done.ran = [job for job in jobs if _run(client, minter, job)]


def _run(client: Client, minter: Minter, job: str) -> bool:
    """Start one of the tenant's jobs; whether that could be done."""
    return client.ask("POST", f"/api/crons/{quote(job, safe='')}", token=minter.token(SUPERUSER)).is_ok


def _errors(folder: Path, begun: str) -> set[str]:
    """What was logged as an error since then, without what varies."""
    found = set()
    for row in inspect.request_log(folder):
        if str(row["created"]) < begun:
            break
        if row["level"] >= _ERROR and row.get("type") != "request":
            facts = [str(row[name]) for name in ("jobId", "error", "details") if row.get(name)]
            found.add(_VARIES.sub("…", ": ".join([str(row["message"]), *facts]))[:300])
    return found


def _telling(errand: Errand, total: int) -> Any:
    def tell(number: int) -> None:
        errand.say(number / max(total, 1), f"{number} of {total} requests")

    return tell


def _crons(client: Client, minter: Minter) -> list[str] | None:
    """Ids of the jobs that are registered; None where this release does not tell (before 0.24.4)."""
    answer = client.ask("GET", "/api/crons", token=minter.token(SUPERUSER))
    found = answer.content() if answer.is_ok else None
    return sorted(str(job.get("id")) for job in found) if isinstance(found, list) else None


def _try_tokens(client: Client, tokens: dict[Identity, str], release: Release) -> dict[Identity, int]:
    """The status of asking for a new token with an old one, by whose it is."""
    found = {}
    for identity, token in tokens.items():
        name = identity.collection
        old_superuser = identity == SUPERUSER and Version.parse(release.version).numbers < (0, 23, 0)
        path = "/api/admins/auth-refresh" if old_superuser else f"/api/collections/{name}/auth-refresh"
        if token:
            found[identity] = client.ask("POST", path, token=token).status
    return found
