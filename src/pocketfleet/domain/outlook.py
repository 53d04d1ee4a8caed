"""What an instance behind its range would do next by itself, and when: in the words of `Outlook`, for people."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from pocketfleet.domain.following import TRY_AGAIN, Behind, next_moment
from pocketfleet.domain.policies import Course, Policy, course_for


class Outlook(StrEnum):
    """What comes next."""

    #: its policy says that nothing happens by itself
    OFF = "off"
    #: it failed or was taken back; nothing until something changes
    REFUSED = "refused"
    #: it was rehearsed and cannot be done
    BROKEN = "broken"
    #: it was rehearsed, and a person must decide
    ASKS = "asks"
    #: the last try brought nothing; another one follows
    AGAIN = "again"
    #: its window is closed
    WINDOW = "window"
    #: it has no window and is busy
    QUIET = "quiet"
    #: it is rehearsed now; then its policy says what follows
    REHEARSES = "rehearses"
    #: it is rehearsed now, and upgraded if that says safe
    UPGRADES = "upgrades"


@dataclass(frozen=True, slots=True)
class Prospect:
    """What comes next, and when it may at the earliest; None: now, or never by itself."""

    kind: Outlook
    at: datetime | None = None


def prospect(behind: Behind, now: datetime) -> Prospect:
    """In the order in which following.next_step decides, so that the page says what node does."""
    course = course_for(behind.policy, behind.verdict, boundary=behind.boundary)
    if course is Course.IGNORE:
        return Prospect(Outlook.OFF)
    if behind.refused:
        return Prospect(Outlook.REFUSED)
    if course is Course.TELL:
        return Prospect(Outlook.BROKEN)
    if course is Course.ASK:
        return Prospect(Outlook.ASKS)
    if behind.failed_at is not None and now - behind.failed_at < TRY_AGAIN:
        return Prospect(Outlook.AGAIN, next_moment(behind, behind.failed_at + TRY_AGAIN))
    moment = next_moment(behind, now)
    if moment > now:
        return Prospect(Outlook.WINDOW if behind.window is not None else Outlook.QUIET, moment)
    return Prospect(Outlook.REHEARSES if behind.policy is Policy.ASK else Outlook.UPGRADES)
