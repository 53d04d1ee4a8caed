"""Back-off grows to a bound; an instance is idle only when nothing speaks against it."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from pocketfleet.domain.limits import BACKOFF_SECONDS, backoff, is_idle


@given(st.integers(-5, 10_000))
def test_back_off_never_shrinks_and_is_bounded(failures: int) -> None:
    assert 0 < backoff(failures) <= backoff(failures + 1) <= BACKOFF_SECONDS[-1]


def test_back_off_grows_with_each_failure() -> None:
    tries = [backoff(failures) for failures in range(1, len(BACKOFF_SECONDS) + 1)]
    assert all(low < high for low, high in itertools.pairwise(tries))


def test_idle() -> None:
    def idle(in_flight: int = 0, idle_seconds: float = 60.0, always_awake: bool = False) -> bool:
        return is_idle(in_flight=in_flight, idle_seconds=idle_seconds, idle_timeout=60.0, always_awake=always_awake)

    assert idle()
    assert not idle(in_flight=1)
    assert not idle(idle_seconds=59.9)
    assert not idle(always_awake=True)
    # counters are read while requests end: parked ones may outnumber connections for a moment
    assert idle(in_flight=-1)
