"""Numbers with a reason: back-off after failed starts, and when an instance has been idle for long enough."""

from __future__ import annotations

from dataclasses import dataclass

#: Seconds until the next automatic try after the 1st, 2nd, ... failure in a row; the last one repeats.
BACKOFF_SECONDS = (1.0, 2.0, 5.0, 15.0, 60.0, 300.0)

#: A PocketBase that lived this many seconds before it died did start: its failures are counted anew.
STEADY_SECONDS = 60.0

#: Early deaths in a row after which it is still woken at once: being killed by hand is no crash loop.
DEATHS_AT_ONCE = 3

#: What is left of an instance's memory when Go begins to collect garbage harder.
_COLLECT_AT = 0.85


@dataclass(frozen=True, slots=True)
class GuestLimits:
    """What one instance may use at once; 0 for no limit. Held by the sandbox alone."""

    #: bytes, what its processes keep in /tmp included
    memory: int = 0
    #: processors' worth of time, 1.5 for one and a half
    cpus: float = 0.0
    #: its share where processors are short; 100 is everybody's
    cpu_weight: int = 100
    #: processes and threads
    processes: int = 0
    open_files: int = 0
    #: bytes of one file
    file_bytes: int = 0

    @property
    def go_memory(self) -> int:
        """Bytes for GOMEMLIMIT: a PocketBase that is near its limit collects garbage before it is killed."""
        return int(self.memory * _COLLECT_AT)


IDLE_TIMEOUT_MIN = 1
IDLE_TIMEOUT_MAX = 30 * 24 * 3600


def backoff(failures: int) -> float:
    """Seconds to wait after this many failures in a row (1 or more)."""
    return BACKOFF_SECONDS[min(max(failures, 1), len(BACKOFF_SECONDS)) - 1]


def is_idle(*, in_flight: int, idle_seconds: float, idle_timeout: float, always_awake: bool) -> bool:
    """Whether an awake instance may be put to sleep now."""
    return not always_awake and in_flight <= 0 and idle_seconds >= idle_timeout
