"""What each instance of a team may use, as pages and API show it: what is set, what counts, and forms of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.http import QueryDict

from pocketfleet.config import Config
from pocketfleet.domain.guest_limits import BYTES, NAMES, in_words
from pocketfleet.models import Team

Row = dict[str, Any]

#: What a form calls each limit, its unit there, and what lists call it; the same order as in the domain.
WORDS = {
    "memory": ("Memory", "MiB", "memory"),
    "cpus": ("Processors", "", "processors"),
    "cpu_weight": ("Share of processors", "", "share"),
    "processes": ("Processes and threads", "", "processes"),
    "open_files": ("Open files of a process", "", "open files"),
    "file_bytes": ("Largest file", "MiB", "largest file"),
    "storage": ("Storage of each", "MiB", "storage of each"),
}
_MEBIBYTE = 1024**2
#: Characters of a number in a form.
_LONGEST = 30


def of_team(config: Config, team: Team) -> dict[str, float] | None:
    """What counts for a team's instances, 0 for no limit; None where this server has no sandbox to hold them to it."""
    if config.sandbox == "off":
        return None
    return config.guest_limits.overridden(team.guest_limits).as_json()


def own_words(own: Mapping[str, float]) -> list[str]:
    """A team's own limits as people read them: `memory 256 MiB`."""
    return [f"{short} {in_words(name, own[name])}" for name, (_, _, short) in WORDS.items() if name in own]


def fields(config: Config, own: Mapping[str, float], given: QueryDict | None = None) -> list[Row]:
    """For a form: each limit with what is set, or was given where that did not fit, and what counts otherwise; and in
    words, for those who only read."""
    server = config.guest_limits.as_json()
    return [
        {
            "name": name,
            "words": words,
            "unit": unit,
            "value": given.get(name, "")[:_LONGEST] if given is not None else _in_form(name, own.get(name)),
            "otherwise": _in_form(name, server[name]) if server[name] else "no limit",
            "counts": in_words(name, own.get(name, server[name])),
        }
        for name, (words, unit, _) in WORDS.items()
    ]


def wanted(form: QueryDict) -> dict[str, Any]:
    """The limits of a form; an empty one is none of its own. What is no number is left to the action to refuse."""
    given = {name: form.get(name, "").strip() for name in NAMES}
    return {name: _number(name, text) for name, text in given.items() if text}


def _in_form(name: str, number: float | None) -> str:
    if number is None:
        return ""
    text = f"{number / _MEBIBYTE:.20f}" if name in BYTES else str(number)
    return text.rstrip("0").rstrip(".") if "." in text else text


def _number(name: str, text: str) -> float | str:
    # a comma in a whole number may be meant as either, so it is none
    plain = text.replace(",", ".") if name == "cpus" else text
    if not (plain.isascii() and plain.replace(".", "", 1).isdigit() and len(plain) <= _LONGEST):
        return text
    if name in BYTES:
        return round(float(plain) * _MEBIBYTE)
    return float(plain) if "." in plain else int(plain)
