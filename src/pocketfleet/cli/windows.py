"""Maintenance windows as people write them: `mon-fri 02:00-05:00 Europe/Vienna`."""

from __future__ import annotations

import re
from typing import Any

from pocketfleet.errors import WrongSetting

ANY = "any"
_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_HOURS = re.compile(r"(\d{1,2}:\d\d)-(\d{1,2}:\d\d)")


def parse_window(text: str) -> dict[str, Any]:
    """The window as the API takes it: days (every day where left out), hours, time zone (UTC where left out); `any`
    for none. Raises WrongSetting."""
    words = text.lower().split()
    if words == [ANY]:
        return {}
    found = [(index, hours) for index, word in enumerate(words) if (hours := _HOURS.fullmatch(word))]
    at, hours = found[0] if found else (len(words), None)
    if hours is None or at > 1 or len(words) > at + 2:
        raise WrongSetting(f"“{text[:70]}” is no window. For example: `mon-fri 02:00-05:00 Europe/Vienna`, or `{ANY}`.")
    window: dict[str, Any] = {"from": hours[1].zfill(5), "to": hours[2].zfill(5)}
    if at:
        window["days"] = _days(words[0])
    if len(words) > at + 1:
        window["zone"] = text.split()[at + 1]
    return window


def show_window(window: dict[str, Any]) -> str:
    """The opposite of `parse_window`."""
    if not window:
        return ANY
    days = sorted(window.get("days") or range(7))
    named = "" if len(days) == 7 else _show_days(days) + " "
    return f"{named}{window['from']}-{window['to']} {window.get('zone', 'UTC')}"


def _days(text: str) -> list[int]:
    found: set[int] = set()
    for part in text.split(","):
        first, _, last = part.partition("-")
        if first not in _DAYS or (last or first) not in _DAYS:
            raise WrongSetting(f"“{part[:20]}” are no days: write {', '.join(_DAYS)}, `mon-fri` or `sat,sun`.")
        low, high = _DAYS.index(first), _DAYS.index(last or first)
        found |= set(range(low, high + 1)) if low <= high else {*range(low, 7), *range(high + 1)}
    return sorted(found)


def _show_days(days: list[int]) -> str:
    together = len(days) > 2 and days[-1] - days[0] == len(days) - 1
    return f"{_DAYS[days[0]]}-{_DAYS[days[-1]]}" if together else ",".join(_DAYS[day] for day in days)
