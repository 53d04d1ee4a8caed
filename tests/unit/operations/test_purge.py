"""What goes by its age goes only while the clock goes on as usual."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from pocketfleet.config import Config
from pocketfleet.operations import purge

HOUR = 3600.0


def test_a_clock_that_leaps_is_not_believed_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = Config(home=tmp_path)
    config.run.mkdir(parents=True)
    year = 365 * 24 * HOUR
    #: the clock at each look, and whether what is old may go
    looks = [
        (0.0, False),  # nobody has looked yet
        (HOUR, True),
        (year, False),  # it leaps ahead
        (2 * HOUR, False),  # somebody sets it right
        (3 * HOUR, True),
        (year, False),
        (year + HOUR, True),  # that is how late it is
        (year + 50 * HOUR, False),  # the server was off
        (year + 50 * HOUR + 5, True),
    ]
    for at, may_go in looks:
        monkeypatch.setattr("time.time", partial(float, 1e9 + at))
        assert purge.is_steady(config) is may_go, at
    (config.run / "housekeeping").write_text("not a number")
    assert not purge.is_steady(config)
