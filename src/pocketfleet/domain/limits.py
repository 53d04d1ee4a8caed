"""Numbers with a reason: back-off after failed starts, and when an instance has been idle for long enough."""

from __future__ import annotations

#: Seconds until the next automatic try after the 1st, 2nd, ... failure in a row; the last one repeats.
BACKOFF_SECONDS = (1.0, 2.0, 5.0, 15.0, 60.0, 300.0)

#: A PocketBase that lived this many seconds before it died did start: its failures are counted anew.
STEADY_SECONDS = 60.0

#: Early deaths in a row after which it is still woken at once: being killed by hand is no crash loop.
DEATHS_AT_ONCE = 3

IDLE_TIMEOUT_MIN = 1
IDLE_TIMEOUT_MAX = 30 * 24 * 3600


def backoff(failures: int) -> float:
    """Seconds to wait after this many failures in a row (1 or more)."""
    return BACKOFF_SECONDS[min(max(failures, 1), len(BACKOFF_SECONDS)) - 1]


def is_idle(*, in_flight: int, idle_seconds: float, idle_timeout: float, always_awake: bool) -> bool:
    """Whether an awake instance may be put to sleep now."""
    return not always_awake and in_flight <= 0 and idle_seconds >= idle_timeout
