"""A rehearsal's report as a page shows it: sections in plain words with rows that a template only has to lay out.

Everything in a report was written by others (tenants, their clients, PocketBase): see plainly.py. A report of another
pocketfleet may lack parts or have more; what is not there is not shown, and nothing fails.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from pocketfleet.web.plainly import Value, plain, value

Row = dict[str, Any]

#: Findings of one section that a page shows; the report as JSON has all.
MOST = 200
#: Reasons that stand on top before the rest is folded.
FIRST = 8

VERDICTS = {
    "safe": ("Safe", "It starts on a copy of your data, with the same records and the same answers."),
    "changed": ("Changed", "It works on a copy of your data, and something is different. Look at it before you go on."),
    "broken": ("Broken", "It does not work with this data as it is. Nothing of yours was touched."),
}
#: the same of a restore
RESTORES = {
    "safe": ("Safe", "What you bring starts, with the same records and the same answers as now."),
    "changed": ("Changed", "What you bring works, and differs from what is there now. Look at it before it goes live."),
    "broken": ("Broken", "What you bring does not work as it is. Nothing of yours was touched."),
}
#: severity -> its words and the look of its tag
SEVERITIES = {
    "fatal": ("does not work", "bad"),
    "exposes": ("lets more people in", "bad"),
    "breaks": ("breaks", "bad"),
    "rows": ("other records", "warn"),
    "shape": ("other form", "warn"),
    "value": ("other value", "warn"),
    "added": ("added", ""),
    "order": ("other order", ""),
    "known": ("known", ""),
}
ASKED = {"log": "your clients ask this", "probe": "your probe", "synthetic": "asked by us"}


class Part(NamedTuple):
    """A section of the page: of which sections of the report it is made, and what it says where all is well."""

    id: str
    title: str
    sections: tuple[str, ...]
    fine: str


PARTS = (
    Part("start", "Starting", ("boot",), "It starts, and starts again."),
    Part("data", "Records and files", ("records", "files"), "The same records, and the same files."),
    Part("rules", "Access rules", ("rules",), "Everybody sees and may do what they did before."),
    Part("schema", "Collections and fields", ("schema",), "The same collections, fields and indexes."),
    Part("settings", "Settings", ("settings",), "The same settings."),
    Part("tokens", "Signing in", ("tokens",), "Passwords are kept, and who is signed in stays so."),
    Part("hooks", "Hooks and migrations", ("hooks", "lint"), "What your hooks register is still registered."),
    Part("answers", "Answers", ("answers",), "Every request was answered as before."),
    Part("attempts", "Mail and web requests", ("attempts",), "Hooks try to send the same things as before."),
)


def view_of(report: Mapping[str, Any]) -> Row:
    """All that the page shows of a report."""
    sections = _mapping(report.get("sections"))
    verdict = str(report.get("verdict", ""))
    restore = report.get("kind") == "restore"
    word, means = (RESTORES if restore else VERDICTS).get(verdict, (plain(verdict), ""))
    reasons = [finding(one) for one in _list(report.get("reasons"))]
    parts = [_part(part, sections) for part in PARTS]
    before, after = plain(report.get("from") or ""), plain(report.get("to") or "")
    return {
        "kind": "restore" if restore else "upgrade",
        # how the two columns of every table are called
        "before": f"Now ({before})" if restore else before,
        "after": f"Brought ({after})" if restore else after,
        "verdict": verdict,
        "word": word,
        "means": means,
        "reasons": reasons[:FIRST],
        "more_reasons": reasons[FIRST:MOST],
        "parts": parts,
        "same": any(part["same"] for part in parts),
        "unreached": [part for part in parts if not part["looked"]],
        "starts": _starts(sections),
        "counts": _counts(sections),
        "places": _places(sections),
        "asked": _mapping(_facts(sections, "answers")),
        "slower": [_slower(_mapping(one)) for one in _list(_facts(sections, "answers").get("slower"))],
        "attempts": [_attempt(one) for one in _list(_facts(sections, "attempts").get("attempts"))],
        "crons": _crons(sections),
        "disk": {name: _number(size) for name, size in _mapping(_facts(sections, "boot").get("disk")).items()},
        "known": [_known(one) for one in _list(sections.get("known_changes"))],
        "not_covered": [value(text, short=400) for text in _list(sections.get("not_covered"))],
        # with nothing to compare with
        "alone": restore and any(_mapping(one).get("where") == "now" for one in _list(report.get("reasons"))),
        "seconds": round(_number(report.get("took_ms")) / 1000, 1),
        "sandboxed": bool(report.get("sandboxed", True)),
    }


def finding(data: Any) -> Row:
    """One difference: words, tag, where, and what was and is, where the report says so."""
    data = data if isinstance(data, Mapping) else {"text": data}
    detail, severity = _mapping(data.get("detail")), str(data.get("severity", ""))
    label, look = SEVERITIES.get(severity, (plain(severity), ""))
    section = str(data.get("section", ""))
    return {
        "severity": severity,
        "label": label,
        "look": look,
        "section": next((part.id for part in PARTS if section in part.sections), ""),
        "text": value(data.get("text"), short=300),
        "where": value(data.get("where") or "", short=100),
        "asked": ASKED.get(str(data.get("source", "")), ""),
        "compared": "before" in detail or "after" in detail,
        "before": _side(detail, "before"),
        "after": _side(detail, "after"),
        "who": [value(one, short=80) for one in _list(detail.get("who"))[:20]],
        "example": value(detail.get("example") or "", short=100),
        "requests": detail.get("requests"),
        "logged": detail.get("logged"),
        "status": _mapping(detail.get("statuses")),
        "differences": [_difference(one) for one in _list(detail.get("differences"))],
        "more_paths": max(0, len(_list(detail.get("paths"))) - len(_list(detail.get("differences")))),
        "items": [value(one, short=100) for one in _named(detail)],
    }


def _part(part: Part, sections: Mapping[str, Any]) -> Row:
    fails = _failing(sections)
    all_ = [finding(one) for name in part.sections if name != "lint" for one in _findings(sections, name)]
    told = [one for one in all_ if one["severity"] != "known"]
    # a release that does not start says nothing of hooks
    reached = any(name in sections for name in part.sections) and (part.id == "start" or "start" not in fails)
    looked = reached or bool(told) or part.id in fails
    return {
        "id": part.id,
        "title": part.title,
        "fine": part.fine,
        "looked": looked,
        "same": looked and not told and part.id not in fails,
        "findings": told[:MOST],
        "more": max(0, len(told) - MOST),
        "known": [one for one in all_ if one["severity"] == "known"][:MOST],
        "count": len(told),
        "worst": next((one["look"] for one in sorted(told, key=lambda one: _ORDER.index(one["look"]))), ""),
    }


def _failing(sections: Mapping[str, Any]) -> set[str]:
    """Parts without findings of their own that are not fine: a start that failed, hooks that are to be rewritten."""
    starts = _list(_facts(sections, "boot").get("new"))
    broken = starts and not _mapping(starts[-1]).get("answered")
    return ({"start"} if broken else set()) | ({"hooks"} if _findings(sections, "lint") else set())


_ORDER = ("bad", "warn", "")


def _starts(sections: Mapping[str, Any]) -> list[Row]:
    facts = _facts(sections, "boot")
    starts = [(which, start) for which in ("old", "new") for start in _list(facts.get(which))]
    return [
        {
            "which": "now" if which == "old" else "new",
            "release": plain(start.get("release", "")),
            "answered": bool(start.get("answered")),
            "took_ms": _number(start.get("took_ms")),
            "migrations": [plain(name) for name in _list(start.get("migrations"))],
            "reason": value(start.get("reason") or "", short=200),
            "output": plain(start.get("output") or ""),
        }
        for which, start in starts
        if isinstance(start, Mapping)
    ]


def _counts(sections: Mapping[str, Any]) -> list[Row]:
    counts = _mapping(_facts(sections, "records").get("counts"))
    rows = [
        {"name": value(name, short=60), "before": one.get("before"), "after": one.get("after")}
        for name, one in counts.items()
        if isinstance(one, Mapping)
    ]
    return [{**row, "differs": row["before"] != row["after"]} for row in rows]


def _places(sections: Mapping[str, Any]) -> list[Row]:
    """File by file what to write otherwise."""
    files = []
    for one in _findings(sections, "lint"):
        where = str(_mapping(one).get("where", ""))
        places = [
            {"line": place.get("line"), "text": value(place.get("text")), "instead": value(place.get("instead"))}
            for place in _list(_mapping(_mapping(one).get("detail")).get("places"))
            if isinstance(place, Mapping)
        ]
        files.append({"file": value(where.rpartition(":")[0] or where, short=100), "places": places[:MOST]})
    return files


def _attempt(one: Any) -> Row:
    one = _mapping(one)
    kinds = {"mail": "Mail", "web": "Web request"}
    told = {name: value(one.get(name) or "", short=100) for name in ("target", "text")}
    told["kind"] = value(kinds.get(str(one.get("kind")), "Other"))
    return {**told, "before": one.get("before"), "after": one.get("after")}


def _slower(one: Mapping[str, Any]) -> Row:
    times = {side: _number(one.get(side)) for side in ("before", "after")}
    return {"route": value(one.get("route") or ""), **times}


def _crons(sections: Mapping[str, Any]) -> Row:
    crons = _mapping(_facts(sections, "hooks").get("crons"))
    own = {side: [plain(job) for job in _list(crons.get(side)) if not str(job).startswith("__pb")] for side in crons}
    registered = [value(text) for text in _list(_facts(sections, "hooks").get("registered"))]
    return {"before": own.get("before", []), "after": own.get("after", []), "registered": registered[:MOST]}


def _known(one: Any) -> Row:
    one = _mapping(one)
    return {name: plain(one.get(name, "")) for name in ("since", "touches", "text")}


def _difference(one: Any) -> Row:
    one = _mapping(one)
    path = str(one.get("path") or "")
    return {"path": value(path, short=100), "before": _side(one, "before"), "after": _side(one, "after")}


def _named(detail: Mapping[str, Any]) -> list[Any]:
    """What a finding counts up: fields, records, what goes with a hook, what no request went through."""
    names = ("fields", "records", "lost", "unobserved", "routes")
    return [one for name in names for one in _list(detail.get(name))][:50]


def _side(detail: Mapping[str, Any], side: str) -> Value:
    """What was or is there. Of a rule null and the empty text say most."""
    if "rule" in detail and not detail.get(side):
        return Value("superusers only" if detail.get(side) is None else "everybody")
    return value("empty" if detail.get(side) == "" else detail.get(side))


def _findings(sections: Mapping[str, Any], name: str) -> list[Any]:
    return _list(_mapping(sections.get(name)).get("findings"))


def _facts(sections: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    return _mapping(_mapping(sections.get(name)).get("facts"))


def _mapping(data: Any) -> Mapping[str, Any]:
    return data if isinstance(data, Mapping) else {}


def _list(data: Any) -> list[Any]:
    return data if isinstance(data, list) else []


def _number(data: Any) -> float:
    return float(data) if isinstance(data, int | float) else 0.0
