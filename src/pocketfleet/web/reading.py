"""What pages and API show: rows of the database as plain dictionaries, in a fixed number of queries."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from django.db.models import (
    Count,
    Exists,
    F,
    FilteredRelation,
    OuterRef,
    Prefetch,
    Q,
    QuerySet,
    Subquery,
    Value,
)
from django.db.models.expressions import OrderBy
from django.db.models.functions import Coalesce

from pocketfleet.config import Config
from pocketfleet.domain import hostnames, ranges
from pocketfleet.domain.releases import SCHEMA_BOUNDARIES, Version
from pocketfleet.domain.states import OPEN_OPERATION_STATES, OperationState, Process, instance_state
from pocketfleet.errors import InstanceNotFound, OperationNotFound, RehearsalNotFound
from pocketfleet.models import Favourite, Instance, Offer, Operation, Rehearsal, Release, Source, Step, User
from pocketfleet.web import traffic

Row = dict[str, Any]

_OPEN = sorted(OPEN_OPERATION_STATES)
_BOUNDARIES = {boundary.text for boundary in SCHEMA_BOUNDARIES}


#: How the list may be sorted.
SORTS: dict[str, tuple[str | OrderBy, ...]] = {
    "name": ("name",),
    "newest": ("-created_at",),
    "awake": (F("awake_since").desc(nulls_last=True), "name"),
    "release": ("release", "name"),
    "called": (F("last_request_at").desc(nulls_last=True), "name"),
    "size": (F("size_bytes").desc(nulls_last=True), "name"),
}


def instances(
    config: Config,
    seen: Q,
    *,
    search: str = "",
    team: str = "",
    sort: str = "name",
    user: User | None = None,
    offset: int = 0,
    limit: int = 100,
) -> tuple[list[Row], int]:
    """Those of the seen instances whose name or id holds the search text, of this team where one is given, and how
    many there are of them: one query. The `user`'s favourites come first."""
    if not _plain(search) or not _plain(team):
        return [], 0
    matching = seen & Q(team_id=team) if team else seen
    if search := search.strip().lower()[:100]:
        matching &= Q(name__contains=search) | Q(id__startswith=search)
    found = _instances(user).filter(matching).order_by(*(["-favourite"] if user else []), *SORTS.get(sort, ("name",)))
    counted = Instance.objects.filter(matching, deleted_at=None).order_by()
    total = counted.values(everything=Value(1)).annotate(count=Count("pk")).values("count")
    rows = list(found.annotate(total=Coalesce(Subquery(total), 0))[offset : offset + limit])
    if rows:
        return [instance_row(row, config) for row in rows], rows[0].total
    # past the end there is no row that could carry the total
    return [], counted.count() if offset else 0


def instance(config: Config, reference: str) -> Row:
    """The instance with this name or id. Raises InstanceNotFound."""
    field = "id" if hostnames.is_id(reference) else "name"
    found = _instances().filter(**{field: reference}).first() if _plain(reference) else None
    if found is None:
        raise InstanceNotFound(reference[:70])
    return instance_row(found, config)


def process_counts(seen: Q) -> dict[str, int]:
    """How many of the seen instances are awake, waking and failing; the sleeping many are not counted one by one."""
    found = Instance.objects.filter(seen, deleted_at=None).exclude(process=Process.ASLEEP).order_by()
    return {str(row["process"]): row["count"] for row in found.values("process").annotate(count=Count("pk"))}


def operation(operation_id: str) -> Row:
    """The operation with this id, and its steps. Raises OperationNotFound."""
    found = _operations().filter(id=operation_id).first() if _plain(operation_id) else None
    if found is None:
        raise OperationNotFound(f"There is no operation “{operation_id[:70]}”.")
    return operation_row(found)


def operations(
    seen: Q | None = None, *, states: Iterable[str] = (), instance_id: str | None = None, limit: int = 100
) -> list[Row]:
    """Of the seen operations, the newest first, those in one of these states, of this instance."""
    found = _operations().filter(seen or Q()).order_by("-created_at", "-id")
    if chosen := list(states):
        found = found.filter(state__in=chosen)
    if instance_id is not None:
        found = found.filter(instance_id=instance_id)
    return [operation_row(row) for row in found[:limit]]


def operations_to_show(seen: Q, since: datetime, limit: int = 20) -> list[Row]:
    """Of the seen operations what is under way, and what failed since then; the newest first."""
    failed = Q(state__in=[OperationState.FAILED, OperationState.ROLLED_BACK], finished_at__gte=since)
    found = _operations().filter(seen, Q(state__in=_OPEN) | failed).order_by("-created_at", "-id")
    return [operation_row(row) for row in found[:limit]]


def releases(line: str | None = None) -> list[Row]:
    """The catalogue, the newest first; of one line only, such as `0.22`, where that is given. Two queries."""
    # plain values: a catalogue has hundreds of releases, and rows as objects would take most of a page's time
    offers: dict[str, list[Any]] = defaultdict(list)
    for offer in Offer.objects.order_by("source").values_list("release_id", "source", "published_at"):
        offers[offer[0]].append(offer)
    found = [(Version(id_), sha256) for id_, sha256 in Release.objects.values_list("id", "sha256")]
    found.sort(reverse=True)
    rows = [_release_row(version, sha256, offers[version.text]) for version, sha256 in found]
    return [row for row in rows if line is None or row["line"] == line]


def sources() -> list[Row]:
    """How the last look at each source went."""
    return [
        {"name": row.id, "refreshed_at": row.refreshed_at, "warning": row.warning}
        for row in Source.objects.order_by("id")
    ]


def known_versions() -> list[Version]:
    """Every release that any source knows."""
    return [Version(text) for text in Release.objects.values_list("id", flat=True)]


def newest_lines(count: int) -> list[Row]:
    """The newest lines, and the range that follows each; what a form offers."""
    newest: dict[str, Version] = {}
    for version in sorted(known_versions(), reverse=True):
        if not version.is_prerelease:
            newest.setdefault(version.line, version)
    return [
        {"range": f"~{line}.0", "label": f"PocketBase {line}, now {version.text}"}
        for line, version in list(newest.items())[:count]
    ]


def resolved(text: str) -> Row:
    """A range and the release it stands for now; an empty text is what a new instance gets. Raises WrongRange,
    NoReleaseMatches (with `near`)."""
    known = known_versions()
    wanted = ranges.check_range(text) if text.strip() else ranges.default_range(known)
    return {"range": wanted, "release": ranges.resolve(wanted, known).text}


def instance_row(row: Any, config: Config) -> Row:
    """An instance as JSON has it; `row` comes from `_instances()`."""
    state = instance_state(row.power, bool(row.suspended), bool(row.hold), row.process)
    own = row.idle_timeout
    return {
        "id": row.id,
        "name": row.name,
        "url": config.instance_url(row.name or row.id),
        "host_id": config.instance_url(row.id),
        "state": state.value,
        "reason": row.suspended or row.reason,
        "retry_at": row.retry_at,
        "range": row.range,
        "release": row.release,
        "power": row.power,
        "dev": row.dev,
        "always_awake": row.always_awake,
        "admin_sync": row.admin_sync,
        "policy": row.policy,
        "window": row.window,
        "backup_plan": row.backup_plan,
        "retention": row.retention,
        "traffic_limits": row.traffic_limits,
        "limits": traffic.of_team(config, row.team, row.traffic_limits),
        "idle_timeout": config.idle_timeout if own is None else own,
        "idle_timeout_own": own,
        "superuser_email": row.superuser_email,
        "favourite": row.favourite,
        "team": {"id": row.team_id, "name": row.team.name} if row.team is not None else None,
        "secrets": sorted(row.secrets),
        "ready": row.ready,
        "awake_since": row.awake_since,
        "last_request_at": row.last_request_at,
        "size": row.size_bytes,
        "created_at": row.created_at,
        "generation": row.generation,
        "observed_generation": row.observed_generation,
        "operation": {"id": row.open_id, "kind": row.open_kind, "state": row.open_state} if row.open_id else None,
    }


def operation_row(row: Operation) -> Row:
    """An operation as JSON has it. Of its params only the release comes out: a password's hash is among them."""
    return {
        "id": row.id,
        "kind": row.kind,
        "instance": row.instance.name if row.instance else None,
        "instance_id": row.instance_id,
        "release": row.params.get("release"),
        "state": str(row.state),
        "steps": [_step_row(step) for step in row.steps.all()],
        **_change_of_release(row),
        "error": row.error,
        "result": row.result,
        "actor": row.actor,
        "created_at": row.created_at,
        "started_at": row.started_at,
        "finished_at": row.finished_at,
    }


def rehearsals(instance_id: str, limit: int = 100) -> list[Row]:
    """The instance's rehearsals in short, the newest first."""
    found = Rehearsal.objects.filter(instance_id=instance_id).select_related("instance").defer("report")
    return [_rehearsal_row(row) for row in found[:limit]]


def rehearsal(rehearsal_id: str) -> Row:
    """The rehearsal with this id, and its report. Raises RehearsalNotFound."""
    found = Rehearsal.objects.select_related("instance") if _plain(rehearsal_id) else Rehearsal.objects.none()
    row = found.filter(id=rehearsal_id, instance__deleted_at=None).first()
    if row is None:
        raise RehearsalNotFound(f"There is no rehearsal “{rehearsal_id[:70]}”.")
    return {**_rehearsal_row(row), "report": row.report}


def _plain(text: str) -> bool:
    """Whether it could be a name or an id at all: PostgreSQL refuses a NUL."""
    return text.isascii() and text.isprintable()


def _instances(user: User | None = None) -> QuerySet[Any]:
    # at most one such operation, by the partial unique index: the join cannot multiply rows
    opened = FilteredRelation("operations", condition=Q(operations__state__in=_OPEN, operations__exclusive=True))
    found = Instance.objects.filter(deleted_at=None).select_related("team")
    liked = Exists(Favourite.objects.filter(instance=OuterRef("pk"), user=user)) if user else Value(False)
    return found.annotate(
        opened=opened,
        open_id=F("opened__id"),
        open_kind=F("opened__kind"),
        open_state=F("opened__state"),
        favourite=liked,
    )


def _operations() -> QuerySet[Operation]:
    steps = Prefetch("steps", Step.objects.order_by("position"))
    return Operation.objects.select_related("instance").prefetch_related(steps)


def _change_of_release(row: Operation) -> Row:
    """What people ask first of an upgrade, a rollback or a restore; nothing of all else."""
    changes = row.kind in ("upgrade", "rollback", "restore")
    result, params = (row.result, row.params) if changes else ({}, {})
    return {
        "from": result.get("from", params.get("from")),
        "to": result.get("to", result.get("release", params.get("release"))),
        "verdict": result.get("verdict"),
        "reasons": result.get("reasons", []),
        "held_ms": result.get("held_ms"),
    }


def _rehearsal_row(row: Rehearsal) -> Row:
    return {
        "id": row.id,
        "kind": row.kind,
        "instance": row.instance.name,
        "instance_id": row.instance_id,
        "operation": row.operation_id,
        "from": row.from_release,
        "to": row.to_release,
        "verdict": row.verdict,
        "reasons": row.reasons,
        "created_at": row.created_at,
    }


def _step_row(row: Step) -> Row:
    return {
        "name": row.name,
        "state": str(row.state),
        "progress": row.progress,
        "message": row.message,
        "started_at": row.started_at,
        "finished_at": row.finished_at,
    }


def _release_row(version: Version, sha256: str, offers: list[Any]) -> Row:
    published = [at for _, _, at in offers if at is not None]
    return {
        "version": version.text,
        "line": version.line,
        "sources": [source for _, source, _ in offers],
        "fetched": bool(sha256),
        "schema_boundary": version.text in _BOUNDARIES,
        "published_at": min(published, default=None),
    }
