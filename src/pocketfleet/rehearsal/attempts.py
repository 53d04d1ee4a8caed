"""What hooks tried to send out during a rehearsal: mail and web requests, of the old release and of the new one."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from pocketfleet.rehearsal.report import Finding, Section, Severity, Source
from pocketfleet.rehearsal.sandbox import Attempt

#: Of each kind, in the report.
_MOST = 50
_VARIES = re.compile(r"\b[a-z0-9]{15}\b|\d+")

Seen = Counter[tuple[str, str, str]]


def compare_attempts(
    old: Sequence[Attempt], new: Sequence[Attempt], again: Sequence[Attempt]
) -> tuple[list[dict[str, Any]], list[Finding]]:
    """Facts for the report and findings: what is tried no longer, or for the first time.

    What only one of the two old runs tried varies by itself (a job of the minute) and is no finding.
    """
    first, second, third = _count(old), _count(new), _count(again)
    facts = [
        {"kind": kind, "target": target, "text": text, "before": first[key], "after": second[key]}
        for key in sorted(first.keys() | second.keys())
        for kind, target, text in [key]
    ]
    findings = [_finding(Severity.BREAKS, key, "no longer") for key in sorted((first & third).keys() - second.keys())]
    fresh = second.keys() - (first | third).keys()
    return facts[:_MOST], [*findings, *(_finding(Severity.VALUE, key, "for the first time") for key in sorted(fresh))]


def not_reached(old: Iterable[Attempt], new: Iterable[Attempt]) -> list[str]:
    """What was not covered because of it, in plain words."""
    hosts = sorted({_host(one.target) for one in [*old, *new] if one.kind == "web"})
    if not hosts:
        return []
    names = ", ".join(hosts[:5]) + (f" and {len(hosts) - 5} more" if len(hosts) > 5 else "")
    return [f"Hooks ask other machines ({names}), which do not answer in a rehearsal: what follows was not seen."]


def _count(attempts: Iterable[Attempt]) -> Seen:
    """Told apart by what they are for, not by whom they happen to be about."""
    return Counter((one.kind, _about(one), _VARIES.sub("…", one.text)) for one in attempts)


def _about(attempt: Attempt) -> str:
    if attempt.kind == "mail":
        return "mail"
    return _host(attempt.target)


def _host(target: str) -> str:
    return (target.partition("://")[2] or target).partition("/")[0].removesuffix(":443").removesuffix(":80")


def _finding(severity: Severity, key: tuple[str, str, str], when: str) -> Finding:
    kind, target, text = key
    what = f"A mail “{text}” is sent" if kind == "mail" else f"A web request to {_host(target)} is made"
    return Finding(severity, Section.ATTEMPTS, f"{what} {when}.", _host(target), Source.SYNTHETIC, {"kind": kind})
