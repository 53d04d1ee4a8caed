"""`python -m tests.integration.copies.dying HOME VERB`: work on snapshots, killed with -9 at each touch of the disk.

Prints as JSON what was there after each death, and what came of the two ways on: again, or a sweep.
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import json
import os
import shutil
import signal
import sqlite3
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

from pocketfleet.config import Config
from pocketfleet.runtime import putting_back
from pocketfleet.runtime import snapshots as snapshots_module
from pocketfleet.runtime.snapshots import SnapshotStore

INSTANCE = "aaaaaaaaaaaaaaa"
#: What a thread does to the disk; each is a moment to die at.
_TOUCHES = (
    "open",
    "os.mkdir",
    "os.rename",
    "os.remove",
    "os.rmdir",
    "os.link",
    "os.symlink",
    "os.utime",
    "os.truncate",
)


def prepare(home: Path) -> None:
    """An instance that has gone on since its snapshot `one` was taken."""
    live = home / "instances" / INSTANCE
    for name in ("pb_data/storage/c/r", "pb_data/backups", "pb_hooks", "pb_migrations", "pb_public", "pb_admin_ext"):
        (live / name).mkdir(parents=True)
    with sqlite3.connect(live / "pb_data" / "data.db") as database:
        for table in (
            "_migrations (file, applied)",
            "_collections (id, name, type)",
            "_params (id, value)",
            "_superusers (id)",
        ):
            database.execute(f"CREATE TABLE {table}")
    database.close()
    (live / "pb_data" / "storage" / "c" / "r" / "kept.txt").write_text("kept")
    (live / "pb_hooks" / "main.pb.js").write_text("old")
    (live / "pb_hooks" / "again.pb.js").symlink_to("main.pb.js")
    run(lambda: store(home).take(INSTANCE, "one", release="0.40.6", awake=False))
    (live / "pb_hooks" / "main.pb.js").write_text("new")
    (live / "pb_data" / "storage" / "c" / "r" / "new.txt").write_text("new")
    for name in ("first.zip", "second.zip"):
        (live / "pb_data" / "backups" / name).write_text(name)


def store(home: Path) -> SnapshotStore:
    """As node has it."""
    return SnapshotStore(Config(home=home))


def run(work: Callable[[], Awaitable[Any]]) -> None:
    """To its end."""

    async def awaited() -> None:
        await work()

    asyncio.run(awaited())


def tree(folder: Path) -> dict[str, str]:
    """Every file and what it holds, links by where they lead."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_symlink():
            found[str(path.relative_to(folder))] = str(path.readlink())
        elif path.is_file():
            found[str(path.relative_to(folder))] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def killed(work: Callable[[], None], at: int) -> bool:
    """Run in a child that dies at its touch of that number; whether it lived so long."""
    pid = os.fork()
    if pid == 0:
        try:
            _die_at(at)
            work()
        finally:
            os._exit(0)
    _, status = os.waitpid(pid, 0)
    return os.WIFSIGNALED(status)


def _die_at(at: int) -> None:
    count = 0

    def touch() -> None:
        nonlocal count
        count += 1
        if count == at:
            os.kill(os.getpid(), signal.SIGKILL)

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        reads = event == "open" and not arguments[2] & (os.O_WRONLY | os.O_RDWR)
        if event in _TOUCHES and not reads:
            touch()

    for name in ("exchange", "rename_new", "flush", "flush_all", "remove_tree"):
        setattr(putting_back, name, _around(getattr(putting_back, name), touch))
    sys.addaudithook(hook)


def _around(function: Callable[..., Any], touch: Callable[[], None]) -> Callable[..., Any]:
    def called(*arguments: Any) -> Any:
        touch()
        answer = function(*arguments)
        touch()
        return answer

    return called


def _nothing(*arguments: Any) -> None:
    pass


def _refuse(*arguments: Any) -> None:
    raise OSError(errno.EINVAL, "not on this file system")


def main(home: Path, verb: str) -> None:
    """One death at each touch, until the work lives through."""
    template = home / "template"
    prepare(template)
    old, snapshot = tree(template / "instances"), template / "snapshots" / INSTANCE / "one" / "data"
    whole = tree(snapshot)
    for module in (putting_back, snapshots_module):
        # a kill loses nothing that was written, and flushing a busy disk each time takes its time
        setattr(module, "flush_all", _nothing)  # noqa: B010
    if verb.endswith("-by-hand"):
        setattr(putting_back, "exchange", _refuse)  # noqa: B010 - in this process alone
    told: list[dict[str, Any]] = []
    at, more = 0, True
    while more:
        at += 1
        for way in ("again", "sweep"):
            place = home / "place"
            shutil.rmtree(place, ignore_errors=True)
            shutil.copytree(template, place, symlinks=True)
            more = killed(partial(run, _work(store(place), verb, place)), at)
            told.append({"at": at, "way": way, "died": more, **_seen(place, verb, way)})
    json.dump({"old": old, "snapshot": whole, "told": told}, sys.stdout)


def _work(snapshots: SnapshotStore, verb: str, place: Path) -> Callable[[], Awaitable[Any]]:
    target = place / "instances" / "ccccccccccccccc"
    return {
        "put_back": lambda: snapshots.put_back(INSTANCE, "one"),
        "put_back-by-hand": lambda: snapshots.put_back(INSTANCE, "one"),
        "hand_over": lambda: snapshots.hand_over(INSTANCE, "one"),
        "take": lambda: snapshots.take(INSTANCE, "two", release="0.40.6", awake=False, base="one"),
        "prepare": lambda: _prepared(snapshots),
        "copy_to": lambda: snapshots.copy_to(INSTANCE, "one", target),
        "remove": lambda: snapshots.remove(INSTANCE, "one"),
    }[verb]


async def _prepared(snapshots: SnapshotStore) -> None:
    """Ahead, and taken then. All files are fresh, so that the second pass copies them anew."""
    await snapshots.prepare(INSTANCE, "two", base="one")
    await snapshots.take(INSTANCE, "two", release="0.40.6", awake=False, base="one")


def _seen(place: Path, verb: str, way: str) -> dict[str, Any]:
    after = {"instances": tree(place / "instances"), "present": sorted(store(place).present(INSTANCE))}
    if way == "again":
        run(_work(store(place), verb, place))
    else:
        run(lambda: store(place).sweep(INSTANCE))
    return {
        "after": after,
        "instances": tree(place / "instances"),
        "present": sorted(store(place).present(INSTANCE)),
        "names": sorted(path.name for path in (place / "snapshots" / INSTANCE).iterdir()),
        "snapshots": {name: tree(store(place).path(INSTANCE, name)) for name in store(place).present(INSTANCE)},
    }


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
