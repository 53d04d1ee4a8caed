"""The report as it is kept: there and back, and refused where it is of another time."""

from __future__ import annotations

import json

import pytest

from pocketfleet.domain.policies import Verdict
from pocketfleet.rehearsal.report import VERSION, Finding, Report, Section, SectionReport, Severity, Source, unseen

LEAK = Finding(
    Severity.EXPOSES, Section.RULES, "Everybody can list orders now.", "orders.listRule", detail={"rule": "x"}
)
SLOW = Finding(Severity.BREAKS, Section.ANSWERS, "It times out.", "GET /api/x", Source.LOG)
REPORT = Report(
    from_release="0.22.27",
    to_release="0.40.6",
    verdict=Verdict.CHANGED,
    reasons=(LEAK, SLOW),
    sections={
        Section.RULES: SectionReport({}, (LEAK,)),
        Section.ANSWERS: SectionReport({"requests": 3}, (SLOW,)),
    },
    not_covered=("No superuser.",),
    known_changes=({"since": "0.23.0", "touches": "api", "text": "Other."},),
    took_ms=1234,
    sandboxed=True,
)


def test_there_and_back_through_json() -> None:
    kept = json.loads(json.dumps(REPORT.as_json()))
    assert Report.from_json(kept) == REPORT
    assert (kept["version"], kept["from"], kept["to"], kept["verdict"]) == (VERSION, "0.22.27", "0.40.6", "changed")
    assert kept["sections"]["not_covered"] == ["No superuser."]
    assert kept["reasons"][0]["weight"] > kept["reasons"][1]["weight"]


def test_all_findings_worst_first() -> None:
    assert REPORT.findings == [LEAK, SLOW]


def test_a_report_of_a_later_version_is_refused() -> None:
    with pytest.raises(ValueError, match="reads up to"):
        Report.from_json({**REPORT.as_json(), "version": VERSION + 1})


def test_no_detail_outweighs_a_severity() -> None:
    """The least of one severity weighs more than the most of the next."""
    for worse, better in zip(Severity, list(Severity)[1:], strict=False):
        least = min(Finding(worse, section, "", source=source).weight for section in Section for source in Source)
        most = max(Finding(better, section, "", source=source).weight for section in Section for source in Source)
        assert least > most


def test_no_part_of_a_report_holds_a_token_and_what_was_seen_is_known_again() -> None:
    secret = "eyJhbGciOiJI.eyJpZCI6ImFi.c2lnbmF0dXJl"
    told = Finding(
        Severity.BREAKS,
        Section.ANSWERS,
        f"GET /api/files/x?token={secret} answers 404.",
        f"GET /reset/{secret}",
        Source.LOG,
        {
            "example": f"/x?token={secret}",
            "differences": [{"before": {"token": secret}, "after": '{"token":"opaque"}'}],
        },
    )
    report = Report(
        "0.22.27",
        "0.40.6",
        Verdict.CHANGED,
        (told,),
        {Section.BOOT: SectionReport({"new": [{"output": f"http://x/_/#/pbinstal/{secret}"}]}, (told,))},
        (f"Not asked: /x?token={secret}",),
    )
    kept = json.dumps(report.as_json())
    assert secret not in kept
    assert "opaque" not in kept
    assert "pbinstal" in kept
    again = Report.from_json(json.loads(kept))
    assert unseen(report.findings, again.findings) == []
    assert unseen([told], again.findings) == []
