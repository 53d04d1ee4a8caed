"""Limits of traffic as people write them: `address_hourly=1000 instance_at_once=250`, or `default`."""

from __future__ import annotations

from typing import Any

from pocketfleet.errors import WrongSetting

DEFAULT = "default"


def parse_limits(text: str) -> dict[str, int]:
    """By name, as the API takes them; `default` for none of its own. The API knows which names there are.

    Raises WrongSetting.
    """
    words = text.split()
    if words == [DEFAULT]:
        return {}
    found: dict[str, int] = {}
    for word in words:
        name, _, number = word.partition("=")
        if name in found or not (number.isascii() and number.isdecimal()):
            words = []
            break
        found[name] = int(number)
    if not words:
        raise WrongSetting(f"“{text[:70]}” says no limits. For example: `address_hourly=1000 instance_at_once=250`.")
    return found


def show_limits(limits: dict[str, Any]) -> str:
    """The opposite of `parse_limits`."""
    return " ".join(f"{name}={number}" for name, number in limits.items()) or DEFAULT


def show_counting(limits: dict[str, Any]) -> str:
    """What counts: those that limit anything."""
    return " ".join(f"{name}={number}" for name, number in limits.items() if number) or "no limit"
