"""Counting failures in a row."""

from __future__ import annotations

import time

import pytest

from pocketfleet.domain import limits
from pocketfleet.errors import StartFailed
from pocketfleet.runtime.failures import Failures


def test_failed_starts_back_off_further_each_time() -> None:
    failures = Failures()
    waits = [failures.start_failed("no") for _ in range(8)]
    assert waits[:6] == list(limits.BACKOFF_SECONDS)
    assert waits[6:] == [limits.BACKOFF_SECONDS[-1]] * 2
    with pytest.raises(StartFailed, match="no") as caught:
        failures.check()
    assert 299 < caught.value.retry_after <= 300
    assert failures.retry_at is not None


def test_a_few_deaths_are_free_and_then_no_more() -> None:
    failures = Failures()
    waits = [failures.died("killed", lived=1) for _ in range(limits.DEATHS_AT_ONCE + 2)]
    assert waits == [0] * limits.DEATHS_AT_ONCE + [1.0, 2.0]


def test_a_death_after_a_long_life_counts_anew() -> None:
    failures = Failures()
    for _ in range(10):
        assert failures.died("killed", lived=limits.STEADY_SECONDS) == 0
        failures.check()
    assert failures.reason == "killed"


def test_forgiven_is_forgotten() -> None:
    failures = Failures()
    failures.start_failed("no")
    failures.forgive()
    failures.check()
    assert (failures.count, failures.reason, failures.wait, failures.retry_at) == (0, "", 0.0, None)


def test_after_the_wait_it_may_be_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    failures = Failures()
    wait = failures.start_failed("no")
    later = time.monotonic() + wait + 0.1
    monkeypatch.setattr(time, "monotonic", lambda: later)
    failures.check()
    assert failures.reason == "no"
