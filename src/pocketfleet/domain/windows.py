"""Maintenance windows: the hours, in the owner's time zone, in which an instance may be upgraded by itself."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pocketfleet.errors import WrongSetting

EVERY_DAY = frozenset(range(7))
_CLOCK = re.compile(r"(?:[01][0-9]|2[0-3]):[0-5][0-9]")
_DAY = timedelta(days=1)
_MINUTE = timedelta(minutes=1)
#: A weekly window can fall out when clocks go forward, and a zone has once skipped a whole day: look further.
_DAYS_AHEAD = 30


@dataclass(frozen=True, slots=True)
class Window:
    """Opens at `start` on each of `days` (Monday is 0) by the clocks of `zone`, and closes when they next show `end`.

    Over midnight where `end` is not later than `start`; a whole day where they are equal. When clocks go forward over
    `start` or `end`, it is the moment they do; when they go back, the first `start` and the last `end` count.
    """

    days: frozenset[int]
    start: time
    end: time
    zone: ZoneInfo

    @classmethod
    def parse(cls, data: Mapping[str, Any]) -> Window | None:
        """From {"days": [0..6], "from": "02:00", "to": "05:00", "zone": "Europe/Vienna"}; None for {}: any time.

        `days` may be left out for every day, `zone` for UTC. Raises WrongSetting.
        """
        if not data:
            return None
        unknown = set(data) - {"days", "from", "to", "zone"}
        if unknown:
            raise WrongSetting(f"A window has days, from, to and zone, and no “{min(map(str, unknown))[:30]}”.")
        return cls(
            _days(data.get("days", sorted(EVERY_DAY))),
            _clock(data.get("from")),
            _clock(data.get("to")),
            _zone(data.get("zone", "UTC")),
        )

    def as_json(self) -> dict[str, Any]:
        """The opposite of `parse`."""
        return {
            "days": sorted(self.days),
            "from": self.start.strftime("%H:%M"),
            "to": self.end.strftime("%H:%M"),
            "zone": self.zone.key,
        }

    def is_open(self, at: datetime) -> bool:
        """Whether `at`, an aware time, is inside."""
        at = at.astimezone(UTC)
        return any(opens <= at < closes for opens, closes in self._openings(at))

    def next_opening(self, at: datetime) -> datetime:
        """The first moment from `at` on that is inside, in UTC: `at` itself while it is open."""
        at = at.astimezone(UTC)
        return next(max(at, opens) for opens, closes in self._openings(at) if at < closes)

    def _openings(self, at: datetime) -> Iterator[tuple[datetime, datetime]]:
        """Those that may contain `at` or come after it, in order."""
        first = at.astimezone(self.zone).date() - 2 * _DAY
        for day in (first + n * _DAY for n in range(_DAYS_AHEAD)):
            if day.weekday() in self.days:
                opens = self._moment(day, self.start, last=False)
                closes = self._moment(day if self.start < self.end else day + _DAY, self.end, last=True)
                if opens < closes:
                    yield opens, closes

    def _moment(self, day: date, clock: time, *, last: bool) -> datetime:
        """When the clocks show this: the first or last time, or the moment at which they jump over it."""
        wall = datetime.combine(day, clock)
        before, after = (wall.replace(tzinfo=self.zone, fold=fold).astimezone(UTC) for fold in (0, 1))
        if before <= after:
            return after if last else before
        # jumped over: somewhere between the two, by whole minutes
        while after < before and after.astimezone(self.zone).replace(tzinfo=None) < wall:
            after += _MINUTE
        return after


def _days(value: Any) -> frozenset[int]:
    fits = isinstance(value, list) and all(type(day) is int and 0 <= day <= 6 for day in value)
    if not fits or not value:
        raise WrongSetting("The days of a window are numbers from 0 (Monday) to 6 (Sunday), at least one.")
    return frozenset(value)


def _clock(value: Any) -> time:
    if not isinstance(value, str) or not _CLOCK.fullmatch(value):
        raise WrongSetting("A window needs “from” and “to” as times of the day, for example 02:00 and 05:00.")
    return time.fromisoformat(value)


def _zone(value: Any) -> ZoneInfo:
    try:
        return ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError, TypeError, OSError):
        raise WrongSetting(
            f"“{str(value)[:50]}” is not a time zone known here. Examples: UTC, Europe/Vienna, America/New_York."
        ) from None
