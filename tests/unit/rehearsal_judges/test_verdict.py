"""Safe, changed or broken, and the order of the reasons."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pocketfleet.domain.policies import Verdict
from pocketfleet.rehearsal.report import Finding, Section, Severity, Source
from pocketfleet.rehearsal.verdict import Boots, Started, judge

OLD, NEW = Started("0.22.27", answered=True), Started("0.40.6", answered=True)
DEAD = Started("0.40.6", answered=False, reason="no such column: gone", where="posts.gone")
GOOD = Boots(OLD, NEW, NEW)


def finding(severity: Severity, section: Section = Section.ANSWERS, source: Source = Source.SYNTHETIC) -> Finding:
    return Finding(severity, section, f"{severity} {section} {source}", source=source)


def test_safe_needs_all_of_it() -> None:
    judged = judge([], GOOD, sandboxed=True)
    assert judged.verdict is Verdict.SAFE
    assert judged.reasons == ()


@pytest.mark.parametrize("severity", [Severity.KNOWN, Severity.ADDED])
def test_what_is_known_or_more_than_before_keeps_it_safe(severity: Severity) -> None:
    assert judge([finding(severity)], GOOD, sandboxed=True).verdict is Verdict.SAFE


def test_without_its_sandbox_it_is_never_safe_and_says_why() -> None:
    judged = judge([], GOOD, sandboxed=False, why_not_sandboxed="user namespaces are switched off")
    assert judged.verdict is Verdict.CHANGED
    assert "user namespaces are switched off" in judged.reasons[0].text


def test_hooks_that_nobody_asked_are_at_best_changed() -> None:
    judged = judge([], GOOD, sandboxed=True, unobserved_hooks=["cron a", "cron b", "cron c", "cron d"])
    assert judged.verdict is Verdict.CHANGED
    assert judged.reasons[0].text.endswith("cron a, cron b, cron c and 1 more.")


def test_a_release_that_does_not_start_is_broken_and_names_what_stands_in_its_way() -> None:
    judged = judge([finding(Severity.EXPOSES)], Boots(OLD, DEAD), sandboxed=True)
    assert judged.verdict is Verdict.BROKEN
    first = judged.reasons[0]
    assert first.where == "posts.gone"
    assert first.text == "PocketBase 0.40.6 does not start on a copy of this data: no such column: gone"


def test_a_release_that_starts_only_once_is_broken() -> None:
    assert judge([], Boots(OLD, NEW, DEAD), sandboxed=True).verdict is Verdict.BROKEN


def test_a_release_that_was_started_only_once_is_not_safe() -> None:
    assert judge([], Boots(OLD, NEW), sandboxed=True).verdict is Verdict.CHANGED


def test_where_the_present_release_does_not_start_nothing_was_compared() -> None:
    dead = Started("0.22.27", answered=False)
    assert judge([], Boots(dead, NEW, NEW), sandboxed=True).verdict is Verdict.CHANGED


def test_lost_records_are_broken() -> None:
    assert judge([finding(Severity.FATAL, Section.RECORDS)], GOOD, sandboxed=True).verdict is Verdict.BROKEN


def test_reasons_come_by_severity_then_by_who_asked_then_by_section() -> None:
    expected = [
        finding(Severity.FATAL, Section.RECORDS, Source.DATA),
        finding(Severity.EXPOSES, Section.RULES),
        finding(Severity.BREAKS, Section.ANSWERS, Source.PROBE),
        finding(Severity.BREAKS, Section.ANSWERS, Source.LOG),
        finding(Severity.BREAKS, Section.TOKENS, Source.SYNTHETIC),
        finding(Severity.BREAKS, Section.ANSWERS, Source.SYNTHETIC),
        finding(Severity.ROWS),
        finding(Severity.SHAPE),
        finding(Severity.VALUE),
        finding(Severity.ORDER),
    ]
    judged = judge([finding(Severity.KNOWN), *reversed(expected)], GOOD, sandboxed=True)
    assert list(judged.reasons) == expected


_FINDINGS = st.lists(st.builds(finding, st.sampled_from(Severity), st.sampled_from(Section), st.sampled_from(Source)))


@given(_FINDINGS, st.booleans(), st.booleans(), st.lists(st.just("cron x")))
def test_never_safe_with_a_reason_and_never_without_one_where_it_is_not(
    findings: list[Finding], sandboxed: bool, again: bool, hooks: list[str]
) -> None:
    boots = GOOD if again else Boots(OLD, NEW)
    judged = judge(findings, boots, sandboxed=sandboxed, unobserved_hooks=hooks)
    assert (judged.verdict is Verdict.SAFE) is (not judged.reasons)
    if judged.verdict is Verdict.SAFE:
        assert sandboxed
        assert again
        assert not hooks
    fatal = any(one.severity is Severity.FATAL for one in findings)
    assert (judged.verdict is Verdict.BROKEN) is fatal
    weights = [reason.weight for reason in judged.reasons]
    assert weights == sorted(weights, reverse=True)


@given(_FINDINGS, st.sampled_from(Severity))
def test_one_more_finding_never_makes_it_safer(findings: list[Finding], severity: Severity) -> None:
    order = [Verdict.SAFE, Verdict.CHANGED, Verdict.BROKEN]
    before = judge(findings, GOOD, sandboxed=True).verdict
    after = judge([*findings, finding(severity)], GOOD, sandboxed=True).verdict
    assert order.index(after) >= order.index(before)
