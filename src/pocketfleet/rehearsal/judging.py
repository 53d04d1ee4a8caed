"""Puts together what a rehearsal saw: every comparison, section by section, and the verdict."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pocketfleet.domain.behaviour_changes import known_changes
from pocketfleet.domain.redaction import redact
from pocketfleet.domain.releases import Version
from pocketfleet.errors import SnapshotUnusable
from pocketfleet.rehearsal.answers import Difference, Releases, cells, compare_answers, compare_probes, slower
from pocketfleet.rehearsal.attempts import compare_attempts, not_reached
from pocketfleet.rehearsal.boot import Boot
from pocketfleet.rehearsal.digests import compare_master, compare_records, record_counts
from pocketfleet.rehearsal.hooks import (
    Registration,
    compare_crons,
    compare_loading,
    compare_routes,
    missing_crons,
    registrations,
    unobserved,
)
from pocketfleet.rehearsal.identities import SUPERUSER
from pocketfleet.rehearsal.inspected import Inspected, read_data
from pocketfleet.rehearsal.limits import compare_limits
from pocketfleet.rehearsal.lint import lint, lint_findings
from pocketfleet.rehearsal.replaced import (
    Brought,
    cannot_sign_in,
    comparable,
    compare_replaced,
    explained,
    judge_alone,
    lost_at_start,
)
from pocketfleet.rehearsal.report import Finding, Report, Section, SectionReport, Severity, Source, by_weight
from pocketfleet.rehearsal.requests import Ask, Asked
from pocketfleet.rehearsal.rounds import Round, Script
from pocketfleet.rehearsal.rules import Cells, compare_cells, compare_rules
from pocketfleet.rehearsal.schema import compare_indexes, compare_schema
from pocketfleet.rehearsal.settings import TokenTrial, compare_settings, compare_tokens
from pocketfleet.rehearsal.verdict import Boots, Started, judge
from pocketfleet.rehearsal.writes import with_writes


@dataclass(frozen=True, slots=True)
class Seen:
    """All that a rehearsal saw. `again` is None where old or new did not start."""

    snapshot: Path
    old: Round
    new: Round
    again: Round | None
    asked: Asked
    script: Script
    sandboxed: bool
    why_not_sandboxed: str
    disk: dict[str, int]
    #: what takes the data's place, where it is a restore
    brought: Brought | None = None

    @property
    def alone(self) -> str:
        """Why there is nothing to compare with; "" where there is, or where it is no restore."""
        return self.brought.why_alone if self.brought is not None else ""

    @property
    def next_data(self) -> Path:
        """What the new release starts on."""
        return self.brought.folder if self.brought is not None else self.snapshot

    @property
    def releases(self) -> Releases:
        """Old and new."""
        return Releases(Version.parse(self.old.release), Version.parse(self.new.release))


def judge_all(seen: Seen) -> Report:
    """The report, but for the time it took. Blocks: it reads hooks and migrations from the snapshot."""
    registered = registrations(seen.next_data / "pb_hooks")
    sections = {
        Section.BOOT: SectionReport(_boot_facts(seen)),
        Section.HOOKS: _hooks(seen, registered),
        Section.LINT: _lint(seen),
    }
    if (old := _old_data(seen)) is not None and seen.new.inspected is not None:
        sections |= _of_data(seen, old, seen.new.inspected)
    if seen.brought is not None:
        sections = _merged(sections, _of_restore(seen, seen.brought))
    if seen.again is not None:
        sections = _merged(sections, _of_answers(seen, seen.again))
    findings = [finding for section in sections.values() for finding in section.findings]
    judged = judge(
        findings,
        _boots(seen),
        sandboxed=seen.sandboxed,
        why_not_sandboxed=seen.why_not_sandboxed,
        unobserved_hooks=_unobserved(seen, registered),
        what="this data" if seen.brought is None else "what is brought",
        why_alone=seen.alone,
    )
    return Report(
        from_release=seen.old.release,
        to_release=seen.new.release,
        verdict=judged.verdict,
        reasons=judged.reasons,
        sections=sections,
        not_covered=tuple(_not_covered(seen)),
        known_changes=tuple(known_changes(seen.releases.old, seen.releases.new)),
        sandboxed=seen.sandboxed,
        kind="upgrade" if seen.brought is None else "restore",
    )


def _old_data(seen: Seen) -> Inspected | None:
    """What was there before. Of a restore it need not have started for that."""
    if seen.old.inspected is not None or seen.brought is None or seen.brought.changes is None:
        return seen.old.inspected
    try:
        return read_data(seen.snapshot, seen.releases.old)
    except SnapshotUnusable:
        return None


def _of_restore(seen: Seen, brought: Brought) -> dict[Section, SectionReport]:
    """Other records and files than now, told as what they are; what is lost at the start; what is wrong by itself."""
    found: list[Finding] = []
    if seen.new.inspected is not None:
        found += compare_replaced(seen.snapshot, brought, seen.new.inspected)
        found += lost_at_start(brought.folder, seen.new.inspected)
        found += cannot_sign_in(seen.new)
    facts: dict[Section, dict[str, Any]] = {}
    if brought.why_alone and seen.new.answered:
        found += judge_alone(seen.script.reading, seen.new.answers)
        facts[Section.ANSWERS] = {"requests": len(seen.script.reading), "logged": seen.asked.logged}
    if seen.new.inspected is not None and brought.changes is None:
        counts = record_counts(seen.new.inspected, seen.new.inspected)
        facts[Section.RECORDS] = {"counts": {name: {**one, "before": None} for name, one in counts.items()}}
    return {
        section: SectionReport(facts.get(section, {}), tuple(one for one in found if one.section is section))
        for section in Section
        if section in facts or any(one.section is section for one in found)
    }


def _of_data(seen: Seen, old: Inspected, new: Inspected) -> dict[Section, SectionReport]:
    """What the files say."""
    renamed = {"_admins": "_superusers"}
    schema = [
        *compare_schema(old.collections, new.collections),
        *compare_indexes(old.master, new.master, renamed),
        *compare_master(old.master, new.master),
    ]
    if seen.brought is None:
        records = compare_records(old, new, seen.again.inspected if seen.again else None)
    else:
        records = compare_limits(old, new)
    return {
        Section.RECORDS: SectionReport({"counts": record_counts(old, new)}, tuple(records)),
        Section.SCHEMA: SectionReport({}, tuple(schema)),
        Section.RULES: SectionReport({}, tuple(compare_rules(old.collections, new.collections))),
        Section.SETTINGS: SectionReport({}, tuple(compare_settings(old, new))),
    }


def _of_answers(seen: Seen, again: Round) -> dict[Section, SectionReport]:
    """What running it says."""
    asks, old, new = [*seen.script.reading, *seen.script.writing], seen.old, seen.new
    rounds = [[*one.answers, *one.written] for one in (old, new, again)]
    explain = explained(seen.brought, seen.new.inspected) if seen.brought and seen.new.inspected else _unexplained
    found = compare_answers(asks, rounds[0], rounds[1], rounds[2], seen.releases, explain)
    found += compare_probes(asks, rounds[0], rounds[1])
    files = [replace(one, section=Section.FILES) for one in found if one.where.startswith("GET /api/files/")]
    attempts, tried = compare_attempts(old.attempts, new.attempts, again.attempts)
    facts = {
        "requests": len(asks),
        "logged": seen.asked.logged,
        "replayed": sum(ask.source is Source.LOG for ask in asks),
        "slower": slower(asks, rounds[0], rounds[1]),
    }
    return {
        Section.ANSWERS: SectionReport(
            facts, tuple(one for one in found if not one.where.startswith("GET /api/files"))
        ),
        Section.FILES: SectionReport(
            {
                "requests": sum("/api/files/" in ask.path for ask in asks),
                "fetched": len(_fetched(seen)),
                "stored": seen.disk.get("files"),
            },
            tuple(files),
        ),
        Section.RULES: SectionReport({}, tuple(_cell_findings(seen, again))),
        Section.TOKENS: SectionReport({}, tuple(compare_tokens(_trials(seen)))),
        Section.ATTEMPTS: SectionReport({"attempts": attempts}, tuple(tried)),
    }


def _unexplained(ask: Ask, found: Difference) -> str:
    return ""


def _cell_findings(seen: Seen, again: Round) -> list[Finding]:
    """Who sees and may do what; what differs between the two old runs, too, varies by itself."""
    old, new, third = (_cells(seen, one) for one in (seen.old, seen.new, again))
    varying = {(finding.where, finding.text.partition(":")[0]) for finding in compare_cells(old, third)}
    return [one for one in compare_cells(old, new) if (one.where, one.text.partition(":")[0]) not in varying]


def _cells(seen: Seen, played: Round) -> Cells:
    script = seen.script
    found = with_writes(cells(script.reading, played.answers), script.writing, played.written)
    if seen.brought is None or seen.new.inspected is None:
        return found
    return comparable(found, seen.brought, seen.new.inspected)


def _trials(seen: Seen) -> list[TokenTrial]:
    statuses = seen.new.token_statuses
    return [
        TokenTrial("superusers" if one == SUPERUSER else one.name, status, statuses[one])
        for one, status in seen.old.token_statuses.items()
        if one in statuses
    ]


def _hooks(seen: Seen, registered: Sequence[Registration]) -> SectionReport:
    """What the hooks' files, the starts, and the registered jobs say."""
    old, new = seen.old, seen.new
    found = compare_loading(_printed(old), _printed(new), registered, loaded_before=seen.brought is None)
    if old.crons is not None:
        found += compare_crons(old.crons, new.crons)
    elif old.answered:
        found += missing_crons(registered, new.crons)
    if seen.again is not None:
        found += _fresh_errors(old, new, seen.again)
        # of a restore those that there are now; else they are the same
        before = registered if seen.brought is None else registrations(seen.snapshot / "pb_hooks")
        found += compare_routes(before, *(_route_statuses(seen, one) for one in (old, new)))
    facts = {"registered": [str(one) for one in registered], "crons": {"before": old.crons, "after": new.crons}}
    return SectionReport(facts, tuple(by_weight(found)))


def _fresh_errors(old: Round, new: Round, again: Round) -> list[Finding]:
    """What the new release alone logs as an error: jobs and hooks that fail without a request."""
    fresh = sorted(new.errors - old.errors - again.errors)
    if not old.ran:  # where jobs cannot be started it is chance which of them the minute starts
        fresh = [text for text in fresh if "cron" not in text.lower()]
    return [Finding(Severity.BREAKS, Section.HOOKS, f"Something fails now: {redact(text)}") for text in fresh[:20]]


def _printed(played: Round) -> str:
    """All that its starts printed: a start that ended over a hook names the first, one that went on all of them."""
    return "\n".join(start.output for start in [*([played.strict] if played.strict else []), *played.starts])


def _route_statuses(seen: Seen, played: Round) -> dict[tuple[str, str], int]:
    """By method and path as written; of those asked as somebody, the best answer."""
    found: dict[tuple[str, str], int] = {}
    asks = [*seen.script.reading, *seen.script.writing]
    for ask, answer in zip(asks, [*played.answers, *played.written], strict=True):
        if ask.about == "route":
            method, _, path = ask.pattern.partition(" ")
            # the page for unknown paths is no answer of the route
            status = 404 if answer.is_ok and answer.content_type == "text/html" else answer.status
            found[method, path] = min(status, found.get((method, path), status))
    return found


def _unobserved(seen: Seen, registered: Sequence[Registration]) -> list[str]:
    """What no request went through. Without answers from both there is nothing to say of it."""
    # hooks that are brought are gone through where they are
    played = seen.old if seen.brought is None else seen.new
    if seen.again is None and not seen.alone:
        return [str(one) for one in registered]
    # a release that did not start has no answers
    asks = zip(seen.script.reading if played.answered else [], played.answers, strict=True)
    asked = [(ask.method, ask.path) for ask, answer in asks if answer.status]
    writes = list(zip(seen.script.writing if played.answered else [], played.written, strict=True))
    asked += [(ask.method, ask.path) for ask, answer in writes if ask.about == "route" and answer.status]
    verbs = {"POST": "create", "PATCH": "update", "DELETE": "delete"}
    written = [(ask.collection, verbs[ask.method]) for ask, answer in writes if ask.about == "write" and answer.is_ok]
    ran = set(seen.new.ran) if seen.alone else set(seen.old.ran) & set(seen.new.ran)
    return unobserved(registered, asked=asked, written=written, ran=ran)


def _lint(seen: Seen) -> SectionReport:
    judged = seen.old if seen.brought is None else seen.new
    applied = judged.inspected.migrations if judged.inspected else ()
    folders = seen.next_data / "pb_hooks", seen.next_data / "pb_migrations"
    found = lint(*folders, seen.releases.old, seen.releases.new, applied=applied)
    return SectionReport({"places": len(found)}, tuple(lint_findings(found)))


def _boot_facts(seen: Seen) -> dict[str, Any]:
    def told(one: Round | None) -> list[dict[str, Any]]:
        return [start.as_json() for start in [*([one.strict] if one.strict else []), *one.starts]] if one else []

    return {
        "old": told(seen.old),
        "new": told(seen.new),
        "migrations": [name for start in seen.new.starts for name in start.migrations],
        "disk": seen.disk,
    }


def _boots(seen: Seen) -> Boots:
    starts = [_started(start) for start in seen.new.starts]
    old = _started(seen.old.starts[-1]) if seen.old.starts else Started(seen.old.release, False, seen.alone)
    return Boots(old, starts[0], starts[1] if len(starts) > 1 else None)


def _started(start: Boot) -> Started:
    return Started(start.release, start.answered, start.reason, start.where)


def _not_covered(seen: Seen) -> list[str]:
    found = list(seen.asked.not_covered)
    first = seen.new if seen.alone else seen.old
    lost = [ask for ask in first.lost if ask.source is Source.LOG]
    if lost:
        routes = _some({ask.pattern for ask in lost})
        found.append(f"{len(lost)} requests of the log could not be repeated as they were: {routes}.")
    others = [ask for ask in first.lost if ask.source is not Source.LOG]
    if others:
        routes = _some({ask.pattern for ask in others})
        found.append(f"{len(others)} requests took too long, or ended PocketBase: {routes}.")
    if not seen.new.answered:
        return [*found, f"PocketBase {seen.new.release} does not start, so nothing was asked of it."]
    if seen.alone:
        found.append("Answers, sign-ins and what people see were not compared with what is there now.")
    if seen.old.answered and not any(ask.source is Source.LOG for ask in seen.script.reading):
        found.append("The request log holds nothing that could be repeated: only requests of our own were made.")
    if seen.old.answered and not seen.old.tokens.get(SUPERUSER):
        found.append("There is no superuser to ask as.")
    stored = seen.disk.get("files", 0)
    if seen.again is not None and stored > (fetched := len(_fetched(seen))):
        found.append(f"Of {stored:,} files in storage {fetched} were fetched; of the others nothing was looked at.")
    if seen.again is not None:
        found += not_reached(seen.old.attempts, seen.new.attempts)
    found.append("What clients send in bodies is not logged: writes were tried with bodies of our own.")
    return found


def _fetched(seen: Seen) -> set[str]:
    """Paths of files that the old release served."""
    asked = zip(seen.script.reading, seen.old.answers, strict=True)
    files = ((ask.path.partition("?")[0], answer) for ask, answer in asked if ask.path.startswith("/api/files/"))
    return {path for path, answer in files if answer.is_ok}


def _some(names: Iterable[str]) -> str:
    ordered = sorted(names)
    return ", ".join(ordered[:3]) + (f" and {len(ordered) - 3} more" if len(ordered) > 3 else "")


def _merged(one: dict[Section, SectionReport], other: dict[Section, SectionReport]) -> dict[Section, SectionReport]:
    merged = dict(one)
    for name, section in other.items():
        known = merged.get(name, SectionReport())
        merged[name] = SectionReport(
            {**known.facts, **section.facts}, tuple(by_weight([*known.findings, *section.findings]))
        )
    return {name: merged[name] for name in Section if name in merged}
