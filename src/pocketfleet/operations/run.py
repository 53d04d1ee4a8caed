"""One operation, carried out from where its journal stands to its end."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

from django.db import OperationalError

from pocketfleet.actions.operations import (
    OperationOver,
    end_operation,
    fail_step,
    move_operation,
    move_step,
    report_progress,
    steps_of,
)
from pocketfleet.domain.states import OperationState, StepState
from pocketfleet.models import Operation, Step
from pocketfleet.operations.database import Database
from pocketfleet.operations.plan import ENDS, RESULT, Plan, PlanStep, Work
from pocketfleet.operations.problems import is_full, must_go_on, problem_of

log = logging.getLogger(__name__)

#: Seconds between two writes of a step's progress.
_PROGRESS_EVERY = 0.4
#: Seconds before the undoing of a step is tried again that a full disk stands in the way of, or that is half done:
#: until it works, for what is half undone must not be let at.
_ROOM_AGAIN = 3.0
_UNDONE = {StepState.FAILED, StepState.COMPENSATING, StepState.COMPENSATED}


class StepFailed(Exception):
    """A step failed and its failure is recorded."""


class Run:
    """Carries one operation out: forward, or backward once a step has failed."""

    def __init__(
        self,
        operation: Operation,
        plan: Plan,
        tools: Any,
        database: Database,
        again: Sequence[float],
        leave_place: Callable[[], AbstractAsyncContextManager[None]],
    ) -> None:
        self._id = operation.id
        self._instance_id = operation.instance_id or ""
        self._pending = operation.state == OperationState.PENDING
        self._params: dict[str, Any] = dict(operation.params)
        self._plan = plan
        self._tools = tools
        self._database = database
        self._again = again
        self._leave_place = leave_place
        self._error: dict[str, Any] = dict(operation.error)
        self._rows: dict[str, Step] = {}
        self._going: asyncio.Task[OperationState] | None = None
        self._gives_way = False

    async def carry_out(self) -> OperationState:
        """Claim it, do what is left to do, end it; answers its final state. Raises only if it is cancelled or the
        journal itself is broken."""
        try:
            return await self._carry_out()
        except OperationOver:
            # it ended in the journal already, before anything of it was felt
            await self._backward()
            return OperationState.CANCELLED

    def give_way(self) -> None:
        """It is over in the journal: what it is doing is dropped and undone. What is at its end is left alone."""
        if self._going is not None and not self._going.done():
            self._gives_way = True
            self._going.cancel()

    async def _carry_out(self) -> OperationState:
        if self._pending:
            await self._database.insist(move_operation, self._id, OperationState.RUNNING)
        self._rows = {row.name: row for row in await self._database.insist(steps_of, self._id)}
        try:
            if not self._has_failed():
                return await self._end(await self._go())
        except StepFailed:
            pass
        if self._committed():
            return await self._end(OperationState.FAILED)
        return await self._end(await self._backward())

    async def _go(self) -> OperationState:
        """Forward, unless it has to give way."""
        self._going = asyncio.create_task(self._forward())
        try:
            return await self._going
        except asyncio.CancelledError:
            if self._gives_way:
                raise OperationOver from None
            self._going.cancel()
            raise

    async def _forward(self) -> OperationState:
        for step in self._plan.steps:
            row = self._rows.get(step.name)
            if row is None or row.state != StepState.DONE:
                await self._do(step)
            if state := self._rows[step.name].output.get(ENDS):
                return OperationState(state)
        return OperationState.SUCCEEDED

    async def _do(self, step: PlanStep) -> None:
        waits = list(self._again) if self._plan.is_past_commit(step.name) else []
        while True:
            await self._move(step, StepState.RUNNING)
            try:
                output = await step.run(self._work(step)) or {}
            except OperationOver:
                raise
            except Exception as error:
                if not waits:
                    await self._fail(step, error)
                    raise StepFailed from error
                self._log_failure(step, error, "is tried again")
                await asyncio.sleep(waits.pop(0))
            else:
                await self._move(step, StepState.DONE, output=output)
                return

    async def _fail(self, step: PlanStep, error: Exception) -> None:
        self._log_failure(step, error, "failed")
        self._error = {**problem_of(error, self._id), "step": step.name}
        await self._database.insist(fail_step, self._id, step.name, self._error)
        self._rows[step.name].state = StepState.FAILED

    async def _backward(self) -> OperationState:
        """Undo what was begun, last first; where one cannot be undone the others still are."""
        stuck = []
        for step in sorted(self._plan.steps, key=self._position, reverse=True):
            row = self._rows.get(step.name)
            if row is None or step.compensate is None or row.state == StepState.COMPENSATED:
                continue
            if not await self._undo(step, step.compensate):
                stuck.append(step.name)
        if stuck:
            self._error["not_undone"] = stuck
            return OperationState.FAILED
        return OperationState.ROLLED_BACK if self._was_live() else OperationState.FAILED

    async def _undo(self, step: PlanStep, compensate: Callable[[Work], Awaitable[dict[str, Any] | None]]) -> bool:
        waits = list(self._again)
        while True:
            await self._move(step, StepState.COMPENSATING)
            work = self._work(step)
            try:
                output = await compensate(work) or {}
            except Exception as error:
                full, goes_on = is_full(error), must_go_on(error)
                last = not waits and not goes_on
                self._log_failure(step, error, "could not be undone" if last else "is undone again")
                if last:
                    return False
                if goes_on:
                    why = "is full; it goes on by itself once there is room" if full else "refuses; it is tried again"
                    await work.progress(None, f"the disk {why}")
                await asyncio.sleep(_ROOM_AGAIN if goes_on else waits.pop(0))
            else:
                await self._move(step, StepState.COMPENSATED, output={**self._rows[step.name].output, **output})
                return True

    async def _end(self, state: OperationState) -> OperationState:
        error = self._error or None
        result = self._result(state)
        await self._database.insist(
            end_operation, self._id, state, result=result, error=error, forget=self._plan.secret_params
        )
        return state

    def _result(self, state: OperationState) -> dict[str, Any]:
        outputs = [row.output for row in sorted(self._rows.values(), key=lambda row: row.position) if row.output]
        results = [output[RESULT] for output in outputs if RESULT in output]
        if results:
            return {key: value for result in results for key, value in result.items()}
        return outputs[-1] if outputs and state == OperationState.SUCCEEDED else {}

    def _has_failed(self) -> bool:
        return any(row.state in _UNDONE for row in self._rows.values())

    def _committed(self) -> bool:
        row = self._rows.get(self._plan.commit or "")
        return row is not None and row.state == StepState.DONE

    def _was_live(self) -> bool:
        live = self._plan.live
        return live is not None and any(self._plan.position(name) >= self._plan.position(live) for name in self._rows)

    def _position(self, step: PlanStep) -> int:
        row = self._rows.get(step.name)
        return -1 if row is None else row.position

    def _work(self, step: PlanStep) -> Work:
        return Work(
            operation_id=self._id,
            kind=self._plan.kind,
            instance_id=self._instance_id,
            params=self._params,
            outputs={name: row.output for name, row in self._rows.items() if row.output},
            tools=self._tools,
            report=_Progress(self._database, self._id, step.name).report,
            leave_place=self._leave_place,
        )

    async def _move(self, step: PlanStep, to: StepState, **fields: Any) -> None:
        self._rows[step.name] = await self._database.insist(move_step, self._id, step.name, to, **fields)

    def _log_failure(self, step: PlanStep, error: Exception, what: str) -> None:
        problem = problem_of(error, self._id)
        fields = {"operation": self._id, "instance": self._instance_id}
        trace = error if problem["code"] == "unexpected" else None
        log.warning(
            "step %s of %s %s: %s", step.name, self._plan.kind, what, problem["detail"], extra=fields, exc_info=trace
        )


class _Progress:
    """A step's progress, written down some times a second at most."""

    def __init__(self, database: Database, operation_id: str, name: str) -> None:
        self._database = database
        self._operation_id = operation_id
        self._name = name
        self._next = 0.0

    async def report(self, fraction: float | None, message: str) -> None:
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + _PROGRESS_EVERY
        try:
            await self._database.call(report_progress, self._operation_id, self._name, fraction, message)
        except OperationalError as error:
            log.warning("progress of operation %s cannot be written: %s", self._operation_id, error)
