"""How times, events and problems are put into words."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from django.db import IntegrityError, InterfaceError, OperationalError, ProgrammingError

from pocketfleet.errors import InstanceNotFound, PocketfleetError, StartFailed
from pocketfleet.web.problems import of_exception, problem
from pocketfleet.web.streams import Event
from pocketfleet.web.tags import duration, first_line, more_lines, percent


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-5, "a moment"),
        (0, "a moment"),
        (59.9, "a moment"),
        (60, "1 minute"),
        (119, "1 minute"),
        (120, "2 minutes"),
        (3600, "1 hour"),
        (7300, "2 hours"),
        (86400, "1 day"),
        (200_000, "2 days"),
    ],
)
def test_durations(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_progress_is_always_between_0_and_100() -> None:
    assert [percent(value) for value in (None, -1, 0, 0.426, 1, 7)] == [0, 0, 0, 43, 100, 100]


def test_the_first_line_is_the_first_that_says_something() -> None:
    assert first_line("\n  \n  Error: full \nmore") == "Error: full"
    assert first_line("") == ""
    assert more_lines("one\ntwo")
    assert not more_lines("\none\n\n")


def test_an_event_is_one_line_of_json_whatever_it_says() -> None:
    moment = datetime(2026, 11, 23, tzinfo=UTC)
    wire = bytes(Event("line", {"at": moment, "text": "a\nb\r\n\u2028c\ndata: fake\n\nevent: fake \ud800"}))
    lines = wire.decode().split("\n")
    assert lines[0] == "event: line"
    assert lines[1].startswith("data: {")
    assert lines[2:] == ["", ""]
    assert json.loads(lines[1][6:])["text"].startswith("a\nb\r\n")


def test_problems_carry_their_facts_and_how_long_to_wait() -> None:
    answer = problem(StartFailed("PocketBase ended: disk full", 4.6))
    assert answer.status_code == 503
    assert answer.headers["Retry-After"] == "5"
    body = json.loads(answer.content)
    assert body["code"] == "start_failed"
    assert body["retry_after"] == 4.6
    assert json.loads(problem(InstanceNotFound("shop")).content)["reference"] == "shop"


def test_what_nobody_expected_is_told_without_its_inside() -> None:
    told = of_exception(RuntimeError("password=hunter2"))
    assert type(told) is PocketfleetError
    assert "hunter2" not in told.detail
    assert "control.log" in told.detail


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (OperationalError("database is locked"), "database_away"),
        (OperationalError("unable to open database file"), "database_away"),
        (OperationalError('connection to server at "10.1.2.3", user "hunter2" failed: refused'), "database_away"),
        (InterfaceError("connection already closed"), "database_away"),
        (OperationalError("database or disk is full"), "disk_trouble"),
        (OperationalError("attempt to write a readonly database"), "disk_trouble"),
        (OperationalError("disk I/O error"), "disk_trouble"),
        (OperationalError("could not extend file: No space left on device"), "disk_trouble"),
        (ProgrammingError("no such column: hunter2"), "error"),
        (IntegrityError("UNIQUE constraint failed: hunter2"), "error"),
    ],
)
def test_a_database_that_is_away_is_told_from_a_full_disk_and_from_a_fault_of_ours(error: Exception, code: str) -> None:
    told = of_exception(error)
    assert told.code == code
    assert "hunter2" not in told.detail
    assert problem(told).headers.get("Retry-After") == ("5" if code == "database_away" else None)
