"""The verdict of a rehearsal: safe, changed or broken, with the reasons in order of weight."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pocketfleet.domain.policies import Verdict
from pocketfleet.rehearsal.report import Finding, Section, Severity, by_weight


@dataclass(frozen=True, slots=True)
class Started:
    """How one start of a release on a clone went: it answered requests, or `reason` says why not, in plain words."""

    release: str
    answered: bool
    reason: str = ""
    #: collection, field, index or file that PocketBase named; "" where it named none
    where: str = ""


@dataclass(frozen=True, slots=True)
class Boots:
    """The starts of a rehearsal; `again` is the second one of the new release, None where the first failed."""

    old: Started
    new: Started
    again: Started | None = None


@dataclass(frozen=True, slots=True)
class Judged:
    """What follows from the findings; no reason for a safe one."""

    verdict: Verdict
    reasons: tuple[Finding, ...]


def judge(
    findings: Iterable[Finding],
    boots: Boots,
    *,
    sandboxed: bool,
    why_not_sandboxed: str = "",
    unobserved_hooks: Sequence[str] = (),
    what: str = "this data",
    why_alone: str = "",
) -> Judged:
    """Weigh everything that a rehearsal found.

    Broken: the new release does not start, twice, or a finding is fatal (records lost). Safe: nothing that a person
    must look at, no network within reach, and no hook that no request went through (`unobserved_hooks`: one text each,
    as `hooks.unobserved` names them). Changed: all else. `what` the new release starts on, in words; `why_alone` there
    is nothing to compare with, which a person must know.
    """
    reasons = [finding for finding in findings if finding.severity.needs_a_person]
    reasons += _of_starts(boots, what, why_alone)
    reasons += _of_hooks(unobserved_hooks)
    if not sandboxed:
        reasons.append(_of_sandbox(why_not_sandboxed))
    return Judged(_verdict(reasons), tuple(by_weight(reasons)))


def _verdict(reasons: Sequence[Finding]) -> Verdict:
    if any(reason.severity is Severity.FATAL for reason in reasons):
        return Verdict.BROKEN
    return Verdict.CHANGED if reasons else Verdict.SAFE


def _of_starts(boots: Boots, what: str, why_alone: str) -> list[Finding]:
    found = []
    if not boots.new.answered:
        found.append(_start(boots.new, f"PocketBase {boots.new.release} does not start on a copy of {what}"))
    elif boots.again is None:
        found.append(_start(boots.new, f"PocketBase {boots.new.release} was not started a second time", Severity.VALUE))
    elif not boots.again.answered:
        found.append(_start(boots.again, f"PocketBase {boots.again.release} starts once, but not a second time"))
    if why_alone:
        text = f"It could not be compared with what is there now: {why_alone}"
        found.append(Finding(Severity.VALUE, Section.BOOT, text, "now"))
    elif not boots.old.answered:
        text = (
            f"PocketBase {boots.old.release}, as it is now, does not start on a copy of this data: nothing to compare"
        )
        found.append(_start(boots.old, text, Severity.BREAKS))
    return found


def _start(started: Started, text: str, severity: Severity = Severity.FATAL) -> Finding:
    said = f"{text}: {started.reason}" if started.reason else f"{text}."
    return Finding(severity, Section.BOOT, said, where=started.where)


def _of_hooks(unobserved: Sequence[str]) -> list[Finding]:
    if not unobserved:
        return []
    which = ", ".join(unobserved[:3]) + (f" and {len(unobserved) - 3} more" if len(unobserved) > 3 else "")
    text = f"No request went through {len(unobserved)} of the hooks, so nobody knows whether they work: {which}."
    return [Finding(Severity.VALUE, Section.HOOKS, text, detail={"unobserved": list(unobserved)})]


def _of_sandbox(why: str) -> Finding:
    text = "The rehearsal ran without its sandbox, so it left out what could reach other machines"
    return Finding(Severity.VALUE, Section.BOOT, f"{text}: {why}" if why else f"{text}.")
