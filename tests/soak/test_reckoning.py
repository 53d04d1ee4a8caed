"""The soak's own judges: each finds what it is there for, and takes nothing else for it."""

from __future__ import annotations

import os
import socket
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from tests.crash.shaking import Kill
from tests.load import Entry, Write
from tests.soak import leaks
from tests.soak.books import Book, Return, damage_in, not_kept, texts_in
from tests.soak.clock import Clock
from tests.soak.leaks import Records
from tests.soak.schedules import FAULTS, STORM, WORK, schedule

ONE, TWO, GONE = "a" * 15, "b" * 15, "c" * 15
RECORDS = Records(
    frozenset({ONE, TWO}),
    awake=frozenset({TWO}),
    quarantined=frozenset({GONE}),
    snapshots=frozenset({(ONE, "s" * 15)}),
    backups=frozenset({(ONE, "one-1.zip")}),
)


def test_a_schedule_is_its_seed_and_has_everything() -> None:
    events = schedule(1, 120, 12)
    assert events == schedule(1, 120, 12) != schedule(2, 120, 12)
    assert events == sorted(events)
    assert {event.kind for event in events} == {*WORK, *FAULTS}
    assert {event.kind for event in events if event.at > 120 * STORM} <= set(WORK)
    assert all(0 <= event.subject < 12 for event in events)
    assert [event.amount for event in events if event.kind == "clock"][-1] == 0


def test_a_write_is_missed() -> None:
    writes = [Write("one", 1, 2), Write("two", 3, 4), Write("three", 5, 6)]
    assert Book().troubles(writes, ["three", "two", "one", "never acknowledged"]) == []
    assert Book().troubles(writes, ["one", "three"]) == ["lost: two"]
    assert Book().troubles(writes, ["one", "two", "two", "three"]) == ["written twice: two"]


@pytest.mark.parametrize(
    "asked, answered, missed",
    [(1, 2, True), (1, 10, False), (11, 12, False), (19, 25, False), (21, 22, True)],
    ids=["before the copy", "as it was asked for", "after it", "under way at the return", "after the return"],
)
def test_going_back_explains_what_came_after_the_copy(asked: float, answered: float, missed: bool) -> None:
    book = Book(returns=[Return(since=10, until=20)])
    assert book.troubles([Write("it", asked, answered)], []) == (["lost: it"] if missed else [])


def test_a_kill_excuses_its_own_time_and_host_and_status() -> None:
    failed = Entry(at=10, client=0, host=ONE, method="GET", path="/", status=404, took=1, trouble="")
    assert Kill("edge", "", 9, 10.5).excuses(failed)
    assert Kill("guest", ONE, 10.9, 12).excuses(failed)
    assert not Kill("guest", TWO, 9, 12).excuses(failed)
    assert not Kill("edge", "", 11.5, 12).excuses(failed)
    assert Kill("restore", ONE, 9, 12, status=404).excuses(failed)
    assert not Kill("power", ONE, 9, 12, status=503).excuses(failed)
    # a connection that rested while the edge was killed, and was used long after that
    assert Kill("edge", "", 5, 6).excuses(replace(failed, seen=4))
    assert not Kill("edge", "", 5, 6).excuses(replace(failed, seen=7))
    assert not Kill("guest", ONE, 5, 6).excuses(replace(failed, seen=4))


def notes(folder: Path, *written: str) -> Path:
    """A database as a PocketBase leaves it."""
    folder.mkdir(parents=True)
    with closing(sqlite3.connect(folder / "data.db")) as database:
        database.execute("CREATE TABLE notes (text TEXT)")
        database.executemany("INSERT INTO notes VALUES (?)", [(text,) for text in written])
        database.commit()
    return folder


def test_what_a_copy_does_not_keep_is_found(tmp_path: Path) -> None:
    present, aside = notes(tmp_path / "present", "one"), notes(tmp_path / "aside", "two")
    assert texts_in(present) == {"one"}
    assert not_kept(["one", "two"], present, aside) == []
    assert not_kept(["one", "two"], present, tmp_path / "none") == ["two"]


def test_damage_is_found(tmp_path: Path) -> None:
    data = notes(tmp_path / "pb_data", *(f"{number}" * 500 for number in range(100)))
    assert damage_in(data) == []
    content = bytearray((data / "data.db").read_bytes())
    content[4096 * 3 : 4096 * 4] = b"x" * 4096
    (data / "data.db").write_bytes(content)
    assert damage_in(data)


@pytest.mark.parametrize(
    "path",
    [
        f"instances/{ONE}/anything",
        f"logs/{ONE}/instance.log",
        f"logs/{GONE}/instance.log",
        "logs/node.log.2",
        "logs/edge.err.log",
        f"run/{ONE}.lock",
        f"run/{TWO}.json",
        f"quarantine/{GONE}/pb_data",
        f"quarantine/{ONE}-{TWO}/pb_data",
        f"snapshots/{ONE}/{'s' * 15}/manifest.json",
        f"backups/{ONE}/one-1.zip",
        "releases/0.40.6/pocketbase",
        "edge/haproxy.cfg",
        "control.sqlite3-wal",
    ],
)
def test_what_belongs_to_a_home(tmp_path: Path, path: str) -> None:
    _touch(tmp_path / path)
    assert leaks.strange_files(tmp_path, RECORDS) == []


@pytest.mark.parametrize(
    "path",
    [
        f"instances/{GONE}/pb_data",
        f"run/{GONE}.lock",
        f"run/{ONE}.json",
        f"run/{ONE}.fresh",
        f"quarantine/{'d' * 15}/pb_data",
        f"snapshots/{ONE}/.{'s' * 15}",
        f"snapshots/{ONE}/{'t' * 15}",
        f"backups/{ONE}/.one-2.zip.part",
        f"incoming/{ONE}/new",
        f"rehearsals/{ONE}/old",
        f"logs/{'d' * 15}/instance.log",
        "releases/.fetching",
        "operator.new",
    ],
)
def test_what_nothing_names(tmp_path: Path, path: str) -> None:
    _touch(tmp_path / path)
    assert leaks.strange_files(tmp_path, RECORDS) != []


def test_descriptors_that_are_left_open() -> None:
    before = {"node": Counter({"socket": 10})}
    assert leaks.leaked_descriptors(before, {"node": Counter({"socket": 10 + leaks.SLACK})}) == []
    assert leaks.leaked_descriptors(before, {"node": Counter({"socket": 11 + leaks.SLACK})}) != []
    assert leaks.leaked_descriptors(before, {"node": Counter({"logs/x.log (deleted)": 1})}) != []
    assert leaks.leaked_descriptors(before, {"node": Counter({f"instances/{ONE}/pb_data/data.db": 1})}) != []


def test_a_clock_jumps_for_those_who_are_under_it(tmp_path: Path) -> None:
    try:
        clock = Clock(tmp_path)
    except LookupError as error:
        pytest.skip(f"SKIPPED LOUDLY: {error}; no clock jumps in the soak")
    program = (
        "import datetime, sqlite3, sys, time\n"
        "for line in sys.stdin:\n"
        "    base = sqlite3.connect(':memory:')\n"
        "    said = base.execute(\"SELECT strftime('%s', 'now')\").fetchone()[0]\n"
        "    print(time.time(), datetime.datetime.now().timestamp(), said, time.monotonic(), flush=True)\n"
    )
    environment = os.environ | clock.environment
    with subprocess.Popen(
        [sys.executable, "-c", program],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin
        assert process.stdout
        for ahead in (0, 86400, 3600, 0):
            clock.jump(ahead)
            process.stdin.write("\n")
            process.stdin.flush()
            *walls, counted = map(float, process.stdout.readline().split())
            assert [round((wall - time.time() - ahead) / 60) for wall in walls] == [0, 0, 0]
            assert abs(counted - time.monotonic()) < 60
        process.stdin.close()


def test_a_socket_that_is_still_listened_on(tmp_path: Path) -> None:
    path = tmp_path / "gate.sock"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()
        assert leaks.is_listened_on(path)
    assert not leaks.is_listened_on(path)


def _touch(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
