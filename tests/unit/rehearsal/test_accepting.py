"""When a difference is the one that was accepted: whatever was written meanwhile, and nothing that it did not tell."""

from __future__ import annotations

from typing import Any

import pytest

from pocketfleet.rehearsal.report import Finding, Section, Severity, unseen

Words = tuple[Severity, Section, str, str, dict[str, Any]]


def finding(words: Words) -> Finding:
    """A finding, for short."""
    severity, section, text, where, detail = words
    return Finding(severity, section, text, where, detail=detail)


def answer(kind: str, after: str, *paths: str, severity: Severity = Severity.BREAKS, who: str = "anonymous") -> Words:
    """What differs in the answers of a route."""
    detail = {"kind": kind, "after": after, "paths": list(paths), "who": [who], "requests": 3}
    return severity, Section.ANSWERS, f"GET /a {kind} {after}", "GET /a", detail


RULE = (Severity.VALUE, Section.RULES, "The rule reads differently.", "posts.listRule")
HOOKS = (Severity.VALUE, Section.HOOKS)


@pytest.mark.parametrize(
    ("seen", "found"),
    [
        (answer("value", "1", "title", "n"), answer("value", "2", "n")),
        (answer("status", "401", ""), answer("status", "401", "")),
        ((*RULE, {"rule": "listRule", "after": "a = 1"}), (*RULE, {"rule": "listRule", "after": "a = 1"})),
        (
            (*HOOKS, "No request went through 2", "", {"unobserved": ["a", "b"]}),
            (*HOOKS, "No request went through 1", "", {"unobserved": ["b"]}),
        ),
    ],
)
def test_the_same_or_less_is_nothing_new(seen: Words, found: Words) -> None:
    assert unseen([finding(found)], [finding(seen)]) == []


@pytest.mark.parametrize(
    ("seen", "found"),
    [
        (answer("value", "1", "title"), answer("value", "1", "title", "n")),
        (answer("value", "1", "title"), answer("lost", "1", "title")),
        (answer("status", "401", ""), answer("status", "500", "")),
        (answer("filled", "1", "n"), answer("filled", "1", "n", severity=Severity.EXPOSES)),
        (
            answer("filled", "1", "n", severity=Severity.EXPOSES),
            answer("filled", "1", "n", severity=Severity.EXPOSES, who="people"),
        ),
        ((*RULE, {"rule": "listRule", "after": "a = 1"}), (*RULE, {"rule": "listRule", "after": "a = 2"})),
        (
            (*HOOKS, "No request went through 1", "", {"unobserved": ["b"]}),
            (*HOOKS, "No request went through 1", "", {"unobserved": ["c"]}),
        ),
        (
            (Severity.BREAKS, Section.RECORDS, "wrong", "posts", {}),
            (Severity.BREAKS, Section.RECORDS, "wrong", "users", {}),
        ),
    ],
)
def test_more_or_worse_is_new(seen: Words, found: Words) -> None:
    new = finding(found)
    assert unseen([new], [finding(seen)]) == [new]
