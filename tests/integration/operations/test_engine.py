"""The engine with toy plans on a real journal: order, undoing, the commit point, and taking up again."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError

from pocketfleet.actions.operations import open_operation, prune_operations
from pocketfleet.domain.addresses import first_number
from pocketfleet.domain.hostnames import new_id
from pocketfleet.domain.states import OperationState, StepState
from pocketfleet.errors import DiskTrouble, SourceDown
from pocketfleet.models import Instance, Operation, Step
from pocketfleet.operations import run
from pocketfleet.operations.database import Database
from pocketfleet.operations.engine import Engine, Plan, PlanStep, Work
from pocketfleet.operations.plan import ends
from tests.integration.operations.waiting import until

AGAIN = (0.0, 0.0)


class Toy:
    """Steps that note what they do, and fail or wait where they are told to."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.failures: dict[str, list[Exception]] = {}
        self.waits: dict[str, asyncio.Event] = {}
        self.outputs: dict[str, dict[str, Any]] = {}
        self.seen: dict[str, Work] = {}

    async def has_said(self, how_often: int) -> None:
        """Wait until so many steps have begun."""

        async def is_so() -> bool:
            return len(self.said) >= how_often

        await until(is_so)

    def step(self, name: str, undoable: bool = True) -> PlanStep:
        """A step of this name; `-name` is its undoing."""
        return PlanStep(name, self._acts(name), self._undoes(f"-{name}") if undoable else None)

    def plan(self, *names: str, commit: str | None = None, live: str | None = None, kind: str = "toy") -> Plan:
        """A plan of such steps."""
        return Plan(kind, tuple(self.step(name) for name in names), commit, live, ("secret",))

    def _acts(self, name: str) -> Callable[[Work], Awaitable[dict[str, Any] | None]]:
        async def act(work: Work) -> dict[str, Any] | None:
            self.said.append(name)
            self.seen[name] = work
            if name in self.waits:
                await self.waits[name].wait()
            if self.failures.get(name):
                raise self.failures[name].pop(0)
            return self.outputs.get(name)

        return act

    def _undoes(self, name: str) -> Callable[[Work], Awaitable[dict[str, Any] | None]]:
        return self._acts(name)


@pytest.fixture
def toy() -> Toy:
    """A fresh one."""
    return Toy()


async def ask(database: Database, kind: str = "toy", **fields: Any) -> Operation:
    """An operation for the engine to find."""
    return await database.call(open_operation, kind, acting_user=None, **fields)


async def begin_and_let_go(database: Database, plan: Plan, toy: Toy, how_often: int) -> None:
    """Run an engine until so many steps have begun, and stop it."""
    engine = Engine([plan], "tools", database, again=AGAIN)
    await engine.resume()
    await toy.has_said(how_often)
    await engine.stop()


async def carry_out(database: Database, *plans: Plan) -> None:
    """Run an engine until none of its operations is open, and stop it."""
    engine = Engine(plans, "tools", database, again=AGAIN)
    await engine.resume()
    kinds = {plan.kind for plan in plans}

    def is_over() -> bool:
        return not Operation.objects.filter(state__in=["pending", "running"], kind__in=kinds).exists()

    await until(lambda: database.call(is_over))
    await engine.stop()


async def has(database: Database, operation: Operation, state: str) -> None:
    """Wait for the state."""

    async def is_so() -> bool:
        return (await journal(database, operation))[0].state == state

    await until(is_so)


async def journal(database: Database, operation: Operation) -> tuple[Operation, dict[str, str]]:
    """The operation and its steps' states as they are written down."""

    def read() -> tuple[Operation, dict[str, str]]:
        steps = Step.objects.filter(operation=operation).order_by("position")
        return Operation.objects.get(id=operation.id), {step.name: step.state for step in steps}

    return await database.call(read)


async def an_instance(database: Database, name: str) -> Instance:
    """An instance's row."""

    def make() -> Instance:
        number = first_number() + Instance.objects.count()
        return Instance.objects.create(id=new_id(), name=name, number=number, range="*", release="0.40.6", ready=True)

    return await database.call(make)


async def test_steps_run_in_order_and_hand_on_what_they_found(database: Database, toy: Toy) -> None:
    toy.outputs = {"one": {"found": 1}, "two": {"found": 2}}
    operation = await ask(database, params={"wanted": "x", "secret": "hash"})
    await carry_out(database, toy.plan("one", "two", "three"))
    after, steps = await journal(database, operation)
    assert toy.said == ["one", "two", "three"]
    assert toy.seen["three"].outputs == {"one": {"found": 1}, "two": {"found": 2}}
    assert toy.seen["one"].params == {"wanted": "x", "secret": "hash"}
    assert toy.seen["one"].tools == "tools"
    assert after.state == OperationState.SUCCEEDED
    assert after.result == {"found": 2}
    assert after.error == {}
    assert after.finished_at is not None
    assert list(steps.items()) == [("one", "done"), ("two", "done"), ("three", "done")]


async def test_a_step_may_end_the_operation_and_the_others_are_left_out(database: Database, toy: Toy) -> None:
    toy.outputs = {"one": {"result": {"verdict": "changed"}}, "two": ends(OperationState.ASKING, {"why": "changed"})}
    operation = await ask(database)
    await carry_out(database, toy.plan("one", "two", "three", commit="three"))
    after, steps = await journal(database, operation)
    assert toy.said == ["one", "two"]
    assert after.state == OperationState.ASKING
    assert after.result == {"verdict": "changed"}
    assert steps == {"one": "done", "two": "done"}


async def test_results_outlive_a_failure(database: Database, toy: Toy) -> None:
    toy.outputs = {"one": {"result": {"verdict": "safe"}}, "-one": {"result": {"held_ms": 7}}}
    toy.failures = {"two": [SourceDown()]}
    operation = await ask(database)
    await carry_out(database, toy.plan("one", "two"))
    after, _ = await journal(database, operation)
    assert after.state == OperationState.FAILED
    assert after.result == {"held_ms": 7}


@pytest.mark.parametrize("fails", [False, True])
async def test_secret_params_are_wiped_at_the_end(database: Database, toy: Toy, fails: bool) -> None:
    toy.failures = {"one": [SourceDown()]} if fails else {}
    operation = await ask(database, params={"wanted": "x", "secret": "hash"})
    await carry_out(database, toy.plan("one"))
    after, _ = await journal(database, operation)
    assert after.params == {"wanted": "x"}


async def test_a_failure_undoes_what_was_begun_last_first(database: Database, toy: Toy) -> None:
    toy.failures = {"two": [SourceDown("pypi is away.", source="pypi")]}
    operation = await ask(database)
    await carry_out(database, toy.plan("one", "two", "three"))
    after, steps = await journal(database, operation)
    assert toy.said == ["one", "two", "-two", "-one"]
    assert after.state == OperationState.FAILED
    assert after.error["code"] == "source_down"
    assert after.error["detail"] == "pypi is away."
    assert after.error["source"] == "pypi"
    assert after.error["step"] == "two"
    assert after.result == {}
    assert steps == {"one": StepState.COMPENSATED, "two": StepState.COMPENSATED}


@pytest.mark.parametrize("live, state", [("one", "rolled_back"), ("two", "rolled_back"), ("three", "failed")])
async def test_rolled_back_is_what_had_touched_something_live(
    database: Database, toy: Toy, live: str, state: str
) -> None:
    toy.failures = {"two": [SourceDown()]}
    operation = await ask(database)
    await carry_out(database, toy.plan("one", "two", "three", live=live))
    after, _ = await journal(database, operation)
    assert after.state == state


async def test_past_the_commit_point_steps_are_tried_again(database: Database, toy: Toy) -> None:
    toy.failures = {"three": [OSError("away"), OSError("away")]}
    operation = await ask(database)
    await carry_out(database, toy.plan("one", "two", "three", commit="two"))
    after, steps = await journal(database, operation)
    assert toy.said == ["one", "two", "three", "three", "three"]
    assert after.state == OperationState.SUCCEEDED
    assert set(steps.values()) == {"done"}


async def test_past_the_commit_point_nothing_is_undone(database: Database, toy: Toy) -> None:
    toy.failures = {"three": [SourceDown()] * 3}
    operation = await ask(database)
    await carry_out(database, toy.plan("one", "two", "three", "four", commit="two", live="one"))
    after, steps = await journal(database, operation)
    assert toy.said == ["one", "two", "three", "three", "three"]
    assert after.state == OperationState.FAILED
    assert steps == {"one": "done", "two": "done", "three": "failed"}


async def test_a_failing_commit_step_is_undone(database: Database, toy: Toy) -> None:
    toy.failures = {"two": [SourceDown()]}
    operation = await ask(database)
    await carry_out(database, toy.plan("one", "two", "three", commit="two"))
    assert toy.said == ["one", "two", "-two", "-one"]
    assert (await journal(database, operation))[0].state == OperationState.FAILED


async def test_what_cannot_be_undone_is_said_and_the_rest_is(database: Database, toy: Toy) -> None:
    toy.failures = {"three": [SourceDown()], "-two": [OSError("no")] * 3}
    operation = await ask(database)
    await carry_out(database, toy.plan("one", "two", "three", live="one"))
    after, steps = await journal(database, operation)
    assert toy.said == ["one", "two", "three", "-three", "-two", "-two", "-two", "-one"]
    assert after.state == OperationState.FAILED
    assert after.error["not_undone"] == ["two"]
    assert after.error["code"] == "source_down"
    assert steps == {"one": "compensated", "two": "compensating", "three": "compensated"}


@pytest.mark.parametrize(
    "full",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        DiskTrouble("nearly full", free=0),
        DiskTrouble("it lies aside", half_undone=True),
    ],
    ids=["refused", "reserve", "half undone"],
)
async def test_what_a_full_disk_keeps_from_being_undone_waits_for_room(
    database: Database, toy: Toy, monkeypatch: pytest.MonkeyPatch, full: Exception
) -> None:
    monkeypatch.setattr(run, "_ROOM_AGAIN", 0.0)
    toy.failures = {"three": [SourceDown()], "-two": [full] * 9}
    operation = await ask(database)
    await carry_out(database, toy.plan("one", "two", "three", live="one"))
    after, steps = await journal(database, operation)
    assert toy.said == ["one", "two", "three", "-three", *["-two"] * 10, "-one"]
    assert after.state == OperationState.ROLLED_BACK
    assert "not_undone" not in after.error
    assert set(steps.values()) == {"compensated"}


@pytest.mark.parametrize(
    "error, code, word",
    [
        (OSError(errno.ENOSPC, "No space left on device", "/x"), "disk_trouble", "full"),
        (OSError(errno.EROFS, "Read-only file system"), "disk_trouble", "read-only"),
        (PermissionError(errno.EACCES, "Permission denied"), "disk_trouble", "may not write"),
        (ZeroDivisionError("internal detail"), "unexpected", "ZeroDivisionError"),
    ],
)
async def test_errors_are_problems_with_a_next_step(
    database: Database, toy: Toy, error: Exception, code: str, word: str
) -> None:
    toy.failures = {"one": [error]}
    operation = await ask(database)
    await carry_out(database, toy.plan("one"))
    problem = (await journal(database, operation))[0].error
    assert problem["code"] == code
    assert word in problem["detail"]
    assert "internal detail" not in str(problem)
    assert {"type", "title", "status"} <= set(problem)


async def test_a_kind_from_a_newer_version_is_left_alone(database: Database, toy: Toy, caplog: Any) -> None:
    stranger = await ask(database, "from-the-future")
    operation = await ask(database)
    await carry_out(database, toy.plan("one"))
    assert (await journal(database, operation))[0].state == OperationState.SUCCEEDED
    assert (await journal(database, stranger))[0].state == OperationState.PENDING
    assert [record.levelname for record in caplog.records if "from-the-future" in record.message] == ["WARNING"]


async def test_instances_side_by_side_but_one_thing_at_a_time_on_each(database: Database, toy: Toy) -> None:
    first, second = await an_instance(database, "first"), await an_instance(database, "second")
    toy.waits = {"slow": asyncio.Event()}
    slow, quick = toy.plan("slow", kind="slow"), toy.plan("quick", kind="quick")
    a = await ask(database, "slow", instance=first)
    b = await ask(database, "quick", instance=first, exclusive=False)
    c = await ask(database, "quick", instance=second)
    engine = Engine([slow, quick], None, database)
    await engine.resume()
    await has(database, c, OperationState.SUCCEEDED)
    assert (await journal(database, a))[0].state == OperationState.RUNNING
    assert (await journal(database, b))[0].state == OperationState.PENDING
    toy.waits["slow"].set()
    await has(database, b, OperationState.SUCCEEDED)
    await engine.stop()
    assert toy.said == ["slow", "quick", "quick"]


async def test_no_more_at_once_than_the_bound(database: Database, toy: Toy) -> None:
    toy.waits = {"slow": asyncio.Event()}
    for _ in range(5):
        await ask(database)
    engine = Engine([toy.plan("slow")], None, database, at_once=2)
    await engine.resume()
    engine.notice()
    await toy.has_said(2)
    for _ in range(20):
        await asyncio.sleep(0.005)
    assert len(toy.said) == 2
    toy.waits["slow"].set()
    await toy.has_said(5)
    await engine.stop()


async def test_who_only_waits_leaves_the_place_to_others_and_comes_back_before_newcomers(
    database: Database, toy: Toy
) -> None:
    arrived, waited, held = asyncio.Event(), asyncio.Event(), asyncio.Event()
    said: list[str] = []

    async def wait(work: Work) -> None:
        async with work.aside():
            arrived.set()
            await waited.wait()
        said.append("back")

    async def hold(work: Work) -> None:
        said.append(f"holds {work.params['number']}")
        await held.wait()

    plans = [Plan("waits", (PlanStep("wait", wait),)), Plan("holds", (PlanStep("hold", hold),))]
    first = await ask(database, "waits")
    engine = Engine(plans, None, database, at_once=1)
    await engine.resume()
    await arrived.wait()
    others = [await ask(database, "holds", params={"number": number}) for number in range(2)]
    engine.notice()
    await has(database, others[0], OperationState.RUNNING)
    waited.set()
    for _ in range(20):
        await asyncio.sleep(0.005)
    assert (await journal(database, first))[0].state == OperationState.RUNNING
    held.set()
    await has(database, others[1], OperationState.SUCCEEDED)
    await has(database, first, OperationState.SUCCEEDED)
    await engine.stop()
    assert said == ["holds 0", "back", "holds 1"]


async def test_many_that_wait_elsewhere_hold_nobody_up_and_fail_alone(database: Database, toy: Toy) -> None:
    waited = asyncio.Event()
    inside: list[str] = []

    async def wait(work: Work) -> None:
        async with work.aside():
            inside.append(work.operation_id)
            await waited.wait()
            raise SourceDown()

    waiting = [await ask(database, "waits") for _ in range(20)]
    engine = Engine([Plan("waits", (PlanStep("wait", wait),)), toy.plan("one")], None, database, at_once=2)
    await engine.resume()
    quick = await ask(database)
    engine.notice()
    await has(database, quick, OperationState.SUCCEEDED)
    assert len(inside) == 20
    waited.set()
    for operation in waiting:
        await has(database, operation, OperationState.FAILED)
    quick = await ask(database)
    engine.notice()
    await has(database, quick, OperationState.SUCCEEDED)
    await engine.stop()


async def test_notice_finds_what_is_new(database: Database, toy: Toy) -> None:
    engine = Engine([toy.plan("one")], None, database)
    await engine.resume()
    operation = await ask(database)
    engine.notice()
    await has(database, operation, OperationState.SUCCEEDED)
    await engine.stop()


async def test_what_was_let_go_is_taken_up_before_what_is_new(database: Database, toy: Toy) -> None:
    toy.waits = {"two": asyncio.Event()}
    started = await ask(database)
    plan = toy.plan("one", "two", "three")
    await begin_and_let_go(database, plan, toy, 2)
    after, steps = await journal(database, started)
    assert (after.state, steps) == (OperationState.RUNNING, {"one": "done", "two": "running"})
    del toy.waits["two"]
    await carry_out(database, plan)
    after, steps = await journal(database, started)
    assert toy.said == ["one", "two", "two", "three"]
    assert after.state == OperationState.SUCCEEDED


async def test_a_plan_that_changed_meanwhile_still_ends(database: Database, toy: Toy) -> None:
    toy.waits = {"two": asyncio.Event()}
    operation = await ask(database)
    await begin_and_let_go(database, toy.plan("one", "gone", "two"), toy, 3)
    del toy.waits["two"]
    await carry_out(database, toy.plan("zero", "one", "two", "three"))
    after, steps = await journal(database, operation)
    assert toy.said == ["one", "gone", "two", "zero", "two", "three"]
    assert after.state == OperationState.SUCCEEDED
    assert set(steps.values()) == {"done"}


async def test_progress_is_shown_but_not_written_at_every_call(database: Database) -> None:
    go = asyncio.Event()

    async def chatty(work: Work) -> None:
        for number in range(1000):
            await work.progress(number / 1000, f"{number} of 1000")
        await go.wait()

    calls: list[str] = []

    class Counting(Database):
        async def call(self, function: Any, *args: Any, **kwargs: Any) -> Any:
            calls.append(function.__name__)
            return await super().call(function, *args, **kwargs)

    counting = Counting()
    operation = await ask(database)
    engine = Engine([Plan("toy", (PlanStep("chatty", chatty),))], None, counting)
    await engine.resume()

    def message() -> str:
        return Step.objects.filter(operation=operation).values_list("message", flat=True).first() or ""

    async def is_shown() -> bool:
        return bool(await database.call(message))

    await until(is_shown)
    go.set()
    await has(database, operation, OperationState.SUCCEEDED)
    await engine.stop()
    await counting.close()
    assert 1 <= calls.count("report_progress") < 20


async def test_a_journal_that_refuses_is_asked_again(database: Database, toy: Toy) -> None:
    class Refusing(Database):
        refusals = 2

        async def call(self, function: Any, *args: Any, **kwargs: Any) -> Any:
            if function.__name__ == "move_step" and Refusing.refusals:
                Refusing.refusals -= 1
                raise OperationalError("database is locked")
            return await super().call(function, *args, **kwargs)

    refusing = Refusing()
    operation = await ask(database)
    await carry_out(refusing, toy.plan("one", "two"))
    await refusing.close()
    assert toy.said == ["one", "two"]
    assert (await journal(database, operation))[0].state == OperationState.SUCCEEDED


def test_a_plan_refuses_nonsense() -> None:
    async def run(work: Work) -> None:
        return None

    one = PlanStep("one", run)
    with pytest.raises(ValueError, match="same name"):
        Plan("toy", (one, one))
    with pytest.raises(ValueError, match="no step two"):
        Plan("toy", (one,), commit="two")


async def test_old_journal_rows_go_but_the_newest_of_each_instance_stay(database: Database, toy: Toy) -> None:
    first, second = await an_instance(database, "first"), await an_instance(database, "second")
    plan = toy.plan("one")
    for instance in (first, first, first, second):
        await ask(database, instance=instance)
        await carry_out(database, plan)
    pending = await ask(database, "from-the-future")

    def prune() -> tuple[int, int, int]:
        return (
            prune_operations(timedelta(weeks=6), 1),
            prune_operations(timedelta(0), 2),
            Operation.objects.count(),
        )

    assert await database.call(prune) == (0, 1, 4)
    assert (await journal(database, pending))[0].state == OperationState.PENDING
