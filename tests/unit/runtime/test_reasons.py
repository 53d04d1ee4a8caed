"""Why a guest ended, from what PocketBase really prints."""

from __future__ import annotations

import pytest

from pocketfleet.runtime.reasons import why_it_ended


@pytest.mark.parametrize(
    "output, hint",
    [
        ("Error: failed to apply migration 17_bad.js: TypeError: x", "its file in pb_migrations"),
        ("Error: database disk image is malformed (11)", "restore the instance from a backup"),
        ("2026/11/23 FILE IS NOT A DATABASE (26)", "restore the instance from a backup"),
        ("Error: attempt to write a readonly database (8)", "cannot be written"),
        ("Error: database or disk is full (13)", "free some space"),
        ("invalid settings db data or missing encryption key", "set the secret PB_ENCRYPTION_KEY"),
        (
            "failed to apply migration 1717233556_v0.23_migrate.go: failed to fetch old settings: invalid settings db "
            'data or missing encryption key ""',
            "set the secret PB_ENCRYPTION_KEY",
        ),
        ("listen tcp 127.1.0.1:8090: bind: address already in use", "end that one"),
    ],
)
def test_known_words_get_a_next_step(output: str, hint: str) -> None:
    reason = why_it_ended(0, output, answered=False)
    assert "ended with exit code 0 before it answered" in reason
    assert output in reason
    assert hint in reason


def test_the_cause_of_a_panic_is_told_and_not_its_stack() -> None:
    output = "hello\npanic: no such file\n\ngoroutine 1 [running]:\n" + "main.main()\n" * 500
    reason = why_it_ended(2, output, answered=True)
    assert "panic: no such file" in reason
    assert "main.main" not in reason


def test_the_last_lines_and_no_more() -> None:
    reason = why_it_ended(1, "\n".join(f"line {number}" for number in range(100)), answered=False)
    assert "line 99" in reason
    assert "line 90" not in reason
    assert len(why_it_ended(1, "x" * 100_000, answered=False)) < 1200


def test_tokens_are_hidden() -> None:
    output = "http://127.0.0.1/_/#/pbinstal/eyJhbGciOi.eyJjb2xsZWN0.abcdefgh"
    assert "eyJ" not in why_it_ended(1, output, answered=False)


def test_what_a_killed_one_printed_is_not_the_reason() -> None:
    assert why_it_ended(-9, "user said: permission denied", answered=True) == (
        "PocketBase was ended by SIGKILL (by hand, or for lack of memory)."
    )
    assert why_it_ended(None, "whatever", answered=True) == "PocketBase ended."
