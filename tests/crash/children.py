"""Runs that may be killed: each in a forked child, on a journal that is fresh for each story."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sys
import traceback
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.core.management import call_command
from django.db import connections

from pocketfleet.domain.states import OPEN_OPERATION_STATES
from pocketfleet.models import Operation
from pocketfleet.operations.database import Database

HOME = Path(os.environ["POCKETFLEET_HOME"])
_TABLES = HOME / "control.sqlite3"
_TEMPLATE = HOME / "template.sqlite3"


def kill_myself() -> None:
    """As `kill -9` does."""
    os.kill(os.getpid(), signal.SIGKILL)


@dataclass
class Point:
    """Where a run dies.

    `before`/`after`: around the n-th call of the database. `here`: where a toy's step says so. `into`: so many
    seconds into the step of that name.
    """

    before: int = 0
    after: int = 0
    here: str = ""
    into: tuple[str, float] = ("", 0.0)

    def is_here(self, name: str) -> None:
        """A toy's step is at this place."""
        if name == self.here:
            kill_myself()


class KillingDatabase(Database):
    """Kills this process at a point, and notes what was called."""

    def __init__(self, point: Point) -> None:
        super().__init__()
        self._point = point
        self.called: list[str] = []

    async def call(self, function: Any, *args: Any, **kwargs: Any) -> Any:
        """As the real one, unless it is time to die."""
        name = f"{function.__name__} {args[2]} {args[1]}" if function.__name__ == "move_step" else function.__name__
        self.called.append(name)
        if len(self.called) == self._point.before:
            kill_myself()
        result = await super().call(function, *args, **kwargs)
        if len(self.called) == self._point.after:
            kill_myself()
        if name == f"move_step running {self._point.into[0]}":
            asyncio.get_running_loop().call_later(self._point.into[1], kill_myself)
        return result


async def until(database: Database, is_so: Callable[[], bool]) -> None:
    """Ask again and again. Raises TimeoutError after a while, so that no child stays behind."""
    pause = 0.003
    async with asyncio.timeout(30):
        while not await database.call(is_so):
            await asyncio.sleep(pause)
            pause = min(1.1 * pause, 0.05)


def nothing_is_open() -> bool:
    """Whether every operation has ended."""
    return not Operation.objects.filter(state__in=OPEN_OPERATION_STATES).exists()


def fresh_journal() -> None:
    """Empty tables; migrated once and copied from then on."""
    for name in ("", "-wal", "-shm"):
        _TABLES.with_name(_TABLES.name + name).unlink(missing_ok=True)
    if not _TEMPLATE.exists():
        _in_child(_migrate)
    shutil.copyfile(_TEMPLATE, _TABLES)


def run(work: Callable[[], Awaitable[dict[str, Any]]]) -> dict[str, Any] | None:
    """What the work answers, or None where it was killed. Raises RuntimeError where it ended otherwise."""
    return _in_child(lambda: asyncio.run(_awaited(work)))


def _migrate() -> dict[str, Any]:
    call_command("migrate", verbosity=0)
    connections["default"].cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connections.close_all()
    shutil.copyfile(_TABLES, _TEMPLATE)
    return {}


async def _awaited(work: Callable[[], Awaitable[dict[str, Any]]]) -> dict[str, Any]:
    return await work()


def _in_child(work: Callable[[], dict[str, Any]]) -> dict[str, Any] | None:
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        _be_child(work, writing)
    os.close(writing)
    with os.fdopen(reading) as answer:
        text = answer.read()
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
        return None
    if status != 0:
        raise RuntimeError(f"a child ended with status {status}")
    answered: dict[str, Any] = json.loads(text)
    return answered


def _be_child(work: Callable[[], dict[str, Any]], writing: int) -> None:
    code = 1
    try:
        text = json.dumps(work())
        with os.fdopen(writing, "w") as answer:
            answer.write(text)
        code = 0
    except BaseException:
        traceback.print_exc(file=sys.stderr)
    finally:
        sys.stderr.flush()
        os._exit(code)
