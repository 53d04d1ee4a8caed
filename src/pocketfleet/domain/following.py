"""Following a range without being asked: whether an instance that is behind is worked on now, later, or not at all."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from pocketfleet.domain.policies import Course, Policy, Verdict, course_for
from pocketfleet.domain.windows import Window

#: A try that ended without a verdict (no quiet moment, no room on the disk) is made again after this time.
TRY_AGAIN = timedelta(days=1)
#: An instance without a window that never sleeps is worked on awake, once its release has been known for this long.
PATIENCE = timedelta(days=1)


class Next(StrEnum):
    """What to do with an instance that is behind its range."""

    #: open an upgrade: rehearse, then act as the policy says
    GO = "go"
    #: open one if hooks, migrations or schema are no longer those that were judged
    IF_CHANGED = "if changed"
    #: nothing now
    WAIT = "wait"


@dataclass(frozen=True, slots=True)
class Behind:
    """An instance whose range has a newer release than it runs, and what is known of that pair."""

    policy: Policy
    window: Window | None
    asleep: bool
    always_awake: bool
    #: when a source first showed the newer release
    offered_at: datetime
    #: of the newest rehearsal of this change of release; None where there was none
    verdict: Verdict | None = None
    #: as far as anybody knows without a rehearsal, or as that one saw
    boundary: bool = False
    #: it failed, or was taken back
    refused: bool = False
    #: when the last try by itself ended that brought nothing
    failed_at: datetime | None = None


def next_step(behind: Behind, now: datetime) -> Next:
    """What to do now. Whoever asks every minute gets GO once it may begin."""
    course = course_for(behind.policy, behind.verdict, boundary=behind.boundary)
    if course is Course.IGNORE or not _is_moment(behind, now):
        return Next.WAIT
    if behind.refused or course in (Course.ASK, Course.TELL):
        return Next.IF_CHANGED
    if behind.failed_at is not None and now - behind.failed_at < TRY_AGAIN:
        return Next.WAIT
    return Next.GO


def fingerprint(judged: Mapping[str, str], old: str, new: str) -> str:
    """SHA-256 of all that a verdict depends on: hooks, migrations and schema (a manifest's fingerprints), and both
    releases."""
    return hashlib.sha256(json.dumps([dict(judged), old, new], sort_keys=True).encode()).hexdigest()


def next_moment(behind: Behind, now: datetime) -> datetime:
    """From when on it may be worked on, as things are: `now` itself where that is at once. Rehearsing alone disturbs
    nobody; a switch waits for the window, or without one until it sleeps, or has been known for long."""
    if behind.policy is Policy.ASK:
        return now
    if behind.window is not None:
        return behind.window.next_opening(now)
    return now if behind.asleep or behind.always_awake else max(now, behind.offered_at + PATIENCE)


def _is_moment(behind: Behind, now: datetime) -> bool:
    return next_moment(behind, now) <= now
