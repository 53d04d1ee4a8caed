"""Text that somebody else wrote, made fit to be read on a page: what hides or turns letters round is shown as such."""

from __future__ import annotations

import json
import unicodedata
from typing import Any, NamedTuple

#: Characters of a value that a page shows at once; the whole stands behind it.
SHORT = 140
#: What stands behind it is bounded as well.
LONGEST = 20_000
_KEPT = "\n\t"


class Value(NamedTuple):
    """A value as a page shows it: `whole` is "" where `short` is all of it."""

    short: str
    whole: str = ""


def plain(text: object) -> str:
    """Control characters and those that change the direction of writing as escapes (`\\u202e`)."""
    said = str(text)[:LONGEST]
    if said.isprintable():
        return said  # nearly all of it
    return "".join(
        character
        if character in _KEPT or unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Co")
        else f"\\u{ord(character):04x}"
        for character in said
    )


def value(anything: Any, none: str = "nothing", short: int = SHORT) -> Value:
    """Whatever JSON holds; `none` stands for null."""
    if anything is None:
        return Value(none)
    text = plain(anything if isinstance(anything, str) else json.dumps(anything, ensure_ascii=False, default=str))
    if len(text) <= short:
        return Value(text)
    return Value(text[:short].rstrip() + "…", text)
