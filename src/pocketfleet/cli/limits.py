"""Limits of traffic as people write them: `address_hourly=1000 instance_at_once=250`, or `default`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from pocketfleet.errors import WrongSetting

N = TypeVar("N", int, float)

DEFAULT = "default"


def parse_limits(text: str) -> dict[str, int]:
    """By name, as the API takes them; `default` for none of its own. The API knows which names there are.

    Raises WrongSetting.
    """
    found = numbers_by_name(text, _whole)
    if found is None:
        raise WrongSetting(f"“{text[:70]}” says no limits. For example: `address_hourly=1000 instance_at_once=250`.")
    return found


def numbers_by_name(text: str, parse: Callable[[str], N | None]) -> dict[str, N] | None:
    """Of `a=1 b=2`, each name once; nothing for `default`, None for anything else."""
    words = text.split()
    if words == [DEFAULT]:
        return {}
    found: dict[str, N] = {}
    for word in words:
        name, _, amount = word.partition("=")
        number = parse(amount)
        if name in found or number is None:
            return None
        found[name] = number
    return found or None


def _whole(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdecimal() else None


def show_limits(limits: dict[str, Any]) -> str:
    """The opposite of `parse_limits`."""
    return " ".join(f"{name}={number}" for name, number in limits.items()) or DEFAULT


def show_counting(limits: dict[str, Any]) -> str:
    """What counts: those that limit anything."""
    return " ".join(f"{name}={number}" for name, number in limits.items() if number) or "no limit"
