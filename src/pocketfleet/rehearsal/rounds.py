"""One round of a rehearsal: a release on a fresh clone, started twice, looked into, asked everything, written to."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

from pocketfleet.domain.releases import Version
from pocketfleet.rehearsal.boot import Boot, boot
from pocketfleet.rehearsal.clone import Clone, Release, Surroundings, Tree, make_clone
from pocketfleet.rehearsal.identities import SUPERUSER, Identity, Minter
from pocketfleet.rehearsal.inspected import Inspected, read_data
from pocketfleet.rehearsal.replay import Answer, Client, Player
from pocketfleet.rehearsal.requests import Ask
from pocketfleet.rehearsal.sandbox import Attempt, Confined, Place
from pocketfleet.runtime import inspect
from pocketfleet.runtime.errands import Errand, Progress, carry_out
from pocketfleet.runtime.removing import remove_quietly

#: Level of errors in PocketBase's log (slog's).
_ERROR = 8
_JOBS_SECONDS = 0.5
#: Seconds that PocketBase gets to end after it left a request without an answer, and how often it comes back.
_ENDING_SECONDS = 0.2
_MOST_ENDS = 5
_LOOK_SECONDS = 0.2
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
    #: what its own superuser gets with a token of its own data; None where none can be made
    superuser_status: int | None = None
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
        self._tree: Tree | None = None

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
                running = await _ask(_Stayer(clone, running, done), script, first, progress)
        finally:
            if running is not None:
                await running.close()
            await self._leave(clone)
        return done

    async def _start(self, release: Release, done: Round) -> tuple[Clone, Confined | None]:
        """A clone and its first start; one that failed over a hook is repeated as it would go live: without hooks."""
        clone = await self._clone(release)
        start, running = await boot(clone)
        if start.fails_over_hooks:
            done.strict = start
            await self._leave(clone)
            clone = await self._clone(release)
            start, running = await boot(clone, forgiving=True)
        done.starts.append(start)
        done.output = start.output
        return clone, running

    async def _clone(self, release: Release) -> Clone:
        self._number += 1
        work = self._work / str(self._number)
        used, self._tree = self._tree, None
        return await make_clone(self._snapshot, work, release, self._surroundings, self._place, used)

    async def _leave(self, clone: Clone) -> None:
        """Nothing runs on it any more. Outside a sandbox something that PocketBase started might: then nobody may have
        its files."""
        if self._place.sandboxed:
            self._tree = clone.tree
        else:
            await asyncio.to_thread(remove_quietly, clone.folder.parent)


class _Stayer:
    """The PocketBase of a round; one that a request ended comes back, a few times, on the same clone."""

    def __init__(self, clone: Clone, running: Confined, done: Round) -> None:
        self.clone = clone
        self.done = done
        self.running = running
        self._ended = 0

    async def has_ended(self) -> bool:
        """Whether it had, or is ending; by then it is there again, if it may."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_ENDING_SECONDS):
                await asyncio.shield(self.running.ended)
        if not self.running.ended.done():
            return False
        self._ended += 1
        await self.leave()
        if self._ended <= _MOST_ENDS:
            _, running = await boot(self.clone, forgiving=self.done.strict is not None)
            self.running = running or self.running
        return True

    async def leave(self) -> None:
        """Stop it, and keep what it tried and said."""
        await self.running.stop()
        self.done.attempts += self.running.attempts
        self.running.attempts = []
        self.done.output += self.running.output()


async def _ask(stayer: _Stayer, script: Script, first: Round | None, progress: Progress) -> Confined:
    """Everything, and what came of it; who ran last is answered, ended."""
    loop, done = asyncio.get_running_loop(), stayer.done

    def work(errand: Errand) -> None:
        def has_ended() -> bool:
            return _result(asyncio.run_coroutine_threadsafe(stayer.has_ended(), loop), errand)

        client = Client(stayer.running.socket)
        try:
            _Asker(stayer.clone, client, errand, has_ended).ask(script, first, done)
        finally:
            client.close()

    begun = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S")
    try:
        await carry_out(work, progress)
        if done.ran:
            # they run by themselves, and nothing tells when they are done
            await asyncio.sleep(_JOBS_SECONDS)
    finally:
        await stayer.leave()
    done.errors = await asyncio.to_thread(_errors, stayer.clone.folder, begun)
    return stayer.running


def _result(future: Future[bool], errand: Errand) -> bool:
    """What the loop answers to its thread, unless nobody waits any more."""
    while True:
        try:
            return future.result(timeout=_LOOK_SECONDS)
        except FutureTimeout:
            try:
                errand.check()
            except BaseException:
                future.cancel()
                raise


class _Asker:
    """One round's requests, in the thread that makes them."""

    def __init__(self, clone: Clone, client: Client, errand: Errand, has_ended: Callable[[], bool]) -> None:
        self._clone = clone
        self._client = client
        self._errand = errand
        self._minter = Minter(clone.folder, clone.settings, live=True)
        self._player = Player(client, self._minter, errand, has_ended)

    def ask(self, script: Script, first: Round | None, done: Round) -> None:
        """All that reads, then tokens, then all that writes, then the tenant's jobs."""
        tell = self._telling(len(script.reading) + len(script.writing))
        if first is None:
            done.kept, done.answers, done.lost = self._player.reproduce(script.reading, tell, script.seconds[0])
            whose = {ask.identity for ask in script.reading if ask.identity.collection}
            done.tokens = {one: self._minter.token(one) for one in whose}
        else:
            done.answers = self._player.play(script.reading, tell)
        done.crons = self._crons()
        done.token_statuses = self._try_tokens(first.tokens if first else done.tokens)
        own = self._try_tokens({SUPERUSER: self._minter.token(SUPERUSER)})
        done.superuser_status = own.get(SUPERUSER)
        seconds = script.seconds[1] if first is None else None
        done.written = self._player.play(script.writing, lambda number: tell(len(script.reading) + number), seconds)
        if first is None or first.ran:
            done.ran = [job for job in done.crons or [] if not job.startswith("__pb") and self._run(job)]

    def _telling(self, total: int) -> Callable[[int], None]:
        return lambda number: self._errand.say(number / max(total, 1), f"{number} of {total} requests")

    def _crons(self) -> list[str] | None:
        """Ids of the jobs that are registered; None where this release does not tell (before 0.24.4)."""
        answer = self._client.ask("GET", "/api/crons", token=self._minter.token(SUPERUSER))
        found = answer.content() if answer.is_ok else None
        return sorted(str(job.get("id")) for job in found) if isinstance(found, list) else None

    def _run(self, job: str) -> bool:
        """Start one of the tenant's jobs; whether that could be done."""
        path = f"/api/crons/{quote(job, safe='')}"
        return self._client.ask("POST", path, token=self._minter.token(SUPERUSER)).is_ok

    def _try_tokens(self, tokens: dict[Identity, str]) -> dict[Identity, int]:
        """The status of asking for a new token with an old one, by whose it is."""
        found = {}
        is_old = Version.parse(self._clone.release.version).numbers < (0, 23, 0)
        for identity, token in tokens.items():
            path = f"/api/collections/{identity.collection}/auth-refresh"
            if identity == SUPERUSER and is_old:
                path = "/api/admins/auth-refresh"
            if token:
                found[identity] = self._client.ask("POST", path, token=token).status
        return found


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
