"""The form of policy and window: what its fields say, and the window that they make."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.http import QueryDict

from pocketfleet.domain.policies import Policy
from pocketfleet.models import Instance

DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
#: policy -> its name on the page, and what follows from it
WORDS = {
    Policy.ASK: (
        "Rehearse and ask me",
        "A newer release inside the range is rehearsed on a copy, and you are told. Nothing is switched without you.",
    ),
    Policy.AUTO: (
        "Upgrade by itself if safe",
        "It is rehearsed, and switched to if nothing differs, in the window below. Otherwise you are asked.",
    ),
    Policy.SCHEMA_SAFE: (
        "By itself, but not across a schema boundary",
        "As above, as long as the release does not change PocketBase's own tables: then you are asked, too.",
    ),
    Policy.OFF: (
        "Do nothing",
        "Newer releases are not rehearsed, and nobody tells you. You miss what they mend until you look here.",
    ),
}


@dataclass(frozen=True)
class PolicyForm:
    """Its fields as they are filled in; `limited` is whether there is a window at all."""

    policy: str
    limited: bool
    days: frozenset[int]
    start: str
    end: str
    zone: str

    @classmethod
    def of(cls, instance: Instance) -> PolicyForm:
        """As the instance has it now."""
        kept: Mapping[str, Any] = instance.window
        return cls(
            policy=instance.policy,
            limited=bool(kept),
            days=frozenset(kept.get("days", range(7))),
            start=str(kept.get("from", "02:00")),
            end=str(kept.get("to", "05:00")),
            zone=str(kept.get("zone", "UTC")),
        )

    @classmethod
    def read(cls, given: QueryDict) -> PolicyForm:
        """As somebody sent it."""
        return cls(
            policy=given.get("policy") or "",
            limited=given.get("when") == "window",
            days=frozenset(int(day) for day in given.getlist("days") if day in "0123456" and len(day) == 1),
            start=(given.get("from") or "")[:5],
            end=(given.get("to") or "")[:5],
            zone=(given.get("zone") or "").strip(),
        )

    def window(self) -> dict[str, Any]:
        """As domain/windows.py takes it; {} for any time."""
        if not self.limited:
            return {}
        return {"days": sorted(self.days), "from": self.start, "to": self.end, "zone": self.zone or "UTC"}

    @property
    def choices(self) -> list[dict[str, Any]]:
        """The policies, with what each means."""
        return [
            {"id": str(policy), "label": label, "means": means, "chosen": policy == self.policy}
            for policy, (label, means) in WORDS.items()
        ]

    @property
    def week(self) -> list[dict[str, Any]]:
        """The days, with whether they are chosen."""
        return [{"number": number, "name": name, "chosen": number in self.days} for number, name in enumerate(DAYS)]
