"""Finds stored values that are longer than a release takes where no limit is set: saving such a record would fail.

Seen: from 0.23 on a text field without a maximum takes 5,000 characters and an editor field 5 MB, and a record that
holds more cannot be saved at all, not even to change another field. 0.28 brought 1 MB for json fields.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import inf
from typing import Any

from pocketfleet.domain.releases import Version
from pocketfleet.rehearsal.inspected import Inspected
from pocketfleet.rehearsal.report import Finding, Section, Severity

_MEGABYTE = 1024**2
_UNIT = {"text": "characters", "editor": "bytes", "json": "bytes"}


def compare_limits(before: Inspected, after: Inspected) -> list[Finding]:
    """Fields that hold values which the old release saves again and the new one does not."""
    old = {one["name"]: _fields(one) for one in before.collections}
    found = []
    for collection in after.collections:
        for name, field in _fields(collection).items():
            longest = after.longest.get(collection["name"], {}).get(name, 0)
            known = old.get(collection["name"], {}).get(name)
            limit = limit_of(field, after.release)
            if known is not None and limit < longest <= limit_of(known, before.release):
                found.append(
                    _finding(f"{collection['name']}.{name}", field["type"], longest, int(limit), after.release)
                )
    return found


def limit_of(field: Mapping[str, Any], release: Version) -> float:
    """The longest value that a release saves in this field, in characters of text and bytes of all else."""
    options = {**field, **(field.get("options") or {})}
    rewritten = release.numbers >= (0, 23, 0)
    if field["type"] == "text":
        return float(options.get("max") or (5000 if rewritten else inf))
    if field["type"] == "editor":
        return float(options.get("maxSize") or (5 * _MEGABYTE if rewritten else inf))
    if field["type"] == "json":
        return float(options.get("maxSize") or (_MEGABYTE if release.numbers >= (0, 28, 0) else 5 * _MEGABYTE))
    return inf


def _fields(collection: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    return {field["name"]: field for field in collection.get("fields") or collection.get("schema") or []}


def _finding(where: str, kind: str, longest: int, limit: int, release: Version) -> Finding:
    text = (
        f"{where} holds up to {longest:,} {_UNIT[kind]}, and PocketBase {release} takes at most {limit:,} where no "
        f"maximum is set: such a record can no longer be saved. Set a maximum there, before or after the upgrade."
    )
    return Finding(Severity.BREAKS, Section.RECORDS, text, where, detail={"longest": longest, "limit": limit})
