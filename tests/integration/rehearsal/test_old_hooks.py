"""Hooks in the old syntax across the rewrite: the start that dies, and the live one that goes on without them."""

from __future__ import annotations

from pocketfleet.domain.policies import Verdict
from pocketfleet.rehearsal.report import Section, Severity
from tests.integration.rehearsal.conftest import Rehearse, Shop


async def test_each_loss_is_named(shop: Shop, rehearsed: Rehearse) -> None:
    report = await rehearsed(shop("0.22.27 with hooks"), "0.22.27", "0.40.6")
    assert report.verdict is Verdict.CHANGED
    hooks = [one for one in report.sections[Section.HOOKS].findings if one.severity is Severity.BREAKS]
    said = "\n".join(one.text for one in hooks)
    assert "main.pb.js no longer loads: ReferenceError: onRecordBeforeCreateRequest is not defined" in said
    assert "The route GET /hello/:name answers 404 instead of 200" in said
    assert "The scheduled job nightly is not registered" in said
    # the create hook is dead, which only a create shows
    created = [one for one in report.sections[Section.ANSWERS].findings if "reviews/records (the least)" in one.where]
    assert [one.detail["paths"] for one in created] == [["note"]]
    starts = report.sections[Section.BOOT].facts["new"]
    assert [start["answered"] for start in starts] == [False, True, True]
    assert report.sections[Section.LINT].findings
    assert any("GET /mail" in text for text in report.not_covered)
