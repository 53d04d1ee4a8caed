"""What is counted of an instance's requests, and the hours and days by which it is kept and shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
#: Days that hourly figures are kept: a month to show, and what an hour's pruning may be late.
KEPT = timedelta(days=32)
#: The largest integer that both databases hold; a counter of the edge or a hostile file's size may be anything.
LARGEST = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Counts:
    """Requests that reached the edge for one instance, over some time; bytes with their heads."""

    requests: int = 0
    #: of them, those that were answered with 4xx, or could not be read
    client_errors: int = 0
    #: of them, those that PocketBase answered with 5xx, or not at all
    server_errors: int = 0
    bytes_in: int = 0
    bytes_out: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(*(min(mine + theirs, LARGEST) for mine, theirs in self._pairs(other)))

    def since(self, before: Counts) -> Counts:
        """What came on top; nothing where this is the older one."""
        return Counts(*(max(0, mine - theirs) for mine, theirs in self._pairs(before)))

    def newer(self, other: Counts) -> Counts:
        """Of two readings of the same counters, what the later one says of each: they only grow."""
        return Counts(*(max(mine, theirs) for mine, theirs in self._pairs(other)))

    def as_list(self) -> list[int]:
        """For JSON."""
        return [self.requests, self.client_errors, self.server_errors, self.bytes_in, self.bytes_out]

    @classmethod
    def parse(cls, data: Sequence[int]) -> Counts:
        """The opposite of `as_list`."""
        return cls(*data)

    def __bool__(self) -> bool:
        return self != _NOTHING

    def _pairs(self, other: Counts) -> zip[tuple[int, int]]:
        return zip(self.as_list(), other.as_list(), strict=True)


_NOTHING = Counts()


@dataclass(frozen=True, slots=True)
class Sample:
    """What was counted since the last sample, and when the last of these requests came (UTC)."""

    counts: Counts
    last_request_at: datetime


def hour_of(moment: datetime) -> datetime:
    """When its hour began, in UTC."""
    return moment.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


def day_of(moment: datetime) -> datetime:
    """When its day began, in UTC."""
    return hour_of(moment).replace(hour=0)


def last_hours(now: datetime, count: int = 24) -> list[datetime]:
    """The present hour and those before it, the oldest first."""
    return [hour_of(now) - HOUR * number for number in reversed(range(count))]


def last_days(now: datetime, count: int = 30) -> list[datetime]:
    """Today and the days before it, the oldest first."""
    return [day_of(now) - DAY * number for number in reversed(range(count))]
