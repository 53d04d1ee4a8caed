"""What each instance of a team may use, as people write it: `memory=256MiB cpus=0.5 processes=200`, or `default`."""

from __future__ import annotations

import re
from collections.abc import Mapping

from pocketfleet.cli.limits import numbers_by_name
from pocketfleet.domain.guest_limits import BYTES
from pocketfleet.errors import WrongSetting

_UNITS = {"": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}
_NUMBER = re.compile(r"([0-9]{1,18}(?:\.[0-9]{1,9})?)([A-Z]{0,3})", re.ASCII)


def parse_resources(text: str) -> dict[str, float]:
    """By name, as the API takes them; `default` for none of its own. The API knows which names there are.

    Raises WrongSetting.
    """
    found = numbers_by_name(text, _parse_number)
    if found is None:
        raise WrongSetting(
            f"“{text[:70]}” says no resources. For example: `memory=256MiB cpus=0.5 processes=200`, or `default`."
        )
    return found


def show_resources(counting: Mapping[str, float] | None) -> str:
    """What counts, as `parse_resources` takes it; 0 for no limit."""
    if counting is None:
        return "no limit, since this server has no sandbox"
    return " ".join(f"{name}={_show_number(name, number)}" for name, number in counting.items())


def _show_number(name: str, number: float) -> str:
    mebibytes, rest = divmod(number, _UNITS["MIB"])
    return f"{mebibytes:.0f}MiB" if name in BYTES and number and not rest else f"{number:.15g}"


def _parse_number(text: str) -> float | None:
    match = _NUMBER.fullmatch(text.upper())
    if match is None or match[2] not in _UNITS:
        return None
    if match[2]:
        return round(float(match[1]) * _UNITS[match[2]])
    return float(match[1]) if "." in match[1] else int(match[1])
