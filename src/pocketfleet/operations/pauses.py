"""Pauses before something is tried again that failed: each is twice as long as the one before, up to a bound."""

from __future__ import annotations

import time
from collections.abc import Callable


class Pauses:
    """One for each key that failed, until it is forgotten."""

    def __init__(self, first: float, most: float, clock: Callable[[], float] = time.monotonic) -> None:
        """Seconds."""
        self._first = first
        self._most = most
        self._clock = clock
        #: when it may be tried again, and the length of its pause
        self._waiting: dict[str, tuple[float, float]] = {}

    def grow(self, key: str) -> None:
        """It failed, once more."""
        _, before = self._waiting.get(key, (0.0, 0.0))
        pause = min(2 * before or self._first, self._most)
        self._waiting[key] = (self._clock() + pause, pause)

    def is_over(self, key: str) -> bool:
        """Whether it may be tried."""
        until, _ = self._waiting.get(key, (0.0, 0.0))
        return self._clock() >= until

    def forget(self, key: str) -> None:
        """It succeeded, or is another thing now."""
        self._waiting.pop(key, None)

    def forget_all(self) -> None:
        """Whatever stood in the way may be gone."""
        self._waiting.clear()
