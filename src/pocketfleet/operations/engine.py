"""Carries operations out: claims them, runs their steps, and takes them up again after a crash."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from pocketfleet.actions.operations import open_operations
from pocketfleet.domain.states import OperationState
from pocketfleet.models import Operation
from pocketfleet.operations.database import Database
from pocketfleet.operations.plan import Plan, PlanStep, Work
from pocketfleet.operations.run import Run

__all__ = ["Engine", "Plan", "PlanStep", "Work"]

log = logging.getLogger(__name__)

#: Operations that are carried out at the same time, those not counted that only wait for a download.
AT_ONCE = 16
#: Seconds before a step past the commit point, or the undoing of one, is tried again.
AGAIN = (0.5, 2.0, 8.0)
#: Seconds until the journal is read again after a reading failed.
_READ_AGAIN = 2.0


class Engine:
    """Operations of different instances run side by side, those of one instance one after the other."""

    def __init__(
        self,
        plans: Iterable[Plan],
        tools: Any,
        database: Database,
        *,
        at_once: int = AT_ONCE,
        again: Sequence[float] = AGAIN,
        ended: Callable[[str], None] = lambda _: None,
    ) -> None:
        """`ended`: is told an instance's id whenever an operation on it has ended."""
        self._plans = {plan.kind: plan for plan in plans}
        self._tools = tools
        self._database = database
        #: those that step aside come back before anybody new begins: it is fair, and locked while one waits
        self._places = asyncio.Semaphore(at_once)
        self._again = again
        self._ended = ended
        self._bell = asyncio.Event()
        self._running: dict[str, asyncio.Task[None]] = {}
        self._runs: dict[str, Run] = {}
        self._busy: set[str] = set()
        self._left_alone: set[str] = set()
        self._dispatcher: asyncio.Task[None] | None = None

    async def resume(self) -> None:
        """Take up what was running when node ended, then what is pending; from now on `notice` finds more."""
        await self._take_up()
        self._dispatcher = asyncio.create_task(self._dispatch(), name="operations")

    def notice(self) -> None:
        """There may be pending operations."""
        self._bell.set()

    async def stop(self) -> None:
        """Let go of everything; what is open is taken up at the next start."""
        tasks = [*([self._dispatcher] if self._dispatcher else []), *self._running.values()]
        self._dispatcher = None
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _dispatch(self) -> None:
        while True:
            await self._bell.wait()
            self._bell.clear()
            try:
                await self._take_up()
            except Exception as error:
                log.error("the journal cannot be read: %s; trying again", error)
                await asyncio.sleep(_READ_AGAIN)
                self._bell.set()

    async def _take_up(self) -> None:
        begun = dict(self._runs)
        found = await self._database.call(open_operations)
        for operation_id in begun.keys() - {operation.id for operation in found}:
            begun[operation_id].give_way()
        for operation in sorted(found, key=lambda item: item.state != OperationState.RUNNING):
            if self._places.locked():
                return
            if self._is_free(operation):
                await self._places.acquire()  # at once, since it is not locked
                self._begin(operation, self._plans[operation.kind])

    def _is_free(self, operation: Operation) -> bool:
        if operation.id in self._running or operation.id in self._left_alone:
            return False
        if operation.kind not in self._plans:
            # A newer pocketfleet asked for it; it will know what to do with it.
            log.warning("operation %s is of a kind unknown here: %s", operation.id, operation.kind)
            self._left_alone.add(operation.id)
            return False
        return operation.instance_id is None or operation.instance_id not in self._busy

    def _begin(self, operation: Operation, plan: Plan) -> None:
        if operation.instance_id is not None:
            self._busy.add(operation.instance_id)
        task = asyncio.create_task(self._carry_out(operation, plan), name=f"{operation.kind} {operation.id}")
        self._running[operation.id] = task

    async def _carry_out(self, operation: Operation, plan: Plan) -> None:
        fields = {"operation": operation.id, "instance": operation.instance_id or ""}
        log.info("%s %s begins", operation.kind, operation.id, extra=fields)
        place = _Place(self._places, self._bell)
        try:
            run = Run(operation, plan, self._tools, self._database, self._again, place.aside)
            self._runs[operation.id] = run
            state = await run.carry_out()
            log.info("%s %s: %s", operation.kind, operation.id, state, extra=fields)
        except Exception:
            # Its journal cannot be followed: trying again and again would not help anybody.
            self._left_alone.add(operation.id)
            log.exception("%s %s is left alone until the next start", operation.kind, operation.id, extra=fields)
        finally:
            self._runs.pop(operation.id, None)
            del self._running[operation.id]
            self._busy.discard(operation.instance_id or "")
            place.leave()
            if operation.instance_id is not None:
                self._ended(operation.instance_id)


class _Place:
    """One operation's place among those that are carried out; it was taken when the operation began."""

    def __init__(self, places: asyncio.Semaphore, bell: asyncio.Event) -> None:
        self._places = places
        self._bell = bell
        self._held = True

    @asynccontextmanager
    async def aside(self) -> AsyncIterator[None]:
        """See Work.aside."""
        self.leave()
        try:
            yield
        finally:
            await self._places.acquire()
            self._held = True

    def leave(self) -> None:
        """Somebody else may have it; nothing where it was left already."""
        if self._held:
            self._held = False
            self._places.release()
        self._bell.set()
