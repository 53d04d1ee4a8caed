"""The budget of a hold, by a wall clock that may be set."""

from __future__ import annotations

import pytest

from pocketfleet.operations import cutover
from pocketfleet.operations.plan import Work


async def _nobody(fraction: float | None, message: str) -> None:
    pass


@pytest.mark.parametrize(
    "gone, left",
    [(0, 30), (12, 18), (30, 0), (40, -10), (-3600, 30), (86400, 30 - 86400)],
    ids=["begun", "under way", "used up", "overrun", "set back by an hour", "set forward by a day"],
)
def test_a_clock_that_is_set_back_gives_no_more_than_there_was(
    monkeypatch: pytest.MonkeyPatch, gone: float, left: float
) -> None:
    held = {"hold": {"held_at": 1_800_000_000.0}}
    work = Work("o", "upgrade", "i", {}, held, None, _nobody)
    monkeypatch.setattr("time.time", lambda: 1_800_000_000.0 + gone)
    assert cutover.BUDGET == 30
    assert cutover.seconds_left(work) == left
