"""Why a release is not tried again by itself: it failed, or somebody went back from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

VERSION = 1


class Why(StrEnum):
    """What became of it."""

    FAILED = "failed"
    TAKEN_BACK = "taken back"
    #: written down before that was told
    UNKNOWN = "failed, or was taken back"


_SAID = {Why.FAILED: "failed", Why.TAKEN_BACK: "was taken back", Why.UNKNOWN: str(Why.UNKNOWN)}


@dataclass(frozen=True, slots=True)
class Refusal:
    """`fingerprint`: of what was judged (domain/following.py); it stands as long as that is the same."""

    fingerprint: str
    why: Why = Why.UNKNOWN

    @property
    def said(self) -> str:
        """As it stands behind a release's name: "failed", "was taken back"."""
        return _SAID[self.why]

    def as_json(self) -> dict[str, Any]:
        """The form that is kept."""
        return {"version": VERSION, "fingerprint": self.fingerprint, "why": str(self.why)}

    @classmethod
    def parse(cls, kept: Any) -> Refusal:
        """What is kept of one release; a text is the fingerprint alone, as earlier ones wrote it."""
        if not isinstance(kept, Mapping):
            return cls(str(kept))
        why = kept.get("why")
        known = Why(why) if why in set(Why) else Why.UNKNOWN
        return cls(str(kept.get("fingerprint", "")), known)


def refusals(kept: Mapping[str, Any]) -> dict[str, Refusal]:
    """All of an instance, by release."""
    return {release: Refusal.parse(one) for release, one in kept.items()}
