"""The life of one instance's PocketBase: one start however many ask, an orderly end, and its death noticed."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import signal
import time
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from typing import Any

from pocketfleet.domain.redaction import redact
from pocketfleet.domain.states import Process
from pocketfleet.errors import PocketfleetError, StartFailed
from pocketfleet.logs import PLATFORM
from pocketfleet.runtime import preflight, probe, request_log
from pocketfleet.runtime.failures import Failures
from pocketfleet.runtime.lock import Lock, lock_path, take_lock
from pocketfleet.runtime.reasons import why_it_ended
from pocketfleet.runtime.restarts import Restart
from pocketfleet.runtime.runner import Ending, Running
from pocketfleet.runtime.surroundings import Place, SeenProcess, Surroundings

#: Seconds between two looks at what is still in flight while an instance is about to sleep.
_DRAIN_PAUSE = 0.02
#: Seconds that what a dead guest left behind gets to let go of the lock by itself.
_LEFTOVER_PATIENCE = 0.05
#: Seconds that a restore of PocketBase's own gets beyond that, where its instance must stop.
_RESTORING = 15.0
#: Seconds in which a process that is being killed, which still accepts and hangs up, is gone.
_DYING = 1.0

#: Seconds from a start's end to what is done about it for others, so that the requests that wait go on first.
_AFTER_THOSE_WHO_WAIT = 0.001

_log = logging.getLogger(__name__)


class Manner(Enum):
    """How an instance is put to sleep."""

    #: only if nobody wants it
    QUIET = "quiet"
    #: requests wait at the gate; what is in flight is waited for, and never cut off
    HALT = "halt"
    #: in any case, once what is in flight had its time
    FORCED = "forced"


@dataclass(slots=True)
class _Departure:
    """A sleep under way. Until SIGTERM has gone out it can be given up; `wanted` says that a request came."""

    wanted: bool = False
    task: asyncio.Task[bool] | None = None


@dataclass(frozen=True, slots=True)
class Peace:
    """How an instance is left while its files are copied.

    Awake: it stays so unless somebody insists. Asleep: no start begins; `wanted` is set once a request waits for one.
    """

    awake: bool
    wanted: asyncio.Event


class Keeper:
    """Keeps one instance. Whoever starts it, ends it or works on its files has its turn, one after the other."""

    def __init__(self, instance_id: str, around: Surroundings) -> None:
        #: callers that hold on to it at this moment
        self.users = 0
        self._id = instance_id
        self._around = around
        self._runner = around.runner
        self._config = around.config
        self._turn = asyncio.Lock()
        self._failures = Failures()
        self._running: Running | None = None
        self._waking: asyncio.Task[str] | None = None
        self._checking: asyncio.Task[bool] | None = None
        self._publishing: asyncio.Task[None] | None = None
        self._burying: asyncio.Task[None] | None = None
        #: what was spawned and has not answered yet
        self._starting: Running | None = None
        self._departure: _Departure | None = None
        #: why we ended it ourselves, where nobody asked for that
        self._verdict = ""
        #: those who work on its files or wait for it; no start begins before they are done
        self._rests = 0
        self._rested = asyncio.Event()
        self._wanted = asyncio.Event()
        #: requests that wait for them
        self._waiting = 0
        #: those who copy its files while it is awake
        self._copies = 0
        #: PocketBase is about to restore a backup and to re-execute itself
        self._restart: Restart | None = None

    @property
    def address(self) -> str | None:
        """Where it answers, None while it does not."""
        return self._running.address if self._running else None

    @property
    def is_up(self) -> bool:
        """Whether there is, or may be at any moment, a process to end."""
        return self._running is not None or self._waking is not None

    @property
    def is_idle(self) -> bool:
        """Whether a new keeper would do as well: nothing runs, nobody waits or works, and no failure is remembered."""
        works = (self._waking, self._checking, self._publishing, self._burying)
        under_way = self._departure is not None or any(work is not None and not work.done() for work in works)
        in_use = bool(self.users or self._rests or self._waiting or self._copies) or self._turn.locked()
        return not (self._running or under_way or in_use or self._failures.count)

    @property
    def release(self) -> str | None:
        """What runs, None while nothing does."""
        return self._running.release if self._running else None

    @property
    def failures(self) -> int:
        """How often in a row it failed."""
        return self._failures.count

    async def publish(self) -> None:
        """See Supervisor.publish."""
        if self._running is not None:
            await self._publish(self._running)

    def forgive(self) -> None:
        """Let the next request try, whatever happened before."""
        self._failures.forgive()

    async def ensure(self, cause: str, *, suspect: bool) -> str:
        """See Supervisor.ensure."""
        while True:
            running = self._running
            if self._departure is not None:
                self._departure.wanted = True
                await _settled(self._departure.task)
            elif running is None and self._rests:
                await self._wait_for_rest()
            elif running is None:
                return await asyncio.shield(self._wake(cause))
            elif not suspect or await self._still_answers(running):
                return running.address

    async def _wait_for_rest(self) -> None:
        self._wanted.set()
        self._waiting += 1
        try:
            await self._rested.wait()
        finally:
            self._waiting -= 1

    async def sleep(self, cause: str, *, drain: float | None, manner: Manner, grace: float | None = None) -> bool:
        """See Supervisor.sleep and Supervisor.halt."""
        if not await self._is_settled(drain, manner, grace):
            return False
        if manner is Manner.QUIET and (self._copies or self._is_restarting()):
            return False
        if self._running is None:
            await _settled(self._burying)
            return True
        departure = _Departure()
        departure.task = _begin(self._leave(departure, self._running, cause, drain, manner, self._grace(grace)))
        self._departure = departure
        return await asyncio.shield(departure.task)

    async def _is_settled(self, drain: float | None, manner: Manner, grace: float | None) -> bool:
        """Whether no start and no sleep of others goes on. Who may wait only so long ends what does not end."""
        bound = {Manner.QUIET: 0.0, Manner.HALT: drain, Manner.FORCED: grace}[manner]
        give_up = math.inf if bound is None else time.monotonic() + bound
        while self._departure or self._waking:
            left = give_up - time.monotonic()
            if left <= 0 and manner is not Manner.FORCED:
                return False
            if left <= 0 and (doomed := self._running or self._starting):
                self._runner.signal(doomed, signal.SIGKILL)
            task = self._departure.task if self._departure else self._waking
            # past its time it may be just about to be spawned
            await _settled(task, None if left == math.inf else max(left, _DRAIN_PAUSE))
        return True

    def _grace(self, grace: float | None) -> float:
        return self._config.stop_timeout if grace is None else min(grace, self._config.stop_timeout)

    @asynccontextmanager
    async def at_rest(self, cause: str) -> AsyncIterator[Lock]:
        """See Supervisor.at_rest."""
        self._rests += 1
        self._rested.clear()
        try:
            await self.sleep(cause, drain=self._config.stop_timeout, manner=Manner.FORCED)
            async with self._turn:
                with await self._take_lock(self._config.stop_timeout) as lock:
                    yield lock
                    if not (self._config.instances / self._id).exists():
                        lock.remove()
        finally:
            self._rests -= 1
            if not self._rests:
                self._rested.set()

    @asynccontextmanager
    async def peace(self) -> AsyncIterator[Peace]:
        """See Supervisor.peace."""
        while self._departure or self._waking or self._is_restarting() or self._is_about_to_wake():
            await _settled(self._departure.task if self._departure else self._waking)
            await self._restarted()
            await asyncio.sleep(0)
        if self._running is None:
            async with self._asleep() as peace:
                yield peace
            return
        self._copies += 1
        try:
            yield Peace(True, asyncio.Event())
        finally:
            self._copies -= 1

    def _is_about_to_wake(self) -> bool:
        """Those who waited for a rest that is over have their turn before the next one."""
        return self._waiting > 0 and not self._rests

    @asynccontextmanager
    async def _asleep(self) -> AsyncIterator[Peace]:
        """At rest, without having been put to sleep: nothing runs, and nothing was about to."""
        self._rests += 1
        self._rested.clear()
        self._wanted.clear()
        try:
            async with self._turn:
                with await self._take_lock(self._config.stop_timeout):
                    yield Peace(False, self._wanted)
        finally:
            self._rests -= 1
            if not self._rests:
                self._rested.set()

    def expect_restart(self) -> None:
        """See Supervisor.expect_restart."""
        if self._running is not None:
            self._restart = Restart(self._running.pid)
            self._note("restores a backup by itself: not stopped and not copied until it has")

    def _is_restarting(self) -> bool:
        if self._restart is not None and not self._restart.is_coming():
            self._restart = None
        return self._restart is not None

    async def _restarted(self) -> None:
        if self._restart is not None:
            await self._restart.over()

    async def adopt(self) -> bool:
        """Take on what a former node started; whether there was something. It is not published by this."""
        running = await self._runner.adopt(self._id)
        if running is None:
            await self._around.log(self._id).finish()
            return False
        self._is_up(running)
        self._note("adopted by a new node")
        _log.info("adopted pid=%d", running.pid, extra={"instance": self._id})
        return True

    # Waking

    def _wake(self, cause: str) -> asyncio.Task[str]:
        if self._waking is None:
            self._waking = _begin(self._bring_up(cause))
            self._waking.add_done_callback(self._woken)
        return self._waking

    def _woken(self, _: object) -> None:
        self._waking = None

    async def _bring_up(self, cause: str) -> str:
        """1 our turn, 2 a place among those that start, 3 start and wait for an answer, 4 publish."""
        began, asked = time.monotonic(), datetime.now(UTC)
        async with self._turn:
            self._failures.check()
            _log.info("waking: %s", cause, extra={"instance": self._id})
            self._say(Process.WAKING)
            try:
                async with Place(self._around.places):
                    running = await self._start()
            except Exception as error:
                self._note(f"woken by {cause}", asked)
                raise self._start_failed(error) from error
            self._is_up(running)
            milliseconds = (time.monotonic() - began) * 1000
            story = {
                f"woken by {cause}": asked,
                f"awake after {milliseconds:.0f} ms, PocketBase {running.release}": datetime.now(UTC),
            }
            self._publishing = _begin(self._make_known(running, story))
        return running.address

    async def _make_known(self, running: Running, story: Mapping[str, datetime]) -> None:
        """The route and the log: a millisecond that nobody need wait for, since who waits gets the address itself."""
        await asyncio.sleep(_AFTER_THOSE_WHO_WAIT)
        await self._publish(running)
        for text, at in story.items():
            self._note(text, at)
        _log.info("awake pid=%d", running.pid, extra={"instance": self._id})

    async def _start(self) -> Running:
        guest = self._around.guest_of(self._id)
        await self._around.log(self._id).finish()
        with await self._take_lock(self._config.stop_timeout) as lock:
            running = self._starting = await self._runner.start(guest, lock)
        try:
            trouble = await self._trouble_until_it_answers(running, probe.FIRST_PAUSE)
        finally:
            self._starting = None
        if trouble is None:
            return running
        await self._bury(running)
        raise StartFailed(trouble, 0)

    def _start_failed(self, error: Exception) -> StartFailed:
        if not isinstance(error, PocketfleetError | OSError):
            _log.error("start failed for a reason of our own", exc_info=error, extra={"instance": self._id})
        if isinstance(error, OSError):
            error = preflight.disk_trouble(error, self._config.home)
        reason = error.detail if isinstance(error, PocketfleetError) else f"{type(error).__name__}: {error}"
        seconds = self._failures.start_failed(reason)
        self._note(f"did not start: {reason}")
        self._note(f"next try at a request in {seconds:.0f} s or later")
        self._say(Process.FAILING)
        _log.warning("start failed: %s", reason, extra={"instance": self._id})
        return StartFailed(reason, seconds)

    def _is_up(self, running: Running) -> None:
        self._running = running
        self._verdict = ""
        self._around.log(self._id).watch()
        self._say(Process.AWAKE)
        self._runner.ended(running).add_done_callback(lambda _: self._has_ended(running))

    async def _publish(self, running: Running) -> None:
        try:
            await self._around.routes.publish(self._id, running.address)
        except (PocketfleetError, OSError) as error:
            # requests go on asking the gate until the routes are next compared with what should be
            _log.warning("route not published: %s", error, extra={"instance": self._id})

    # Is it still there?

    async def _still_answers(self, running: Running) -> bool:
        """For one that refused a connection: PocketBase re-executes itself at times, so a living pid means wait."""
        if self._checking is None:
            self._checking = _begin(self._check(running))
            self._checking.add_done_callback(self._checked)
        return await asyncio.shield(self._checking)

    def _checked(self, _: object) -> None:
        self._checking = None

    async def _check(self, running: Running) -> bool:
        trouble = await self._trouble_until_it_answers(running, 0)
        deadline = time.monotonic() + _DYING
        while trouble is None and time.monotonic() < deadline and not await probe.answers(running.address):
            await asyncio.sleep(probe.pause(0))
            trouble = await self._trouble_until_it_answers(running, 0)
        if trouble is None:
            return True
        self._has_ended(running)
        return False

    async def _trouble_until_it_answers(self, running: Running, first_pause: float) -> str | None:
        """None once it accepts connections; else, when it is dead, why. One that never accepts is ended."""
        ended = self._runner.ended(running)
        began = time.monotonic()
        await asyncio.sleep(first_pause)
        while not ended.done():
            waited = time.monotonic() - began
            if probe.accepts(running.address):
                return None
            if waited > self._config.start_timeout:
                said = redact(self._around.log(self._id).last_output())[-500:]
                self._verdict = f"PocketBase accepted no connection for {waited:.0f} s and was ended. It said: {said}"
                await self._end(running, self._config.stop_timeout)
                return self._verdict
            await asyncio.sleep(probe.pause(waited))
        return self._why(ended.result(), answered=False)

    # Its end

    def _has_ended(self, running: Running) -> None:
        if self._running is running and self._departure is None:
            self._running = None
            self._burying = _begin(self._died(running))

    async def _died(self, running: Running) -> None:
        """Nobody asked for this end: 1 route away, 2 what it left behind, 3 the reason, for its owner."""
        async with self._turn:
            await self._withdraw()
            ending = self._runner.ended(running).result()
            reason = self._verdict or self._why(ending, answered=True)
            await self._bury(running)
            lived = (datetime.now(UTC) - running.since).total_seconds()
            wait = self._failures.died(reason, lived)
            self._note(f"died: {reason}" + (f"\nnext try at a request in {wait:.0f} s or later" if wait else ""))
            self._say(Process.FAILING if wait else Process.ASLEEP, out_of_memory=ending.out_of_memory)
            _log.warning("died pid=%d: %s", running.pid, reason, extra={"instance": self._id})

    async def _leave(
        self, departure: _Departure, running: Running, cause: str, drain: float | None, manner: Manner, grace: float
    ) -> bool:
        """1 route away, 2 nothing in flight, 3 SIGTERM (from here on there is no way back), 4 files at rest."""
        _log.info("going to sleep: %s", cause, extra={"instance": self._id})
        try:
            withdrawn = await self._withdraw()
            drained = await self._is_drained(departure, running, drain, manner)
            if manner is not Manner.FORCED and not (withdrawn and drained):
                await self._publish(running)
                _log.info("stays awake: requests are in flight", extra={"instance": self._id})
                return False
            async with self._turn:
                await self._stop(running, cause, grace)
            return True
        finally:
            self._departure = None
            if self._running is running and self._runner.ended(running).done():
                self._has_ended(running)

    async def _is_drained(self, departure: _Departure, running: Running, drain: float | None, manner: Manner) -> bool:
        """Whether nothing is in flight any more. False when time is up, or when requests came and that counts."""
        give_up = time.monotonic() + _patience(drain, self._config.stop_timeout, manner)
        least = math.inf
        while not self._runner.ended(running).done():
            in_flight = await self._in_flight(streams=manner is not Manner.HALT)
            restarting = self._is_restarting()
            wanted = departure.wanted or self._around.parked(self._id) > 0 or in_flight > least
            if manner is Manner.QUIET and (wanted or restarting):
                return False
            if in_flight <= 0 and not restarting:
                return True
            if time.monotonic() >= give_up + (_RESTORING if restarting and manner is Manner.FORCED else 0):
                return False
            least = min(least, in_flight)
            await asyncio.sleep(_DRAIN_PAUSE)
        return True

    async def _in_flight(self, *, streams: bool) -> float:
        try:
            open_now = await self._around.connections(self._id)
            parked = self._around.parked(self._id)
            return open_now.connections - parked - (0 if streams else open_now.streams)
        except (PocketfleetError, OSError) as error:
            _log.warning("connections not known: %s", error, extra={"instance": self._id})
            return math.inf

    async def _stop(self, running: Running, cause: str, grace: float) -> None:
        killed = await self._end(running, grace)
        self._running = None
        await self._bury(running, put_in_order=True)
        self._failures.forgive()
        self._note(f"slept: {cause}" + (f" (killed after {grace:g} s)" if killed else ""))
        self._say(Process.ASLEEP)
        _log.info("asleep: %s", cause, extra={"instance": self._id})

    async def _end(self, running: Running, grace: float) -> bool:
        """SIGTERM, and SIGKILL after the grace; whether that was needed."""
        ended = self._runner.ended(running)
        self._runner.signal(running, signal.SIGTERM)
        await asyncio.wait({ended}, timeout=grace)
        if ended.done():
            return False
        self._runner.signal(running, signal.SIGKILL)
        await asyncio.wait({ended})
        return True

    async def _bury(self, running: Running, *, put_in_order: bool = False) -> None:
        """It is dead: take its last output over, end what it left behind, put its files in order."""
        try:
            await self._around.log(self._id).finish()
            with await self._take_lock(_LEFTOVER_PATIENCE):
                if put_in_order:
                    await asyncio.to_thread(request_log.put_in_order, self._config.instances / self._id)
        except (PocketfleetError, OSError) as error:
            # a disk that refuses must not keep a dead guest among the living
            _log.warning("files not put in order: %s", error, extra={"instance": self._id})
        with contextlib.suppress(OSError):
            self._runner.forget(running)

    # Small things

    async def _take_lock(self, patience: float) -> Lock:
        return await take_lock(lock_path(self._config.run, self._id), patience)

    async def _withdraw(self) -> bool:
        """Whether the edge is known to have no route any more."""
        await _settled(self._publishing)
        try:
            await self._around.routes.withdraw(self._id)
        except (PocketfleetError, OSError) as error:
            _log.warning("route not withdrawn: %s", error, extra={"instance": self._id})
            return False
        return True

    def _note(self, text: str, at: datetime | None = None) -> None:
        self._around.log(self._id).append(PLATFORM, text, at)

    def _say(self, process: Process, *, out_of_memory: bool = False) -> None:
        failures = self._failures
        since = self._running.since if self._running else None
        self._around.seen(SeenProcess(self._id, process, failures.reason, failures.retry_at, since, out_of_memory))

    def _why(self, ending: Ending, *, answered: bool) -> str:
        said = self._around.log(self._id).last_output()
        return why_it_ended(ending.code, said, answered=answered, cause=ending.cause)


def _patience(drain: float | None, default: float, manner: Manner) -> float:
    if drain is not None:
        return drain
    return math.inf if manner is Manner.QUIET else default


def _begin(work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
    """A task whose error somebody may or may not wait for."""
    task = asyncio.create_task(work)
    task.add_done_callback(lambda done: done.cancelled() or done.exception())
    return task


async def _settled(task: asyncio.Task[Any] | None, seconds: float | None = None) -> None:
    """Wait for its end, whatever it is, so many seconds at most; being cancelled here leaves it alone."""
    if task is not None:
        await asyncio.wait({task}, timeout=seconds)
