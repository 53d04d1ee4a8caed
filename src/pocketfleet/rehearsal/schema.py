"""Compares collections before and after: types, fields and their options, views, indexes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from pocketfleet.rehearsal.report import Finding, Section, Severity

#: A collection or a field as a release stores it, JSON columns parsed.
Stored = Mapping[str, Any]

#: What every collection had in 0.22 without a word in its schema, and has as fields from 0.23 on.
_IMPLICIT = {"id", "created", "updated"}
_IMPLICIT_OF_AUTH = {"username", "email", "emailVisibility", "verified", "tokenKey", "password", "passwordHash"}
_RENAMED = {"noDecimal": "onlyInt", "convertUrls": "convertURLs"}
#: 0.22 alone has these, and ignores them.
_WITHOUT_EFFECT = {"unique", "displayFields"}
#: Made anew at every start (`id` of a view's fields), or said elsewhere.
_NAMES = {"id", "name"}
_WORDS = {
    "hidden": "hidden from answers",
    "protected": "protected by a token",
    "required": "required",
    "cascadeDelete": "deleting along",
}


def has_old_form(collections: Iterable[Stored]) -> bool:
    """Whether these were stored by 0.22 or before (`schema` and `options` for `fields`)."""
    return any("schema" in collection for collection in collections)


def compare_schema(before: Sequence[Stored], after: Sequence[Stored]) -> list[Finding]:
    """What differs between two lists of collections, each as its release stores it; indexes see `compare_indexes`.

    What the step from 0.22 to 0.23 writes differently is brought to one form first; between two releases of one form
    `hidden` and `system` are compared, too.
    """
    crossing = has_old_form(before) != has_old_form(after)
    old = {collection["name"]: normal_collection(collection, before, crossing=crossing) for collection in before}
    new = {collection["name"]: normal_collection(collection, after, crossing=crossing) for collection in after}
    if crossing:
        # PocketBase's own, which 0.22 kept as plain tables
        old, new = ({name: one for name, one in all_.items() if not name.startswith("_")} for all_ in (old, new))
    found = []
    for name in sorted(old.keys() | new.keys()):
        if name not in new:
            found.append(_finding(Severity.BREAKS, f"The collection {name} is gone.", name))
        elif name not in old:
            found.append(_finding(Severity.ADDED, f"There is a new collection {name}.", name))
        else:
            found += _compare_collection(name, old[name], new[name], crossing=crossing)
    return found


def normal_collection(collection: Stored, among: Iterable[Stored], *, crossing: bool) -> dict[str, Any]:
    """{"type", "query", "fields": {name: {option: value}}} in one form for all ages, without what says nothing."""
    names = {other["id"]: other["name"] for other in among if "id" in other}
    options = collection.get("options") or {}
    return {
        "type": collection["type"],
        "query": _query(collection.get("viewQuery") or options.get("viewQuery") or options.get("query") or ""),
        "fields": {
            field["name"]: _normal_field(field, names, crossing=crossing)
            for field in collection.get("fields") or collection.get("schema") or []
        },
    }


def _normal_field(field: Stored, names: Mapping[str, str], *, crossing: bool) -> dict[str, Any]:
    merged = {**field, **(field.get("options") or {})}
    options = {_RENAMED.get(name, name): value for name, value in merged.items()}
    if "collectionId" in options:
        options["collection"] = names.get(options.pop("collectionId"), "a collection that is gone")
    if options.get("maxSelect") == 1:
        del options["maxSelect"]
    left_out = _WITHOUT_EFFECT | _NAMES | {"options"} | ({"system"} if crossing else set())
    # the limits of a number are the only ones for which 0 is not "none"
    telling = {"min", "max"} if field.get("type") == "number" else set()
    return {
        name: value
        for name, value in options.items()
        if name not in left_out and not (value in (None, "") if name in telling else _is_empty(value))
    }


def _is_empty(value: Any) -> bool:
    return value in (None, "", 0, False) or value == [] or value == {}


def _query(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip().rstrip(";")


def _compare_collection(name: str, old: Stored, new: Stored, *, crossing: bool) -> list[Finding]:
    found = []
    if old["type"] != new["type"]:
        text = f"The collection {name} was of type {old['type']} and is of type {new['type']}."
        found.append(_finding(Severity.SHAPE, text, name))
    if old["query"] != new["query"]:
        detail = {"before": old["query"], "after": new["query"]}
        found.append(_finding(Severity.VALUE, f"The view {name} has another query.", name, **detail))
    implicit = (_IMPLICIT | (_IMPLICIT_OF_AUTH if new["type"] == "auth" else set())) if crossing else set()
    names = [*old["fields"], *(field for field in new["fields"] if field not in old["fields"])]
    for field in names:
        if field not in implicit:
            found += _compare_field(f"{name}.{field}", old["fields"].get(field), new["fields"].get(field))
    if new["type"] == "view":
        # its fields follow from its query: each release works their limits out in its own way
        found = [one for one in found if one.detail.get("option") in (None, "hidden", "protected")]
    return found


def _compare_field(where: str, old: Stored | None, new: Stored | None) -> list[Finding]:
    if old is None or new is None:
        if new is None:
            return [_finding(Severity.SHAPE, f"The field {where} is gone.", where)]
        return [_finding(Severity.ADDED, f"There is a new field {where} ({new.get('type')}).", where)]
    if old.get("type") != new.get("type"):
        text = f"The field {where} was {old.get('type')} and is {new.get('type')}."
        return [_finding(Severity.SHAPE, text, where, before=old.get("type"), after=new.get("type"))]
    options = [option for option in sorted(old.keys() | new.keys()) if old.get(option) != new.get(option)]
    return [_compare_option(where, option, old.get(option), new.get(option)) for option in options]


def _compare_option(where: str, option: str, old: Any, new: Any) -> Finding:
    severity = Severity.VALUE
    if option in ("hidden", "protected"):
        severity = (Severity.SHAPE if option == "hidden" else Severity.BREAKS) if new else Severity.EXPOSES
    if option in _WORDS:
        text = f"The field {where} {'is' if new else 'is no longer'} {_WORDS[option]}."
    else:
        text = f"The field {where} has another {option}: {_said(old)} before, {_said(new)} now."
    return _finding(severity, text, where, option=option, before=old, after=new)


def _said(value: Any) -> str:
    if value is None:
        return "none"
    text = str(value)
    return f"{text[:80]}..." if len(text) > 80 else text


def _finding(severity: Severity, text: str, where: str, **detail: Any) -> Finding:
    return Finding(severity, Section.SCHEMA, text, where, detail=detail)


_INDEX = re.compile(
    r"^\s*CREATE\s+(?P<unique>UNIQUE\s+)?INDEX\s+(?:IF\s+NOT\s+EXISTS\s+)?.+?\s+ON\s+(?P<table>[`\"\[]?[^`\"\](\s]+[`\"\]]?)"
    r"\s*\((?P<rest>.*)$",
    re.IGNORECASE | re.DOTALL,
)
_TOKEN = re.compile(r"'(?:[^']|'')*'|[`\"\[][^`\"\]]*[`\"\]]|[^\s'`\"\[\]]+|\s+")

#: table, whether unique, columns, condition
Index = tuple[str, bool, tuple[str, ...], str]


def index_of(sql: str) -> Index | None:
    """What an index does, apart from its name and spelling; None for what is no `CREATE INDEX`."""
    match = _INDEX.match(sql)
    if not match:
        return None
    inside, after = _closing(match["rest"])
    columns = tuple(_plain(column) for column in _split(inside))
    where = re.sub(r"^\s*where\b", "", after.strip().rstrip(";"), flags=re.IGNORECASE)
    return _plain(match["table"]), bool(match["unique"]), columns, _plain(where)


def compare_indexes(
    before: Iterable[Stored], after: Iterable[Stored], renamed: Mapping[str, str] | None = None
) -> list[Finding]:
    """Indexes that are gone or new, from the rows of `sqlite_master`; by what they do, never by name.

    `renamed`: tables that have another name afterwards. Those of PocketBase's own tables (`_...`) are its own affair.
    """
    old = {(((renamed or {}).get(table, table)), *rest) for table, *rest in _indexes(before)}
    new = {tuple(index) for index in _indexes(after)}
    # a column compared without regard to case stands in for the same column compared with it
    gone = [index for index in sorted(old - new, key=str) if _loosely(index) not in map(_loosely, new)]
    more = [index for index in sorted(new - old, key=str) if _loosely(index) not in map(_loosely, old)]
    found = [_index_finding(index, gone=True) for index in gone]
    return found + [_index_finding(index, gone=False) for index in more]


def _indexes(master: Iterable[Stored]) -> Iterator[Index]:
    for row in master:
        index = index_of(row["sql"]) if row["type"] == "index" and row["sql"] else None
        if index is not None and not index[0].startswith("_"):
            yield index


def _loosely(index: Sequence[Any]) -> tuple[Any, ...]:
    table, unique, columns, where = index
    return table, unique, tuple(column.replace(" collate nocase", "") for column in columns), where


def _index_finding(index: Sequence[Any], *, gone: bool) -> Finding:
    table, unique, columns, where = index
    kind = "unique index" if unique else "index"
    which = f"on {', '.join(columns)}" + (f" where {where}" if where else "")
    if not gone:
        return _finding(Severity.ADDED, f"{table} has a new {kind} {which}.", table)
    meaning = "doubles may now be written" if unique else "what relied on it is slower"
    severity = Severity.SHAPE if unique else Severity.VALUE
    return _finding(severity, f"{table} has lost its {kind} {which}: {meaning}.", table)


def _closing(text: str) -> tuple[str, str]:
    """What stands before the bracket that closes, and what after it."""
    depth, at = 1, 0
    for token in _TOKEN.finditer(text):
        if token[0][0] in "'`\"[":
            continue
        for at, letter in enumerate(token[0], token.start()):
            depth += {"(": 1, ")": -1}.get(letter, 0)
            if depth == 0:
                return text[:at], text[at + 1 :]
    return text, ""


def _split(text: str) -> list[str]:
    parts, depth = [""], 0
    for token in _TOKEN.finditer(text):
        for letter in [token[0]] if token[0][0] in "'`\"[" else token[0]:
            depth += {"(": 1, ")": -1}.get(letter, 0)
            if letter == "," and depth == 0:
                parts.append("")
            else:
                parts[-1] += letter
    return parts


def _plain(text: str) -> str:
    """Without quotes around names, without white space that says nothing; lower case outside of text."""
    plain = ""
    for token in _TOKEN.finditer(text.strip()):
        word = token[0]
        if word[0] in '`"[':
            plain += word[1:-1].lower()
        else:
            plain += " " if word.isspace() else word if word[0] == "'" else word.lower()
    return re.sub(r"\s*([<>=!,()]+)\s*", r"\1", plain).removesuffix(" asc")
