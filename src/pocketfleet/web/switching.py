"""From a report that was read to the switch: the one place that says which rehearsal somebody accepts."""

from __future__ import annotations

from pocketfleet.actions.upgrades import upgrade_instance
from pocketfleet.domain import ranges
from pocketfleet.domain.policies import Verdict
from pocketfleet.errors import ChangedMeanwhile, ReleaseBroken
from pocketfleet.models import Instance, Operation, Rehearsal, User
from pocketfleet.web.reading import known_versions
from pocketfleet.web.versions import resolved


def obstacle(rehearsal: Rehearsal, instance: Instance) -> str:
    """Why one cannot switch by this report any more, in plain words; "" where one can."""
    if rehearsal.verdict == Verdict.BROKEN:
        return "It does not work with this data, so there is nothing to switch to."
    if instance.release == rehearsal.to_release:
        return f"It runs PocketBase {instance.release} already."
    if instance.release != rehearsal.from_release:
        return f"It ran PocketBase {rehearsal.from_release} then and runs {instance.release} now. Rehearse again."
    return ""


def range_of(rehearsal: Rehearsal) -> str:
    """What was asked for, where that still stands for the release that was rehearsed; else that release alone."""
    params = Operation.objects.filter(id=rehearsal.operation_id).values_list("params", flat=True).first() or {}
    wanted = str(params.get("range") or "")
    release = resolved(wanted, known_versions()) if wanted else None
    return wanted if release is not None and release.text == rehearsal.to_release else rehearsal.to_release


def switch_as_read(rehearsal: Rehearsal, instance: Instance, *, acting_user: User) -> Operation:
    """Open the upgrade to what this report is about; its changes are accepted, those of another one are not.

    Raises ReleaseBroken, ChangedMeanwhile, OperationOpen.
    """
    if why := obstacle(rehearsal, instance):
        error = ReleaseBroken if rehearsal.verdict == Verdict.BROKEN else ChangedMeanwhile
        raise error(why)
    wanted = ranges.check_range(range_of(rehearsal))
    accept = rehearsal.verdict == Verdict.CHANGED
    # where a fresh rehearsal finds more than this one did, it asks again
    return upgrade_instance(
        instance.id,
        wanted,
        accept_changes=accept,
        rehearsal=rehearsal.id if accept else None,
        acting_user=acting_user,
    )
