"""A plan whose effects are files, killed at every point; prints what became of it as JSON. Run by test_engine.py."""

from __future__ import annotations

import json
import random
import shutil
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

from pocketfleet.actions.operations import open_operation
from pocketfleet.errors import SourceDown
from pocketfleet.models import Operation, Step
from pocketfleet.operations.engine import Engine, Plan, PlanStep, Work
from tests.crash import children
from tests.crash.children import HOME, KillingDatabase, Point, until

EFFECTS = HOME / "effects"
HISTORY = HOME / "history"
NAMES = ("one", "two", "three")

#: name of the story -> (commit, live, the step that fails, how often)
STORIES: dict[str, tuple[str | None, str | None, str, int]] = {
    "succeeds": (None, None, "", 0),
    "fails": (None, None, "three", 1000),
    "rolls back": (None, "two", "three", 1000),
    "fails at once": (None, None, "one", 1000),
    "past commit, second try": ("two", None, "three", 1),
    "past commit, never": ("one", "one", "three", 1000),
}


class Toy:
    """Its steps make files and its undoings remove them; both say it when they really did."""

    def __init__(self, story: str, point: Point) -> None:
        self.commit, self.live, self.failing, self.failures = STORIES[story]
        self.point = point

    def plan(self) -> Plan:
        """Three steps."""
        steps = (PlanStep(name, partial(self._do, name), partial(self._undo, name)) for name in NAMES)
        return Plan("toy", tuple(steps), self.commit, self.live)

    async def _do(self, name: str, work: Work) -> dict[str, Any]:
        self.point.is_here(f"before {name}")
        if name == self.failing and self.failures:
            self.failures -= 1
            raise SourceDown("told to fail")
        if not (EFFECTS / name).exists():
            (EFFECTS / name).touch(exist_ok=False)
            _note(f"made {name}")
        self.point.is_here(f"after {name}")
        return {"did": name, "saw": sorted(work.outputs)}

    async def _undo(self, name: str, work: Work) -> None:
        self.point.is_here(f"before undoing {name}")
        if (EFFECTS / name).exists():
            (EFFECTS / name).unlink()
            _note(f"removed {name}")
        self.point.is_here(f"after undoing {name}")


def _note(text: str) -> None:
    with HISTORY.open("a") as history:
        history.write(text + "\n")


async def carry_out(story: str, point: Point, ask: bool) -> dict[str, Any]:
    """One life of node: ask for the operation the first time, carry out what is open, look at the outcome."""
    database = KillingDatabase(Point())
    if ask:
        await database.call(open_operation, "toy", acting_user=None)
    await database.close()
    database = KillingDatabase(point)
    engine = Engine([Toy(story, point).plan()], None, database, again=(0.0, 0.0))
    await engine.resume()
    watching = KillingDatabase(Point())
    await until(watching, children.nothing_is_open)
    await engine.stop()
    outcome = await watching.call(_outcome)
    await watching.close()
    await database.close()
    return {**outcome, "calls": database.called}


def _outcome() -> dict[str, Any]:
    operation = Operation.objects.get()
    return {
        "state": operation.state,
        "result": operation.result,
        "error": operation.error.get("code"),
        "steps": {step.name: step.state for step in Step.objects.order_by("position")},
        "effects": sorted(path.name for path in EFFECTS.iterdir()),
        "history": sorted(HISTORY.read_text().splitlines()),
    }


def tell(story: str, *points: Point) -> dict[str, Any]:
    """The story with a death at each point, one life after the other, and one more to end it."""
    children.fresh_journal()
    shutil.rmtree(EFFECTS, ignore_errors=True)
    EFFECTS.mkdir()
    HISTORY.write_text("")
    for deaths, point in enumerate([*points, Point()]):
        outcome = children.run(partial(carry_out, story, point, deaths == 0))
        if outcome is not None:
            return {**outcome, "deaths": deaths, "points": [str(point) for point in points]}
    raise AssertionError("the last life is never killed")


def around_the_journal(calls: int) -> list[Point]:
    """Before every call and after the last one: between two calls only a step's effect can lie."""
    return [*(Point(before=number) for number in range(1, calls + 1)), Point(after=calls)]


def around_effects() -> list[Point]:
    """Some of them are not reached by some stories."""
    places = (f"{when}{what} {name}" for name in NAMES for what in ("", " undoing") for when in ("before", "after"))
    return [Point(here=place) for place in places]


def main(story: str) -> None:
    """The undisturbed story first, then one for each point, then some with two deaths."""
    plain = tell(story)
    calls = plain["calls"].index("end_operation") + 1
    journal, effects = around_the_journal(calls), around_effects()
    choose: Callable[[], Point] = partial(random.Random(7).choice, [*journal, *effects])
    told = {
        "plain": [plain],
        "journal": [tell(story, point) for point in journal],
        "effects": [tell(story, point) for point in effects],
        "twice": [tell(story, choose(), choose()) for _ in range(8)],
    }
    json.dump(told, sys.stdout)
