"""Policies: how far an instance may follow its range by itself, and what a rehearsal's verdict lets it do."""

from __future__ import annotations

from enum import StrEnum

from pocketfleet.domain.releases import SCHEMA_BOUNDARIES_KNOWN_UNTIL, Version, boundaries_between


class Verdict(StrEnum):
    """What a rehearsal says of a release."""

    #: it boots, with the same records and the same answers
    SAFE = "safe"
    #: something a person must look at
    CHANGED = "changed"
    #: it does not boot, or loses records
    BROKEN = "broken"


class Policy(StrEnum):
    """What an owner lets an instance do when a newer release inside its range appears."""

    #: rehearse, and upgrade if safe
    AUTO = "auto"
    #: as `auto`, but only across releases without a schema boundary between them
    SCHEMA_SAFE = "schema-safe"
    #: rehearse, and ask
    ASK = "ask"
    #: nothing
    OFF = "off"


class Course(StrEnum):
    """What happens next with a newer release."""

    #: nothing: not rehearsed, not told
    IGNORE = "ignore"
    #: carry it out on clones, then ask again with the verdict
    REHEARSE = "rehearse"
    #: upgrade, in the window
    UPGRADE = "upgrade"
    #: tell the owner, and wait for a word
    ASK = "ask"
    #: tell the owner that it cannot be done, and leave it until something changes
    TELL = "tell"


def crosses_boundary(old: Version, new: Version, *, system_migrations_ran: bool | None = None) -> bool:
    """Whether going from `old` to `new` changes the system tables.

    `system_migrations_ran` is what a rehearsal saw; None before there was one. A release that is newer than the map of
    boundaries counts as crossing one until a rehearsal shows that no system migration ran.
    """
    if system_migrations_ran or boundaries_between(old, new):
        return True
    return max(old, new) > SCHEMA_BOUNDARIES_KNOWN_UNTIL and system_migrations_ran is None


def course_for(policy: Policy, verdict: Verdict | None, *, boundary: bool) -> Course:
    """What to do with a newer release inside the range, by itself. `verdict` is None before the rehearsal."""
    if policy is Policy.OFF:
        return Course.IGNORE
    if verdict is None:
        return Course.REHEARSE
    if verdict is Verdict.BROKEN:
        return Course.TELL
    alone = policy is Policy.AUTO or (policy is Policy.SCHEMA_SAFE and not boundary)
    return Course.UPGRADE if alone and verdict is Verdict.SAFE else Course.ASK
