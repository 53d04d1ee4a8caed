"""What a rehearsal found, and what going back would lose, as plain lines for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pocketfleet.cli import output

_VERDICTS = {
    "safe": "safe: the same records, the same answers",
    "changed": "changed: look at it before you go on",
    "broken": "broken: it does not work with this data",
}
_RESTORES = {
    "safe": "safe: the same records, the same answers as now",
    "changed": "changed: it works, and differs from what is there now",
    "broken": "broken: it does not work",
}
_SEVERITIES = {
    "fatal": "fatal",
    "exposes": "lets more people in",
    "breaks": "breaks",
    "rows": "other records",
    "shape": "other form",
    "value": "other value",
    "added": "added",
    "order": "other order",
    "known": "known",
}
#: Findings of one severity in one section that are shown; the report as JSON has all.
_MOST = 10


def print_report(rehearsal: Mapping[str, Any]) -> None:
    """A rehearsal as the API shows it: verdict, reasons, what to write otherwise, the rest, what was left out."""
    for line in report_lines(rehearsal):
        print(output.plain(line))


def report_lines(rehearsal: Mapping[str, Any]) -> Iterator[str]:
    """The lines of `print_report`."""
    report = rehearsal["report"]
    sections = report.get("sections", {})
    seconds = output.duration(report.get("took_ms", 0) / 1000)
    restore = report.get("kind") == "restore"
    if restore:
        pair = f"{rehearsal['from'] or 'nothing'} now, {rehearsal['to']} afterwards"
        yield f"What is brought, beside what is there now (PocketBase {pair}), rehearsed on copies in {seconds}"
    else:
        yield f"PocketBase {rehearsal['from']} -> {rehearsal['to']} on a copy of the data, rehearsed in {seconds}"
    verdicts = _RESTORES if restore else _VERDICTS
    yield f"Verdict: {verdicts.get(rehearsal['verdict'], rehearsal['verdict'])}"
    if restore:
        yield from _block("Records now and afterwards", _counts(sections.get("records")))
    yield from _block("Reasons, the heaviest first", _reasons(report.get("reasons", [])))
    yield from _block("To write otherwise, in hooks and migrations", _places(sections.get("lint")))
    yield from _block("Also found", _rest(sections, report.get("reasons", [])))
    changes = [f"{change.get('since', '')}  {change.get('text', '')}" for change in sections.get("known_changes", [])]
    yield from _block("What changed for everybody between the two", changes)
    yield from _block("Not looked at", [str(text) for text in sections.get("not_covered", [])])
    if not report.get("sandboxed", True):
        yield ""
        yield "There was no sandbox here, so nothing was tried that could reach other machines."


def print_losses(lost: Mapping[str, Any]) -> None:
    """What going back would lose, by collection."""
    rows = [[name, *_numbers(found)] for name, found in lost.get("records", {}).items()]
    if "files_by_collection" in lost:
        rows += [[f"{name} (files)", *_numbers(found)] for name, found in lost["files_by_collection"].items()]
    elif any(files := _numbers(lost.get("files", {}))):
        rows.append(["(files)", *files])
    if any(own := _numbers(lost.get("own", {}))):
        rows.append(["(hooks, public files)", *own])
    empty = "Nothing was written since."
    output.print_table(("collection", "created", "changed", "deleted"), rows, empty=empty)


def _numbers(found: Mapping[str, Any]) -> list[int]:
    return [int(found.get(kind, 0)) for kind in ("created", "changed", "deleted")]


def _reasons(reasons: list[Any]) -> list[str]:
    return [_finding(reason) if isinstance(reason, dict) else str(reason) for reason in reasons]


def _finding(finding: Mapping[str, Any]) -> str:
    severity = _SEVERITIES.get(finding["severity"], finding["severity"])
    asked = {"log": " (clients ask this)", "probe": " (your probe)"}.get(finding.get("source", ""), "")
    return f"[{severity}] {finding['text']}{asked}"


def _places(section: Mapping[str, Any] | None) -> list[str]:
    lines = []
    for finding in (section or {}).get("findings", []):
        file = str(finding["where"]).rpartition(":")[0] or finding["where"]
        for place in finding["detail"].get("places", []):
            lines.append(f"{file}:{place['line']}  {place['text']} Write {place['instead']}.")
    return lines


def _counts(section: Mapping[str, Any] | None) -> list[str]:
    """Of the tenant's own collections, where that is not the same; and how many are."""
    counts = ((section or {}).get("facts") or {}).get("counts") or {}
    own = {name: one for name, one in counts.items() if not name.startswith("_")}
    other = {name: one for name, one in own.items() if one["before"] != one["after"]}
    lines = [f"{name}: {_said(one['before'])} now, {_said(one['after'])} afterwards" for name, one in other.items()]
    same = len(own) - len(other)
    return [*lines, f"as many in {same} {'other ' if lines else ''}collection{'' if same == 1 else 's'}"] if own else []


def _said(count: int | None) -> str:
    return "none" if count is None else str(count)


def _rest(sections: Mapping[str, Any], reasons: list[Any]) -> list[str]:
    """Findings that are no reason, by section."""
    told = {reason.get("text") for reason in reasons if isinstance(reason, dict)}
    lines = []
    for name, section in sections.items():
        if name == "lint" or not isinstance(section, dict):
            continue
        rest = [finding for finding in section.get("findings", []) if finding["text"] not in told]
        lines += [f"{name}: {_finding(finding)}" for finding in rest[:_MOST]]
        if len(rest) > _MOST:
            lines.append(f"{name}: and {len(rest) - _MOST} more")
    return lines


def _block(title: str, lines: list[str]) -> Iterator[str]:
    if lines:
        yield ""
        yield title
        for line in lines:
            first, *more = line.splitlines() or [""]
            yield f"  - {first}"
            yield from (f"    {text}" for text in more)
