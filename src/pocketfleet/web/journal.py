"""One operation as its page shows it: its steps in plain words, those to come included, and how long requests wait."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from django.utils import timezone

from pocketfleet.domain.states import OPEN_OPERATION_STATES, StepState
from pocketfleet.models import Backup, Instance, Operation, Rehearsal, Step
from pocketfleet.web.plainly import plain, value

Row = dict[str, Any]

#: What each step does, in the order of its plan; a step that is not named here is shown by its own name.
STEPS: dict[str, dict[str, str]] = {
    "upgrade": {
        "resolve": "Fetch and verify the release",
        "snapshot": "Copy the data, without stopping anything",
        "rehearse": "Rehearse: the release you have, the new one, and yours again, on copies",
        "decide": "Decide by the verdict",
        "backup": "Make a backup to keep",
        "prepare": "Copy the files ahead, while everything goes on",
        "hold": "Let requests wait, and stop PocketBase",
        "checkpoint": "Take the last copy, to go back to",
        "switch": "Start the new release, unseen by anybody",
        "verify": "Check that it answers, signs in and has every record",
        "commit": "Write down that it is so",
        "open": "Let the waiting requests through",
    },
    "rollback": {
        "resolve": "Verify the snapshot, and fetch its release",
        "losses": "Find out what would be lost",
        "prepare": "Copy the files ahead, while everything goes on",
        "hold": "Let requests wait, and stop PocketBase",
        "checkpoint": "Keep what is there now",
        "put": "Put the snapshot's data in place",
        "start": "Start its release, unseen by anybody",
        "verify": "Check that it answers, signs in and has every record",
        "commit": "Write down that it is so",
        "open": "Let the waiting requests through",
    },
    "restore": {
        "open": "Unpack and check it aside",
        "recognise": "Recognise how old it is, and fetch the release that fits",
        "copy": "Copy what is there now, to compare with",
        "rehearse": "Rehearse: what is there now, what is brought, and now again, on copies",
        "decide": "Decide by the verdict",
        "snapshot": "Keep what is there now",
        "hold": "Let requests wait, and stop PocketBase",
        "compare": "Check that its hooks are those of the rehearsal",
        "place": "Put the data in place",
        "start": "Start its release, unseen by anybody",
        "verify": "Check that it answers, signs in and has every record",
        "commit": "Write down that it is so",
        "resume": "Let the waiting requests through",
        "tidy": "Clear away what was replaced",
    },
    "import": {
        "know": "Give it its address",
        "open": "Unpack the file, and check it",
        "release": "Find out how old the data is, and the release that fits",
        "place": "Put the data in place",
        "superuser": "Add a superuser, where one was asked for",
        "ready": "Write down that it is so",
        "publish": "Make it reachable",
        "finish": "Clear away the file",
    },
    "clone": {
        "know": "Give it its address",
        "copy": "Copy the data, without stopping anything",
        "release": "Fetch and verify the release",
        "settings": "Switch off mail and S3, unless they are to be kept",
        "place": "Put the data in place",
        "ready": "Write down that it is so",
        "publish": "Make it reachable",
        "finish": "Clear away what is not needed any more",
    },
    "create": {
        "know": "Give it its address",
        "release": "Fetch and verify the release",
        "folders": "Make its folders",
        "superuser": "Make its first superuser",
        "ready": "Write down that it is so",
        "publish": "Make it reachable",
    },
    "backup": {"back_up": "Copy the data without stopping anything, pack it, and read the zip again"},
    "verify": {"read": "Read the whole backup"},
    "delete_backup": {"remove": "Remove the file"},
    "snapshot": {
        "take": "Copy the data, without stopping anything",
        "prune": "Remove snapshots that are kept no longer",
    },
    "delete_snapshot": {"remove": "Remove its files"},
}
#: Steps of what only rehearses, and those of a restore that are for a rehearsal alone.
_REHEARSING = ("resolve", "snapshot", "rehearse", "decide")
_REHEARSING_RESTORE = ("open", "recognise", "copy", "rehearse", "decide")
_FOR_REHEARSAL = ("copy", "rehearse", "decide", "compare")
_UNDONE = {StepState.FAILED, StepState.COMPENSATING, StepState.COMPENSATED}


def operation(row: Operation, instance: Instance) -> Row:
    """All that the page shows; three queries at most."""
    steps = {step.name: step for step in Step.objects.filter(operation=row).order_by("position")}
    result, error = row.result or {}, row.error or {}
    is_open = row.state in OPEN_OPERATION_STATES
    return {
        "id": row.id,
        "kind": row.kind,
        "state": str(row.state),
        "open": is_open,
        "rehearse_only": bool(row.params.get("rehearse_only")),
        "by_itself": bool(row.params.get("by_itself")),
        "from": result.get("from") or row.params.get("from"),
        "to": result.get("to") or result.get("release") or row.params.get("release"),
        "range": row.params.get("range"),
        "actor": row.actor,
        "created_at": row.created_at,
        "finished_at": row.finished_at,
        "steps": _steps(row, steps, is_open),
        "held": _held(steps, is_open=is_open and instance.hold == row.id, held_ms=result.get("held_ms")),
        "verdict": result.get("verdict"),
        "reasons": [value(reason, short=300) for reason in result.get("reasons", [])[:5]],
        "more_reasons": max(0, len(result.get("reasons", [])) - 5),
        "rehearsal": result.get("rehearsal") or _rehearsal(row.id),
        "last_that_works": plain(result.get("last_that_works") or ""),
        "first_that_fails": plain(result.get("first_that_fails") or ""),
        "stops_it": [value(one, short=300) for one in result.get("stops_it", [])],
        "why": value(error.get("detail") or "", short=600),
        "not_undone": error.get("not_undone") or [],
        "touched": _touched(steps),
        "snapshot": row.params.get("snapshot") if row.kind == "rollback" else result.get("snapshot"),
        "checkpoint": result.get("checkpoint"),
        "made": result.get("name") if row.kind == "backup" else None,
        "lost": losses(result.get("lost")),
        "export": _export(row, result.get("export")),
    }


def losses(lost: Any) -> list[Row] | None:
    """What going back loses, a row for each collection and one for its files; None where nobody looked."""
    if not isinstance(lost, dict):
        return None
    rows = [{"name": value(name, short=60), **_numbers(found)} for name, found in lost.get("records", {}).items()]
    files = lost.get("files_by_collection")
    if isinstance(files, dict):
        rows += [{"name": value(f"{name}: files", short=60), **_numbers(found)} for name, found in files.items()]
    elif any((together := _numbers(lost.get("files") or {})).values()):
        # written down by an earlier pocketfleet
        rows.append({"name": value("Files"), **together})
    return rows


def _numbers(found: Any) -> dict[str, int]:
    return {kind: int(found.get(kind, 0) or 0) for kind in ("created", "changed", "deleted")}


def _steps(row: Operation, done: dict[str, Step], is_open: bool) -> list[Row]:
    words = STEPS.get(row.kind, {})
    planned = _planned(row, words)
    if row.kind == "restore" and not row.params.get("rehearse"):
        done = {name: step for name, step in done.items() if name not in _FOR_REHEARSAL}
    # one that has ended shows what it did, not what it might have
    names = [*planned, *(name for name in done if name not in planned)] if is_open else list(done)
    if any(step.state in _UNDONE for step in done.values()):
        names = list(done)
    return [_step(name, words.get(name, name.replace("_", " ").capitalize()), done.get(name)) for name in names]


def _planned(row: Operation, words: dict[str, str]) -> list[str]:
    """The steps that this one has, of all that its kind may have."""
    restore = row.kind == "restore"
    if row.params.get("rehearse_only"):
        return [name for name in words if name in (_REHEARSING_RESTORE if restore else _REHEARSING)]
    left_out = _FOR_REHEARSAL if restore and not row.params.get("rehearse") else ()
    return [name for name in words if name not in left_out]


def _step(name: str, text: str, step: Step | None) -> Row:
    if step is None:
        return {"name": name, "text": text, "state": "", "message": value("")}
    took = (step.finished_at - step.started_at).total_seconds() if step.finished_at is not None else None
    return {
        "name": name,
        "text": text,
        "state": str(step.state),
        "message": value(step.message, short=200),
        "progress": step.progress,
        "took": round(took, 1) if took is not None and took >= 0.05 else None,
    }


def _held(steps: dict[str, Step], *, is_open: bool, held_ms: int | None) -> Row | None:
    """How long requests wait: since when while they do, and the sum once it is over; None where none ever did."""
    if held_ms is not None:
        return {"seconds": round(held_ms / 1000, 2), "since": None}
    step = steps.get("hold")
    if step is None or not is_open:
        return None
    held_at = (step.output or {}).get("held_at")
    since = datetime.fromtimestamp(held_at, UTC) if isinstance(held_at, int | float) else step.started_at
    now = timezone.now()
    return {"since": since, "now": now, "seconds": round(max(0.0, (now - since).total_seconds()), 1)}


def _touched(steps: dict[str, Step]) -> bool:
    return "hold" in steps


def _rehearsal(operation_id: str) -> str:
    found = Rehearsal.objects.filter(operation_id=operation_id).values_list("id", flat=True).first()
    return found or ""


def _export(row: Operation, name: str | None) -> Row | None:
    """The zip of what would be lost, while it is among the backups."""
    if not name:
        return None
    found = Backup.objects.filter(instance_id=row.instance_id, name=name).values("name", "size").first()
    return dict(found) if found else None
