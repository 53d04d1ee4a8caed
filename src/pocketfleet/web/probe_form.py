"""The owner's probes on a page: as rows, as a form, and the list without one of them."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from django.http import QueryDict

from pocketfleet.actions.upgrades import probes_of
from pocketfleet.domain.probes import IDENTITIES, METHODS
from pocketfleet.errors import ChangedMeanwhile, WrongUsage
from pocketfleet.web.plainly import value

_FIELDS = ("method", "path", "identity", "body", "expect_status", "expect_json")


@dataclass(frozen=True)
class ProbeForm:
    """A probe as somebody fills it in."""

    method: str = "GET"
    path: str = ""
    identity: str = "anonymous"
    body: str = ""
    expect_status: str = ""
    expect_json: str = ""
    safe: bool = False

    methods = METHODS
    identities = IDENTITIES

    @classmethod
    def read(cls, given: QueryDict) -> ProbeForm:
        """As somebody sent it."""
        fields = {name: (given.get(name) or "").strip() for name in _FIELDS}
        return cls(**fields, safe=given.get("safe") == "on")

    def probe(self) -> dict[str, Any]:
        """As domain/probes.py takes it. Raises WrongUsage with the field."""
        status = self.expect_status
        if status and not (status.isascii() and status.isdecimal() and len(status) == 3):
            raise WrongUsage("A probe expects a status from 200 to 599.", field="expect_status")
        return {
            "method": self.method,
            "path": self.path,
            "identity": self.identity,
            "body": _json("body", self.body),
            "expect_status": int(status) if status else None,
            "expect_json": _json("expect_json", self.expect_json),
            "safe": self.safe,
        }


def probe_rows(instance_id: str) -> list[dict[str, Any]]:
    """The instance's probes, each with the mark by which it is removed."""
    return [
        {
            **probe,
            "path": value(probe["path"], short=100),
            "holds": value(probe["expect_json"]) if probe["expect_json"] is not None else None,
            "sends": value(probe["body"]) if probe["body"] is not None else None,
            "mark": mark(probe),
        }
        for probe in probes_of(instance_id)
    ]


def without(instance_id: str, wanted: str) -> list[dict[str, Any]]:
    """The instance's probes but for the one with this mark. Raises ChangedMeanwhile where there is none."""
    probes = probes_of(instance_id)
    position = next((number for number, probe in enumerate(probes) if mark(probe) == wanted), None)
    if position is None:
        raise ChangedMeanwhile("This probe is gone already, or somebody has changed it.")
    return [*probes[:position], *probes[position + 1 :]]


def mark(probe: dict[str, Any]) -> str:
    """What tells it from the others: its content, since the whole list is written at once."""
    return hashlib.sha256(json.dumps(probe, sort_keys=True).encode()).hexdigest()[:16]


def _json(name: str, text: str) -> Any:
    if not text:
        return None
    try:
        return json.loads(text)
    except ValueError:
        said = 'This is not JSON. Text stands in quotes: {"total": 5, "state": "open"}.'
        raise WrongUsage(said, field=name) from None
