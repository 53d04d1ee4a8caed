"""A rehearsal's report: findings by section and what follows from them, as data that is kept as JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from pocketfleet.domain.policies import Verdict
from pocketfleet.domain.redaction import redact, redact_all

#: Of the JSON form. A reader takes this one and older ones.
VERSION = 1


class Severity(StrEnum):
    """How bad a difference is, worst first; the order is the order of weight."""

    #: the new release does not start, or records are lost
    FATAL = "fatal"
    #: somebody sees or may do more than before
    EXPOSES = "exposes"
    #: what worked fails
    BREAKS = "breaks"
    #: fewer or other records
    ROWS = "rows"
    #: a lost field, another type
    SHAPE = "shape"
    #: the same field, another value; a setting or a rule reads differently
    VALUE = "value"
    #: something more than before, seen by those who saw the rest
    ADDED = "added"
    #: the same things in another order
    ORDER = "order"
    #: what every upgrade between these two releases brings
    KNOWN = "known"

    @property
    def needs_a_person(self) -> bool:
        """Whether such a finding keeps a verdict from being safe. Clients must take fields they do not know."""
        return self not in (Severity.ADDED, Severity.KNOWN)


class Section(StrEnum):
    """The parts of a report, in the order in which they are shown and weighed."""

    BOOT = "boot"
    RECORDS = "records"
    FILES = "files"
    RULES = "rules"
    TOKENS = "tokens"
    HOOKS = "hooks"
    ANSWERS = "answers"
    SCHEMA = "schema"
    SETTINGS = "settings"
    ATTEMPTS = "attempts"
    LINT = "lint"


class Source(StrEnum):
    """Where the question came from whose answer differs."""

    #: a client really asked this
    LOG = "log"
    #: the owner wants this asked
    PROBE = "probe"
    #: asked by us, of every instance alike
    SYNTHETIC = "synthetic"
    #: no question: read from the files
    DATA = "data"


#: Ids of records, and numbers.
_VARIES = re.compile(r"\b[a-z0-9]{15}\b|\d+")
_SEVERITIES = list(reversed(Severity))
_SECTIONS = list(reversed(Section))
_SOURCES = [Source.SYNTHETIC, Source.DATA, Source.LOG, Source.PROBE]


@dataclass(frozen=True, slots=True)
class Finding:
    """One difference in plain words; `where` is the collection, field, route or file, `detail` is JSON."""

    severity: Severity
    section: Section
    text: str
    where: str = ""
    source: Source = Source.DATA
    detail: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Redacted whoever makes it, and the same again when it is read from where it is kept."""
        object.__setattr__(self, "text", redact(self.text))
        object.__setattr__(self, "where", redact(self.where))
        object.__setattr__(self, "detail", redact_all(self.detail))

    @property
    def weight(self) -> int:
        """Higher is worse: by severity, then by who asked (the owner, clients, we), then by section."""
        return (
            100 * (1 + _SEVERITIES.index(self.severity))
            + 20 * _SOURCES.index(self.source)
            + _SECTIONS.index(self.section)
        )

    @property
    def keys(self) -> frozenset[str]:
        """What makes it the same difference in another rehearsal of the same change, whatever was written since.

        Numbers and ids in its words do not count; what a rule or a setting reads does, and of a list each member.
        """
        detail = self.detail
        about = [*(detail.get("paths") or ()), *(detail.get("unobserved") or ()), *(detail.get("lost") or ())]
        if kind := detail.get("kind") if "paths" in detail else None:
            said = f"{kind} {detail.get('after')}" if kind == "status" else str(kind)
        elif self.section in (Section.RULES, Section.SETTINGS, Section.SCHEMA) and "after" in detail:
            said = json.dumps(detail["after"], sort_keys=True, default=str)
        elif "unobserved" in detail:
            said = "unobserved"
        else:
            said = _VARIES.sub("#", self.text)
        if self.severity is Severity.EXPOSES:
            said += f" {detail.get('who')}"
        own = f"{self.section} {self.severity} {self.where}: {said}"
        return frozenset(f"{own}: {item}" for item in about or [""])

    def as_json(self) -> dict[str, Any]:
        """The form that is kept; `weight` is written for readers that only sort."""
        return {
            "severity": str(self.severity),
            "section": str(self.section),
            "source": str(self.source),
            "weight": self.weight,
            "text": self.text,
            "where": self.where,
            "detail": dict(self.detail),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Finding:
        """The opposite of `as_json`. Raises KeyError and ValueError for what is no finding."""
        return cls(
            severity=Severity(data["severity"]),
            section=Section(data["section"]),
            text=data["text"],
            where=data["where"],
            source=Source(data["source"]),
            detail=data["detail"],
        )


def unseen(found: Iterable[Finding], seen: Iterable[Finding]) -> list[Finding]:
    """Those of `found` that hold anything which none of `seen` told, in their order."""
    told = frozenset(key for finding in seen for key in finding.keys)
    return [finding for finding in found if not finding.keys <= told]


def by_weight(findings: Iterable[Finding]) -> list[Finding]:
    """Worst first; equal ones as they came."""
    return sorted(findings, key=lambda finding: -finding.weight)


@dataclass(frozen=True, slots=True)
class SectionReport:
    """What one section has: facts to show whatever the verdict (JSON), and findings."""

    facts: Mapping[str, Any] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True)
class Report:
    """All that one rehearsal found. Page, terminal and JSON are views of it."""

    from_release: str
    to_release: str
    verdict: Verdict
    #: why it is not safer than that, worst first
    reasons: tuple[Finding, ...]
    sections: Mapping[Section, SectionReport]
    #: what nobody looked at, in plain words
    not_covered: tuple[str, ...] = ()
    #: what changed between the two releases for everybody: {"since", "touches", "text"}
    known_changes: tuple[Mapping[str, str], ...] = ()
    took_ms: int = 0
    #: no network was within reach
    sandboxed: bool = False
    #: `upgrade`: another release on the same data; `restore`: other data in its place
    kind: str = "upgrade"

    @property
    def findings(self) -> list[Finding]:
        """Those of all sections, worst first."""
        return by_weight(finding for section in self.sections.values() for finding in section.findings)

    def as_json(self) -> dict[str, Any]:
        """The form that is kept and handed out."""
        sections: dict[str, Any] = {str(name): _section_json(section) for name, section in self.sections.items()}
        sections["not_covered"] = redact_all(self.not_covered)
        sections["known_changes"] = [dict(change) for change in self.known_changes]
        return {
            "version": VERSION,
            "kind": self.kind,
            "from": self.from_release,
            "to": self.to_release,
            "verdict": str(self.verdict),
            "reasons": [reason.as_json() for reason in self.reasons],
            "sections": sections,
            "took_ms": self.took_ms,
            "sandboxed": self.sandboxed,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Report:
        """The opposite of `as_json`. Raises ValueError for a report of a later version, KeyError for no report."""
        if data["version"] > VERSION:
            raise ValueError(f"a rehearsal report of version {data['version']}; this pocketfleet reads up to {VERSION}")
        kept = data["sections"]
        return cls(
            from_release=data["from"],
            to_release=data["to"],
            verdict=Verdict(data["verdict"]),
            reasons=tuple(Finding.from_json(reason) for reason in data["reasons"]),
            sections={Section(name): _section_from_json(kept[name]) for name in Section if name in kept},
            not_covered=tuple(kept["not_covered"]),
            known_changes=tuple(kept["known_changes"]),
            took_ms=data["took_ms"],
            sandboxed=data["sandboxed"],
            # reports of before there were rehearsed restores do not say
            kind=data.get("kind", "upgrade"),
        )


def _section_json(section: SectionReport) -> dict[str, Any]:
    return {"facts": redact_all(section.facts), "findings": [finding.as_json() for finding in section.findings]}


def _section_from_json(data: Mapping[str, Any]) -> SectionReport:
    return SectionReport(data["facts"], tuple(Finding.from_json(finding) for finding in data["findings"]))
