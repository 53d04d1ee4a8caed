"""What following ranges reads and writes down: who is behind, what is known of that, and the upgrades it opens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import F, OuterRef, QuerySet, Subquery
from django.utils import timezone

from pocketfleet.actions import events
from pocketfleet.actions.upgrades import upgrade_instance
from pocketfleet.domain import ranges
from pocketfleet.domain.following import Behind
from pocketfleet.domain.policies import Policy, Verdict, crosses_boundary
from pocketfleet.domain.refusals import Refusal
from pocketfleet.domain.releases import Version
from pocketfleet.domain.states import OPEN_OPERATION_STATES, OperationState, Power, Process
from pocketfleet.domain.windows import Window
from pocketfleet.errors import OperationOpen, PocketfleetError, WrongSetting
from pocketfleet.models import Event, Instance, Operation, Rehearsal, Release

_WORDS = {
    "upgrade": ("Following the range to", events.WARNING),
    "rollback": ("Going back by itself to", events.PROBLEM),
}
_ENDED_BADLY = (OperationState.FAILED, OperationState.ROLLED_BACK)


@dataclass(frozen=True, slots=True)
class Group:
    """Instances that follow the same range and run the same release, and the newer one that it stands for now."""

    range: str
    release: str
    target: str


@dataclass(frozen=True, slots=True)
class Candidate:
    """One instance of a group."""

    instance_id: str
    group: Group
    behind: Behind
    #: of what was judged or refused last, for this change of release; "" where nothing was
    fingerprint: str
    #: id of the newest rehearsal of it; "" where there was none
    rehearsal: str = ""


def groups_behind() -> list[Group]:
    """All groups with a newer release than they run: one query, however many instances there are."""
    known = [Version(text) for text in Release.objects.values_list("id", flat=True)]
    pairs = _followers().order_by().values_list("range", "release").distinct()
    found = []
    targets: dict[str, Version | None] = {}
    for text, release in pairs:
        if text not in targets:
            targets[text] = _resolved(text, known)
        target = targets[text]
        if target is not None and target > Version(release):
            found.append(Group(text, release, target.text))
    return found


def candidates(group: Group, after: str, limit: int) -> list[Candidate]:
    """Those of a group whose id comes after this one, by id, with nothing under way."""
    busy = Operation.objects.filter(state__in=OPEN_OPERATION_STATES, exclusive=True).values("instance_id")
    followers = _followers().filter(range=group.range, release=group.release, id__gt=after)
    free = followers.exclude(id__in=busy.filter(instance_id__isnull=False))
    offered_at = Release.objects.get(id=group.target).seen_at
    return [_candidate(row, group, offered_at) for row in _judged(free, group).order_by("id")[:limit]]


def candidate_of(instance_id: str) -> Candidate | None:
    """What is known of one instance, whether or not it may be worked on now; None where it is not behind its range."""
    found = Instance.objects.filter(id=instance_id, deleted_at=None).exclude(release="")
    release = found.values_list("range", "release").first()
    known = [Version(text) for text in Release.objects.values_list("id", flat=True)]
    target = _resolved(release[0], known) if release else None
    if release is None or target is None or target <= Version(release[1]):
        return None
    group = Group(*release, target.text)
    offered_at = Release.objects.get(id=group.target).seen_at
    return next((_candidate(row, group, offered_at) for row in _judged(found, group)), None)


def is_following() -> bool:
    """Whether an upgrade that nobody asked for is under way."""
    found = Operation.objects.filter(kind="upgrade", state__in=OPEN_OPERATION_STATES)
    return any(params.get("by_itself") for params in found.values_list("params", flat=True))


def follow(instance_id: str) -> str | None:
    """Open the upgrade; answers its id, None where somebody else was first or there is nothing newer any more."""
    try:
        return upgrade_instance(instance_id, by_itself=True, acting_user=None).id
    except OperationOpen:
        return None


def course_facts(instance_id: str) -> tuple[Policy, Window | None]:
    """How it follows its range as of now."""
    row = Instance.objects.get(id=instance_id)
    return Policy(row.policy), _window(row)


def tell_of_failures(within: timedelta = timedelta(days=1)) -> None:
    """What nobody asked for, an upgrade or going back from one, gets a word where it failed without any."""
    recent = Operation.objects.filter(
        kind__in=("upgrade", "rollback"),
        state__in=_ENDED_BADLY,
        finished_at__gte=timezone.now() - within,
        instance__deleted_at=None,
    )
    told = Event.objects.filter(at__gte=timezone.now() - 2 * within).values("operation_id")
    for operation in recent.exclude(id__in=told):
        if operation.params.get("by_itself") and operation.instance_id:
            why = operation.error.get("detail", "the operation says why")
            what, weight = _WORDS[operation.kind]
            text = f"{what} PocketBase {operation.params['release']} failed: {why}"
            events.tell(operation.instance_id, f"{operation.kind}_failed", text, weight, operation.id)


def _followers() -> QuerySet[Instance]:
    """Those that may be worked on, unless their owner switched them or following off."""
    found = Instance.objects.filter(deleted_at=None, ready=True, power=Power.ON, suspended="")
    return found.exclude(policy=Policy.OFF).exclude(release="")


def _judged(rows: QuerySet[Instance], group: Group) -> QuerySet[Any]:
    """With what is known of this change of release."""
    pair = Rehearsal.objects.filter(
        instance_id=OuterRef("pk"), kind="upgrade", from_release=group.release, to_release=group.target
    ).order_by("-created_at")
    return rows.annotate(
        verdict=Subquery(pair.values("verdict")[:1]),
        judged=Subquery(pair.values("fingerprint")[:1]),
        rehearsal=Subquery(pair.values("id")[:1]),
        failed_at=Subquery(_failed(OuterRef("pk"), group.target).values("finished_at")[:1]),
    )


def _failed(instance: Any, target: str) -> QuerySet[Operation]:
    return Operation.objects.filter(
        kind="upgrade", instance_id=instance, state__in=_ENDED_BADLY, params__by_itself=True, params__release=target
    ).order_by(F("finished_at").desc())


def _resolved(text: str, known: list[Version]) -> Version | None:
    if ranges.is_pin(text):
        return None
    try:
        return ranges.resolve(text, known)
    except PocketfleetError:
        return None


def _candidate(row: Any, group: Group, offered_at: datetime) -> Candidate:
    kept = row.refused.get(group.target)
    refused = Refusal.parse(kept).fingerprint if kept else ""
    behind = Behind(
        policy=Policy(row.policy),
        window=_window(row),
        asleep=row.process == Process.ASLEEP,
        always_awake=row.always_awake,
        offered_at=offered_at,
        verdict=Verdict(row.verdict) if row.verdict else None,
        boundary=_boundary(row, group),
        refused=bool(refused),
        failed_at=row.failed_at,
    )
    return Candidate(row.id, group, behind, refused or row.judged or "", row.rehearsal or "")


def _window(row: Instance) -> Window | None:
    try:
        return Window.parse(row.window)
    except WrongSetting:  # a time zone that this machine does not know any more: the hours count as UTC
        return Window.parse({**row.window, "zone": "UTC"})


def _boundary(row: Any, group: Group) -> bool:
    """Whether system tables change. Reports are large: one is read only where it decides."""
    ran = None
    if row.policy == Policy.SCHEMA_SAFE and row.verdict == Verdict.SAFE:
        ran = has_system_migrations(Rehearsal.objects.values_list("report", flat=True).get(id=row.rehearsal))
    return crosses_boundary(Version(group.release), Version(group.target), system_migrations_ran=ran)


def has_system_migrations(report: Mapping[str, Any]) -> bool:
    """Whether a rehearsal saw some of PocketBase's own run: those are written in Go, a tenant's in JavaScript."""
    facts = report.get("sections", {}).get("boot", {}).get("facts", {})
    return any(str(name).endswith(".go") for name in facts.get("migrations", ()))
