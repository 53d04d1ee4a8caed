"""How often a guest failed in a row, and until when it is left alone for that."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from pocketfleet.domain.limits import DEATHS_AT_ONCE, STEADY_SECONDS, backoff
from pocketfleet.errors import StartFailed


@dataclass(slots=True)
class Failures:
    """Counts failed starts and early deaths; kept in memory, so a restart of node forgives."""

    count: int = 0
    reason: str = ""
    _retry: float = 0.0

    def start_failed(self, reason: str) -> float:
        """Seconds until the next try."""
        return self._count(reason, free=0)

    def died(self, reason: str, lived: float) -> float:
        """Seconds until the next try: none for the first few deaths, and those after a long life count anew."""
        if lived >= STEADY_SECONDS:
            self.count = 0
        return self._count(reason, free=DEATHS_AT_ONCE)

    def forgive(self) -> None:
        """Forget everything: something changed, or it worked."""
        self.count, self.reason, self._retry = 0, "", 0.0

    @property
    def wait(self) -> float:
        """Seconds until the next try is allowed, 0 for now."""
        return max(0.0, self._retry - time.monotonic())

    @property
    def retry_at(self) -> datetime | None:
        """The moment of the next try, None for now."""
        return datetime.now(UTC) + timedelta(seconds=self.wait) if self.wait else None

    def check(self) -> None:
        """Raises StartFailed with the remembered reason while it is left alone."""
        if self.wait:
            raise StartFailed(self.reason, self.wait)

    def _count(self, reason: str, free: int) -> float:
        self.count += 1
        self.reason = reason
        seconds = backoff(self.count - free) if self.count > free else 0.0
        self._retry = time.monotonic() + seconds
        return seconds
