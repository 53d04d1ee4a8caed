"""Compares access rules: as text, for a person to read; and by who sees and may do what, which decides."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pocketfleet.rehearsal.report import Finding, Section, Severity, Source

#: The rules that every collection has, with what they allow.
RULES = {
    "listRule": "list",
    "viewRule": "view",
    "createRule": "create",
    "updateRule": "update",
    "deleteRule": "delete",
    "manageRule": "manage accounts",
    "authRule": "sign in",
}
_TOKEN = re.compile(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"|\s+|&&|\|\||[?!<>=~]+|[^\s'\"&|?!<>=~]+|[&|]")


def compare_rules(before: Iterable[Mapping[str, Any]], after: Iterable[Mapping[str, Any]]) -> list[Finding]:
    """Rules whose text differs once spelling is out of the way, for collections that are in both.

    Both lists as their releases store them. A rule that was for superusers alone and is no longer, or that now lets
    everybody in, exposes; for all others only `compare_cells` can say whether more people get in.
    """
    old = {collection["name"]: collection for collection in before}
    found = []
    for collection in sorted(after, key=lambda one: str(one["name"])):
        name = collection["name"]
        # from 0.23 on PocketBase's own tables are collections with rules of its own
        if name in old:
            found += _compare(name, rules_of(old[name]), rules_of(collection))
    return found


def rules_of(collection: Mapping[str, Any]) -> dict[str, str | None]:
    """The rules in one form for all ages; None is for superusers alone, "" is for everybody."""
    options = collection.get("options") or {}
    rules = {name: collection.get(name, options.get(name)) for name in RULES if name != "authRule"}
    if collection.get("type") != "auth":
        del rules["manageRule"]
    elif "onlyVerified" in options:
        rules["authRule"] = "verified = true" if options["onlyVerified"] else ""
    else:
        rules["authRule"] = collection.get("authRule", options.get("authRule"))
    return {name: None if rule is None else normal_rule(rule) for name, rule in rules.items()}


def normal_rule(text: str) -> str:
    """The rule without white space that says nothing, comments, and the old name of the request's body."""
    words = []
    for token in _TOKEN.finditer(_without_comments(text)):
        word = token[0]
        if word[0] in "'\"":
            words.append(word if word[0] == "'" or "'" in word else f"'{word[1:-1]}'")
        elif not word.isspace():
            words.append(word.replace("@request.data.", "@request.body."))
    joined = " ".join(words)
    return re.sub(r"(?<=\() | (?=\))", "", joined)


def _without_comments(text: str) -> str:
    return "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("//"))


def _compare(name: str, old: Mapping[str, str | None], new: Mapping[str, str | None]) -> list[Finding]:
    return [
        _rule_finding(name, rule, old.get(rule), new.get(rule))
        for rule in RULES
        if (rule in old or rule in new) and old.get(rule) != new.get(rule)
    ]


def _rule_finding(name: str, rule: str, old: str | None, new: str | None) -> Finding:
    doing = RULES[rule]
    if old is None:
        severity, text = Severity.EXPOSES, f"Only superusers could {doing} {name}; now others can, too."
    elif new is None:
        severity, text = Severity.BREAKS, f"Only superusers can {doing} {name} now."
    elif new == "":
        severity, text = Severity.EXPOSES, f"Everybody can {doing} {name} now."
    else:
        severity, text = Severity.VALUE, f"The rule of {name} that says who can {doing} reads differently: look at it."
    detail = {"rule": rule, "before": old, "after": new}
    return Finding(severity, Section.RULES, text, f"{name}.{rule}", detail=detail)


@dataclass(frozen=True, slots=True)
class Cell:
    """What one identity gets of one collection."""

    #: of the list request
    status: int
    #: how many records the list says there are; None where it did not answer with a list
    total: int | None = None
    #: which of at most 20 chosen records it can see, one by one
    visible: frozenset[str] = frozenset()
    #: all fields that were not empty in any answer
    fields: frozenset[str] = frozenset()
    #: status by attempted write: `create`, `update`, `delete`, and finer ones that the caller names
    writes: Mapping[str, int] = field(default_factory=dict)


#: by collection and identity, the latter a name that people understand: `anonymous`, `people with role staff`
Cells = Mapping[tuple[str, str], Cell]


def compare_cells(before: Cells, after: Cells) -> list[Finding]:
    """Whether anybody sees or may do more than before, or less; only for cells that are in both."""
    found = []
    for key in sorted(before.keys() & after.keys()):
        found += _compare_cell(*key, before[key], after[key])
    return found


def _compare_cell(collection: str, who: str, old: Cell, new: Cell) -> list[Finding]:
    found = []

    def say(severity: Severity, text: str, **detail: Any) -> None:
        where = f"{collection} as {who}"
        found.append(Finding(severity, Section.RULES, text, where, Source.SYNTHETIC, detail))

    if _worked(old.status) and not _worked(new.status):
        say(Severity.BREAKS, f"{who} can no longer list {collection}: {new.status} instead of {old.status}.")
    elif _worked(new.status) and not _worked(old.status):
        say(Severity.EXPOSES, f"{who} can list {collection} now: {new.status} instead of {old.status}.")
    elif _worked(new.status):
        _compare_rows(collection, who, old, new, say)
    for write in sorted(old.writes.keys() & new.writes.keys()):
        _compare_write(f"{write} in {collection}", who, old.writes[write], new.writes[write], say)
    return found


def _compare_rows(collection: str, who: str, old: Cell, new: Cell, say: Any) -> None:
    more, fewer = sorted(new.visible - old.visible), sorted(old.visible - new.visible)
    totals = {"before": old.total, "after": new.total}
    if (new.total or 0) > (old.total or 0) or more:
        text = f"{who} sees more of {collection} than before: {_count(old, new)}."
        say(Severity.EXPOSES, text, records=more, **totals)
    if (new.total or 0) < (old.total or 0) or fewer:
        text = f"{who} sees less of {collection} than before: {_count(old, new)}."
        say(Severity.ROWS, text, records=fewer, **totals)
    if new.fields - old.fields:
        names = sorted(new.fields - old.fields)
        text = f"{who} sees fields of {collection} that were empty or not there before: {', '.join(names)}."
        say(Severity.EXPOSES, text, fields=names)
    if old.fields - new.fields:
        names = sorted(old.fields - new.fields)
        say(Severity.SHAPE, f"{who} no longer gets these fields of {collection}: {', '.join(names)}.", fields=names)


def _count(old: Cell, new: Cell) -> str:
    if old.total is None and new.total is None:
        return "of records that are there before and after"
    if old.total != new.total:
        return f"{old.total} records before, {new.total} now"
    return f"other ones of the same {new.total}"


def _compare_write(what: str, who: str, old: int, new: int, say: Any) -> None:
    statuses = {"before": old, "after": new}
    if _worked(new) and not _worked(old):
        say(Severity.EXPOSES, f"{who} can {what} now: {new} instead of {old}.", **statuses)
    elif _worked(old) and not _worked(new):
        say(Severity.BREAKS, f"{who} can no longer {what}: {new} instead of {old}.", **statuses)
    elif new >= 500 > old:
        say(Severity.BREAKS, f"To {what} as {who} fails inside PocketBase now: {new} instead of {old}.", **statuses)


def _worked(status: int) -> bool:
    return 200 <= status < 400
