"""How the server is, as far as control can see by itself: what runs, what is left of disk and memory, what failed."""

from __future__ import annotations

import json
import os
import platform
import shutil
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import django
from django.db import connection
from django.db.models import Q

from pocketfleet import __version__
from pocketfleet.config import Config
from pocketfleet.domain.states import OperationState
from pocketfleet.models import Operation
from pocketfleet.web import reading
from pocketfleet.web.tags import size

GOOD, WARN, BAD = "good", "warn", "bad"
#: Shares of the disk and of memory that are left, below which somebody should look.
_LOW, _VERY_LOW = 0.15, 0.05
#: What PocketBase needs of inotify beyond those that are awake, for the rest of the machine.
_SPARE_WATCHERS = 30
_PATIENCE = 0.5
_TAIL = 200_000
_PROCESSES = (
    (
        "edge",
        "runtime_socket",
        "Requests to instances fail meanwhile. pocketfleet starts it again by itself; edge.log says why.",
    ),
    (
        "node",
        "gate_socket",
        "Sleeping instances do not wake meanwhile. pocketfleet starts it again by itself; node.log says why.",
    ),
)


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at: what it is, how it is, and what to do where it is not `good`."""

    name: str
    value: str
    state: str = GOOD
    advice: str = ""


@dataclass(frozen=True, slots=True)
class Part:
    """Checks that belong together."""

    title: str
    checks: list[Check] = field(default_factory=list)


def look(config: Config) -> list[Part]:
    """All of it; nothing here waits longer than a second, and nothing touches an instance."""
    counts = reading.process_counts(Q())
    awake = counts.get("awake", 0)
    return [
        Part("What runs", [*_processes(config), *_instances(counts), *_sources()]),
        Part("What is left", [_disk(config.home), *_memory(), _load(), *_watchers(awake), _database(config)]),
        Part("Versions", _versions(config)),
    ]


def last_errors(config: Config, limit: int = 10) -> list[tuple[str, str]]:
    """(log, line) of the last warnings and errors in our own logs; the newest first."""
    found = [(line[:24], name, line) for name in ("node", "control") for line in _bad_lines(config.logs, name)]
    return [(f"{name}.log", line[:500]) for _, name, line in sorted(found, reverse=True)[:limit]]


def _processes(config: Config) -> Iterator[Check]:
    for name, attribute, advice in _PROCESSES:
        listens = _asked(getattr(config, attribute)) is not None
        yield Check(
            name, "answers" if listens else "does not answer", GOOD if listens else BAD, "" if listens else advice
        )
    yield Check("control", "answers (it made this page)")


def _instances(counts: dict[str, int]) -> Iterator[Check]:
    yield Check("Awake now", str(counts.get("awake", 0)))
    if failing := counts.get("failing", 0):
        advice = "Their owners see why on each one's page; so do you, under Instances."
        yield Check("Failing", str(failing), WARN, advice)
    failed = Operation.objects.filter(state=OperationState.FAILED).order_by("-created_at").first()
    if failed is not None:
        detail = str(failed.error.get("detail", ""))[:200]
        yield Check("Last failed operation", f"{failed.kind}, {failed.created_at:%Y-%m-%d %H:%M} UTC: {detail}")


def _sources() -> Iterator[Check]:
    for source in reading.sources():
        warning = source["warning"]
        advice = f"{warning} What was known still counts; instances run on." if warning else ""
        value = "could not be looked up" if warning else "looked up"
        yield Check(f"Releases from {source['name']}", value, WARN if warning else GOOD, advice)


def _disk(home: Path) -> Check:
    usage = shutil.disk_usage(home)
    state = _by_share(usage.free, usage.total)
    advice = "Delete snapshots and backups that nobody needs, lower the retention, or give it a larger disk."
    return Check("Disk", f"{size(usage.free)} of {size(usage.total)} free", state, "" if state == GOOD else advice)


def _memory() -> Iterator[Check]:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        known = {name: int(rest.split()[0]) * 1024 for name, _, rest in (line.partition(":") for line in lines)}
        free, total = known["MemAvailable"], known["MemTotal"]
    except (OSError, ValueError, KeyError, IndexError):
        return
    state = _by_share(free, total)
    advice = "Limit how many instances may be awake at once, shorten the idle timeout, or add memory."
    yield Check("Memory", f"{size(free)} of {size(total)} available", state, "" if state == GOOD else advice)


def _load() -> Check:
    load, processors = os.getloadavg()[1], os.cpu_count() or 1
    busy = load > 2 * processors
    advice = "More wants to run than there are processors: the program top shows which." if busy else ""
    return Check("Load", f"{load:.1f} on {processors} processors", WARN if busy else GOOD, advice)


def _watchers(awake: int) -> Iterator[Check]:
    try:
        most = int(Path("/proc/sys/fs/inotify/max_user_instances").read_text())
    except (OSError, ValueError):
        return
    short = awake + _SPARE_WATCHERS > most
    advice = (
        "Past it PocketBase no longer notices changed hooks. Raise it: sysctl fs.inotify.max_user_instances=1024, "
        "and the same line in /etc/sysctl.d/ so that it stays."
    )
    yield Check("File watchers", f"{most} allowed, one each awake", WARN if short else GOOD, advice if short else "")


def _database(config: Config) -> Check:
    if connection.vendor == "sqlite":
        files = [Path(f"{config.sqlite_file}{suffix}") for suffix in ("", "-wal")]
        return Check("Database", size(sum(file.stat().st_size for file in files if file.exists())) + ", SQLite")
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_database_size(current_database())")
        found = cursor.fetchone()
    return Check("Database", size(found[0] if found else None) + ", PostgreSQL")


def _versions(config: Config) -> list[Check]:
    told = _asked(config.runtime_socket, b"show info json\n")
    try:
        known = {item["field"]["name"]: item["value"]["value"] for item in json.loads(told or b"[]")}
    except (ValueError, KeyError, TypeError):
        known = {}
    return [
        Check("pocketfleet", __version__),
        Check("HAProxy", str(known.get("Version", "not known while the edge does not answer"))),
        Check("Python", platform.python_version()),
        Check("Django", django.get_version()),
    ]


def _asked(path: Path, question: bytes = b"") -> bytes | None:
    """What a socket of ours answers; None where nobody listens."""
    try:
        with socket.socket(socket.AF_UNIX) as opened:
            opened.settimeout(_PATIENCE)
            opened.connect(str(path))
            opened.sendall(question)
            answer = b""
            while question and (part := opened.recv(65536)):
                answer += part
            return answer
    except OSError:
        return None


def _by_share(free: int, total: int) -> str:
    share = free / total if total else 1.0
    return BAD if share < _VERY_LOW else WARN if share < _LOW else GOOD


def _bad_lines(folder: Path, name: str) -> list[str]:
    try:
        with (folder / f"{name}.log").open("rb") as opened:
            opened.seek(max(0, opened.seek(0, os.SEEK_END) - _TAIL))
            lines = opened.read().decode(errors="replace").splitlines()
    except OSError:
        return []
    return [line for line in lines if line[24:].lstrip().startswith(("WARNING", "ERROR", "CRITICAL"))][-50:]
