"""Upgrades of healthy data: nothing is reported but what every such upgrade brings."""

from __future__ import annotations

import pytest

from pocketfleet.domain.policies import Verdict
from pocketfleet.rehearsal.report import Finding, Report, Section
from tests.integration.rehearsal.conftest import Rehearse, Shop


def remarkable(report: Report) -> list[Finding]:
    """What a person must look at."""
    return [finding for finding in report.findings if finding.severity.needs_a_person]


@pytest.mark.parametrize("old, new", [("0.30.4", "0.36.9"), ("0.36.9", "0.40.6")])
async def test_between_new_releases_plain_data_is_safe(shop: Shop, rehearsed: Rehearse, old: str, new: str) -> None:
    report = await rehearsed(shop(old), old, new)
    assert remarkable(report) == []
    assert report.verdict is Verdict.SAFE
    assert report.sandboxed
    facts = report.sections[Section.ANSWERS].facts
    assert facts["replayed"] > 20
    assert facts["requests"] > 300
    kept = report.as_json()
    assert Report.from_json(kept).as_json() == kept
    # no token stands in what is kept
    assert "eyJ" not in str(kept)


@pytest.mark.parametrize("new", ["0.23.12", "0.40.6"])
async def test_across_the_rewrite_only_tokens_die(shop: Shop, rehearsed: Rehearse, new: str) -> None:
    report = await rehearsed(shop("0.22.27"), "0.22.27", new)
    assert {(finding.section, finding.where) for finding in remarkable(report)} == {(Section.TOKENS, "tokens")}
    assert report.verdict is Verdict.CHANGED
    assert report.known_changes
    assert "1717233556_v0.23_migrate.go" in report.sections[Section.BOOT].facts["migrations"]
    # nothing of the log was lost
    assert not [text for text in report.not_covered if "could not be repeated" in text]


async def test_hooks_that_still_work_are_safe_and_what_they_send_is_told(shop: Shop, rehearsed: Rehearse) -> None:
    report = await rehearsed(shop("0.36.9 with hooks"), "0.36.9", "0.40.6")
    assert remarkable(report) == []
    assert report.verdict is Verdict.SAFE
    attempts = report.sections[Section.ATTEMPTS].facts["attempts"]
    assert {(one["kind"], one["target"], one["text"]) for one in attempts} == {
        ("mail", "mail", "Your order"),
        ("web", "payments.example.com", "CONNECT"),
    }
    assert all(one["before"] and one["after"] for one in attempts)
    assert any("payments.example.com" in text for text in report.not_covered)
