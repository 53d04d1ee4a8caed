"""What the page Versions reads: what runs, what comes next and why, what was before, and the ways back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from django.utils import timezone

from pocketfleet.actions.following import candidate_of
from pocketfleet.domain import ranges
from pocketfleet.domain.following import fingerprint
from pocketfleet.domain.outlook import prospect
from pocketfleet.domain.refusals import Refusal, refusals
from pocketfleet.domain.releases import Version
from pocketfleet.domain.states import OperationState
from pocketfleet.domain.windows import Window
from pocketfleet.errors import PocketfleetError
from pocketfleet.models import Instance, Operation, Rehearsal, Release, Snapshot, Step
from pocketfleet.web.plainly import value

Row = dict[str, Any]

_CHANGES = ("upgrade", "rollback", "restore")
_RESULTS = ("from", "to", "release", "verdict", "held_ms", "snapshot", "checkpoint", "rehearsal")
#: Rehearsals among which flags for the picker are looked for.
_MOST_FLAGS = 200


def newer_of(rows: Iterable[Mapping[str, Any]]) -> dict[str, Row]:
    """By instance id, for rows of reading.instances that are behind their range: {"release", "verdict"}, the verdict
    of the newest rehearsal of that very change, "" where there was none. Two queries, however many rows."""
    known = [Version(text) for text in Release.objects.values_list("id", flat=True)]
    targets: dict[str, Version | None] = {}
    behind: dict[str, tuple[str, str]] = {}
    for row in rows:
        text = row["range"]
        if text not in targets:
            targets[text] = None if ranges.is_pin(text) else resolved(text, known)
        target = targets[text]
        if target is not None and row["release"] and target > Version(row["release"]):
            behind[row["id"]] = (row["release"], target.text)
    verdicts = _verdicts(behind)
    return {id_: {"release": pair[1], "verdict": verdicts.get((id_, *pair), "")} for id_, pair in behind.items()}


def resolved(text: str, known: list[Version]) -> Version | None:
    """The release that the range takes; None where there is none."""
    try:
        return ranges.resolve(text, known)
    except PocketfleetError:
        return None


def present(instance: Instance) -> Row:
    """What runs, what its range stands for, what it would take next by itself, when, and what waits for a word."""
    known = [Version(text) for text in Release.objects.values_list("id", flat=True)]
    target = resolved(instance.range, known)
    newest = resolved(ranges.LATEST, known)
    behind = target is not None and instance.release and target > Version(instance.release)
    return {
        "release": instance.release,
        "range": instance.range,
        "pinned": ranges.is_pin(instance.range),
        "target": target.text if target else "",
        "behind": bool(behind),
        "below": bool(target and instance.release and target < Version(instance.release)),
        "newest": newest.text if newest else "",
        "outlook": _outlook(instance) if behind else None,
        "asking": asking(instance.id),
        "refused": _refused(instance),
    }


def _refused(instance: Instance) -> list[Row]:
    """What is not tried again by itself, and whether it failed or was taken back; the newest release first."""
    known = refusals(instance.refused)
    return [{"release": release, "why": known[release].said} for release in sorted(known, key=Version, reverse=True)]


def asking(instance_id: str) -> Row | None:
    """The change of release that waits for a word: the newest one that was asked for, if it still does."""
    found = Operation.objects.filter(instance_id=instance_id, kind__in=_CHANGES)
    row = found.order_by("-created_at", "-id").first()
    return _change(row) if row is not None and row.state == OperationState.ASKING else None


def history(instance_id: str, limit: int = 50) -> list[Row]:
    """Changes of release, the newest first; rehearsals alone are none."""
    found = Operation.objects.filter(instance_id=instance_id, kind__in=_CHANGES).order_by("-created_at", "-id")
    rows = [_change(row) for row in found[: 2 * limit] if not row.params.get("rehearse_only")]
    return rows[:limit]


def ways_back(instance_id: str, limit: int = 100) -> list[Row]:
    """Snapshots to which one may go, the newest first; those made only to be rehearsed on are none."""
    found = Snapshot.objects.filter(instance_id=instance_id).exclude(purpose="rehearsal")
    fields = ("id", "purpose", "release", "size", "note", "created_at")
    return [{**row, "note": value(row["note"])} for row in found.values(*fields)[:limit]]


def flags(instance: Instance) -> dict[str, Row]:
    """By release, the newest verdict from the one that runs; `fresh` where hooks, migrations and schema, as last seen,
    are those that were judged."""
    found = Rehearsal.objects.filter(instance=instance, kind="upgrade", from_release=instance.release)
    rows = found.values("id", "to_release", "verdict", "fingerprint", "created_at")[:_MOST_FLAGS]
    judged = _last_seen(instance)
    newest: dict[str, Row] = {}
    for row in rows:
        newest.setdefault(row["to_release"], dict(row))
    return {to: {**row, "fresh": _is_fresh(row, judged, instance.release)} for to, row in newest.items()}


def _is_fresh(row: Row, judged: Mapping[str, str], release: str) -> bool:
    return bool(judged) and fingerprint(judged, release, row["to_release"]) == row["fingerprint"]


def _last_seen(instance: Instance) -> Mapping[str, str]:
    """The fingerprints of hooks, migrations and schema as node saw them last under this release: in a snapshot that is
    kept, in one that an upgrade took and threw away, or in the one that went back into place. {} where nobody knows."""
    seen = [_kept(instance), _taken(instance), _put_back(instance)]
    known = [one for one in seen if one is not None]
    return max(known, key=lambda one: one[0])[1] if known else {}


def _kept(instance: Instance) -> tuple[datetime, Mapping[str, str]] | None:
    kept = Snapshot.objects.filter(instance=instance, release=instance.release, manifest__has_key="fingerprints")
    row = kept.order_by("-created_at").values_list("created_at", "manifest").first()
    return (row[0], row[1]["fingerprints"]) if row is not None else None


def _taken(instance: Instance) -> tuple[datetime, Mapping[str, str]] | None:
    taken = Step.objects.filter(
        operation__instance=instance,
        operation__kind="upgrade",
        operation__params__from=instance.release,
        name="snapshot",
        output__has_key="fingerprints",
    )
    row = taken.exclude(finished_at=None).order_by("-finished_at").values_list("finished_at", "output").first()
    return (row[0], row[1]["fingerprints"]) if row is not None and row[0] is not None else None


def _put_back(instance: Instance) -> tuple[datetime, Mapping[str, str]] | None:
    """What was restored from elsewhere nobody has looked into yet."""
    put = Operation.objects.filter(
        instance=instance, kind__in=("rollback", "restore"), state=OperationState.SUCCEEDED
    ).exclude(finished_at=None)
    row = put.order_by("-finished_at").values_list("finished_at", "params").first()
    if row is None or row[0] is None:
        return None
    snapshot = Snapshot.objects.filter(id=str(row[1].get("snapshot") or "")).values_list("manifest", flat=True).first()
    return row[0], (snapshot or {}).get("fingerprints", {})


def _outlook(instance: Instance) -> Row | None:
    candidate = candidate_of(instance.id)
    if candidate is None:
        return None
    behind = candidate.behind
    said = prospect(behind, timezone.now())
    zone = behind.window.zone if behind.window is not None else ZoneInfo("UTC")
    return {
        "kind": str(said.kind),
        "at": said.at,
        "local": _clock(said.at, zone) if said.at is not None else "",
        "zone": zone.key,
        "release": candidate.group.target,
        "refused": refusals(instance.refused).get(candidate.group.target, Refusal("")).said,
        "verdict": behind.verdict,
        "rehearsal": candidate.rehearsal,
        "boundary": behind.boundary,
        "policy": str(behind.policy),
    }


def _next_window(window: Window | None) -> Row | None:
    """When it opens next, by its own clocks; open already is said, too."""
    if window is None:
        return None
    now = timezone.now()
    opens = _clock(window.next_opening(now), window.zone)
    return {"open": window.is_open(now), "at": opens, "zone": window.zone.key}


def _clock(moment: datetime, zone: ZoneInfo) -> str:
    """What clocks there show; a template would turn it into UTC again."""
    there = moment.astimezone(zone)
    return f"{there:%A} {there.day} {there:%B, %H:%M}"


def next_window(instance: Instance) -> Row | None:
    """The same for the form; None where there is no window."""
    try:
        return _next_window(Window.parse(instance.window))
    except PocketfleetError:
        return None


def _verdicts(behind: Mapping[str, tuple[str, str]]) -> dict[tuple[str, str, str], str]:
    found = Rehearsal.objects.filter(
        instance_id__in=list(behind), kind="upgrade", to_release__in={pair[1] for pair in behind.values()}
    ).order_by("created_at")
    rows = found.values_list("instance_id", "from_release", "to_release", "verdict")
    return {(row[0], row[1], row[2]): row[3] for row in rows}


def _change(row: Operation) -> Row:
    result, params = row.result or {}, row.params
    facts = {name: result.get(name) for name in _RESULTS}
    failed = row.state in (OperationState.FAILED, OperationState.ROLLED_BACK)
    return {
        **facts,
        "id": row.id,
        "kind": row.kind,
        "state": str(row.state),
        "from": facts["from"] or params.get("from"),
        "to": facts["to"] or facts["release"] or params.get("release"),
        "by_itself": bool(params.get("by_itself")),
        "actor": row.actor,
        "at": row.finished_at or row.created_at,
        "why": value(row.error.get("detail") or "", short=200) if failed else None,
    }
