"""Starting a release on its clone: whether it answers, how long that takes, what it migrates and what it says."""

from __future__ import annotations

import asyncio
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pocketfleet.domain.redaction import redact
from pocketfleet.errors import SnapshotUnusable
from pocketfleet.rehearsal.clone import Clone
from pocketfleet.rehearsal.replay import Client
from pocketfleet.rehearsal.sandbox import Confined, Room
from pocketfleet.runtime import inspect
from pocketfleet.runtime.reasons import why_it_ended

#: Seconds that a start may take: migrations of large data included.
PATIENCE = 120.0
_PAUSE = 0.01
#: Characters of output that go into a report.
_OUTPUT = 4000

#: The end of a start that failed over a hook, and not over a migration or the data.
_HOOKS = re.compile(r"(?i)failed to execute .*\.js|pb_hooks|\.pb\.js")

#: A collection, and the one of its parts that does not pass: a rule, its fields, its query.
_PART = re.compile(r"(?i)collection [\"'`]([\w-]+)[\"'`] validation failure: (\w+):")
#: What PocketBase names when it does not start, most telling first; the first group is the name.
_OBSTACLES = (
    r"([\w./-]+\.(?:pb\.)?js)\b",
    r"(?i)error in view (\w+)",
    r"(?i)collection [\"'`]([\w-]+)[\"'`]",
    r"(?i)(?:failed to (?:save|update|migrate) )collection ([\w-]+)",
    r"(?i)no such column: ([\w.\[\]]+)",
    r"(?i)(?:unknown|missing|invalid) (?:field|index|column) [\"'`]([\w.-]+)[\"'`]",
    r"(?i)no such table: ([\w.]+)",
    r"(?i)index [\"'`]?([\w-]+)[\"'`]? already exists",
    r"(?i)there is already another table or index with this name: ([\w-]+)",
    # an index that people made themselves: SQLite names the first of its columns
    r"(?i)constraint failed: (\w+\.\w+)",
    r"(?i)failed to apply migration ([\w.-]+)",
)


@dataclass(frozen=True, slots=True)
class Boot:
    """One start. `migrations` are the files it applied; `exit_code` is None while it runs."""

    release: str
    answered: bool
    took_ms: int
    output: str
    migrations: tuple[str, ...] = ()
    reason: str = ""
    where: str = ""
    exit_code: int | None = None

    @property
    def fails_over_hooks(self) -> bool:
        """Whether it ended because of a hook that does not load."""
        return not self.answered and bool(_HOOKS.search(self.output)) and "migration" not in self.output.lower()

    def as_json(self) -> dict[str, Any]:
        """The form that goes into a report."""
        return {
            "release": self.release,
            "answered": self.answered,
            "took_ms": self.took_ms,
            "migrations": list(self.migrations),
            "reason": self.reason,
            "where": self.where,
            "output": self.output[-_OUTPUT:],
        }


async def boot(clone: Clone, patience: float = PATIENCE, *, forgiving: bool = False) -> tuple[Boot, Confined | None]:
    """Start the release on its clone. Who gets a Confined ends it; there is none where it did not answer.

    A hook that does not load ends PocketBase, unless `forgiving`: then it goes on without its hooks, as it does live.
    """
    before = await _applied(clone.folder)
    begun = time.monotonic()
    confined = await Confined.start(clone.room, serve_arguments(clone, watch=forgiving), clone.surroundings.secrets)
    try:
        answered = await _answers(confined, patience)
        took = round((time.monotonic() - begun) * 1000)
        output = redact(confined.output())
        if answered:
            fresh = await _fresh(clone.folder, before, live=True)
            return Boot(clone.release.version, True, took, output, fresh), confined
    except BaseException:
        await confined.close()
        raise
    # as it is before we end it
    by_itself = confined.ended.done()
    code = await confined.stop()
    cause = confined.cause()
    reason = why_it_ended(code, output, answered=False, cause=cause)
    if not by_itself and not cause:
        reason = f"PocketBase did not answer within {patience:.0f} s.\n{reason}"
    fresh = await _fresh(clone.folder, before, live=False)
    return Boot(clone.release.version, False, took, output, fresh, reason, obstacle(output), code), None


def serve_arguments(clone: Clone, *, watch: bool) -> list[str]:
    """`serve` with every directory named. Without watching its hooks PocketBase ends where one does not load."""
    room: Room = clone.room
    folders = {"dir": "pb_data", "publicDir": "pb_public", "hooksDir": "pb_hooks", "migrationsDir": "pb_migrations"}
    flags = [f"--{flag}={room.root}/{name}" for flag, name in folders.items()]
    if clone.surroundings.dev:
        flags.append("--dev")
    if clone.surroundings.encryption_env:
        flags.append(f"--encryptionEnv={clone.surroundings.encryption_env}")
    return ["serve", f"--http={room.place.address}:{room.place.port}", *flags, f"--hooksWatch={str(watch).lower()}"]


def obstacle(output: str) -> str:
    """The file, collection, field or index that PocketBase names as what is in its way; "" where it names none."""
    lines = [line for line in output.splitlines() if not line.startswith("Applied ")]
    telling = [line for line in lines if re.search(r"(?i)error|fail|panic|invalid|no such", line)] or lines[-4:]
    text = "\n".join(telling)
    if found := _PART.search(text):
        return f"{found[1]}.{found[2]}"
    for pattern in _OBSTACLES:
        if found := re.search(pattern, text):
            return Path(found[1]).name if found[1].endswith(".js") else found[1]
    return ""


async def _answers(confined: Confined, patience: float) -> bool:
    end = time.monotonic() + patience
    client = Client(confined.socket, patience=2.0)
    try:
        while not confined.ended.done() and time.monotonic() < end:
            answer = await asyncio.to_thread(client.ask, "GET", "/api/health")
            if answer.status:
                return True
            await asyncio.sleep(_PAUSE)
    finally:
        client.close()
    return False


async def _applied(folder: Path, *, live: bool = False) -> list[str]:
    try:
        return await asyncio.to_thread(inspect.migrations_applied, folder, live=live)
    except SnapshotUnusable:
        return []


async def _fresh(folder: Path, before: list[str], *, live: bool) -> tuple[str, ...]:
    known = set(before)
    return tuple(name for name in await _applied(folder, live=live) if name not in known)
