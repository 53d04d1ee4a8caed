"""Compares answers to the same requests: old, new, old again. What varies between the two old ones is masked.

The mask is pooled over all requests of a route pattern, by kind and JSON path, so that a value which varies by itself
is no finding, while the same value getting lost is one.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from pocketfleet.domain.redaction import redact
from pocketfleet.domain.releases import Version, has_superusers_collection
from pocketfleet.rehearsal.identities import SUPERUSER
from pocketfleet.rehearsal.replay import Answer
from pocketfleet.rehearsal.report import Finding, Section, Severity, Source
from pocketfleet.rehearsal.requests import Ask
from pocketfleet.rehearsal.rules import Cell

#: Differences of one answer that are looked at.
_MOST = 500
_DEEPEST = 30
_SHOWN = 100
#: Of one finding, with their values side by side.
_MOST_PATHS = 20
#: The report names that many slower routes, from that factor and that many milliseconds on.
_SLOWER, _SLOWER_MS, _MOST_SLOWER = 3.0, 50.0, 20
_ID = re.compile(r"^[a-z0-9]{15}$")
_SOURCES = [Source.SYNTHETIC, Source.LOG, Source.PROBE]
#: Requests about one collection, whose statuses and totals are compared cell by cell (rules.compare_cells).
_BY_CELL = ("list", "sample", "view", "write")
#: What of `/api/...` is PocketBase's own, so that its texts are too.
_OWN = re.compile(r"^/api/(collections|files|health|admins|rehearsal-asks-for-nothing)\b")


@dataclass(frozen=True, slots=True)
class Difference:
    """`kind`: status, lost, type, value, filled, added, fewer, more, order, body, or the name of a header."""

    kind: str
    path: str
    severity: Severity
    before: Any = None
    after: Any = None

    @property
    def mask(self) -> tuple[str, str]:
        """What masks it. A value that varies may also be empty at times; rows that vary come and go."""
        kind = {"filled": "value", "more": "rows", "fewer": "rows"}.get(self.kind, self.kind)
        return kind, self.path


@dataclass(frozen=True, slots=True)
class Releases:
    """The two releases that are compared."""

    old: Version
    new: Version

    @property
    def crossing(self) -> bool:
        """Whether the rewrite of 0.23 lies between them."""
        return has_superusers_collection(self.new) and not has_superusers_collection(self.old)


@dataclass(slots=True)
class _Group:
    """Differences of one kind and severity in one route pattern, reported together."""

    asks: list[Ask] = field(default_factory=list)
    paths: dict[str, tuple[Any, Any]] = field(default_factory=dict)
    #: of the first pair of answers
    statuses: tuple[str, str] = ("", "")


def compare_answers(
    asks: Sequence[Ask],
    old: Sequence[Answer],
    new: Sequence[Answer],
    again: Sequence[Answer],
    releases: Releases,
    explain: Callable[[Ask, Difference], str] = lambda _ask, _found: "",
) -> list[Finding]:
    """One finding for each route pattern and kind of difference; those that every upgrade brings are known ones, and
    so are those that `explain` has words for."""
    noise = _noise(asks, old, again)
    groups: dict[tuple[str, str, Severity], _Group] = defaultdict(_Group)
    known: dict[str, list[Ask]] = defaultdict(list)
    for ask, first, second, third in zip(asks, old, new, again, strict=True):
        # what the old release answers as well at another time is no news
        other = {(one.kind, one.path) for one in differences(ask, third, second)}
        for found in differences(ask, first, second):
            if found.mask in noise[ask.pattern] or (found.kind, found.path) not in other or _is_for_cells(ask, found):
                continue
            if reason := known_difference(ask, found, releases) or explain(ask, found):
                known[reason].append(ask)
                continue
            group = groups[ask.pattern, found.kind, found.severity]
            group.asks.append(ask)
            group.statuses = group.statuses if any(group.statuses) else (_status(first), _status(second))
            group.paths.setdefault(found.path, (found.before, found.after))
    findings = [_finding(*key, group) for key, group in groups.items()]
    return [*findings, *(_known(reason, about) for reason, about in known.items())]


def compare_probes(asks: Sequence[Ask], old: Sequence[Answer], new: Sequence[Answer]) -> list[Finding]:
    """Whether the owner's expectations are met; those that the old release fails as well are only told."""
    found = []
    for ask, before, after in zip(asks, old, new, strict=True):
        if ask.probe is None:
            continue
        now, then = unmet(ask, after), unmet(ask, before)
        if now:
            severity = Severity.KNOWN if then else Severity.BREAKS
            text = f"Your probe {ask.method} {ask.path} fails: {now}" + (", as before." if then else ".")
            found.append(Finding(severity, Section.ANSWERS, redact(text), ask.pattern, Source.PROBE))
    return found


def unmet(ask: Ask, answer: Answer) -> str:
    """What an answer lacks of what its probe expects, in words; "" where it lacks nothing."""
    probe = ask.probe
    if probe is None:
        return ""
    if probe.expect_status is not None and answer.status != probe.expect_status:
        return f"{_status(answer)} instead of {probe.expect_status}"
    if probe.expect_json is not None and not contains(answer.content(), probe.expect_json):
        return f"the answer does not hold {_shown(probe.expect_json)}"
    return ""


def contains(content: Any, expected: Any) -> bool:
    """Whether JSON holds what is expected: of objects the named keys, of lists an element for each expected one."""
    if isinstance(expected, dict):
        return isinstance(content, dict) and all(
            key in content and contains(content[key], value) for key, value in expected.items()
        )
    if isinstance(expected, list):
        return isinstance(content, list) and all(any(contains(one, value) for one in content) for value in expected)
    return bool(content == expected)


def slower(asks: Sequence[Ask], old: Sequence[Answer], new: Sequence[Answer]) -> list[dict[str, Any]]:
    """Facts for the report: route patterns that take much longer now, in milliseconds, medians. No finding."""
    times: dict[str, tuple[list[float], list[float]]] = defaultdict(lambda: ([], []))
    for ask, before, after in zip(asks, old, new, strict=True):
        times[ask.pattern][0].append(before.took_ms)
        times[ask.pattern][1].append(after.took_ms)
    rows = [(pattern, median(before), median(after)) for pattern, (before, after) in times.items()]
    rows = [row for row in rows if row[2] > _SLOWER * row[1] and row[2] - row[1] > _SLOWER_MS]
    rows.sort(key=lambda row: row[1] - row[2])
    return [{"route": pattern, "before": before, "after": after} for pattern, before, after in rows[:_MOST_SLOWER]]


def cells(asks: Sequence[Ask], answers: Sequence[Answer]) -> dict[tuple[str, str], Cell]:
    """Who sees what, by collection and identity, out of lists, samples and single records."""
    statuses: dict[tuple[str, str], int] = {}
    totals: dict[tuple[str, str], int | None] = {}
    visible: dict[tuple[str, str], set[str]] = defaultdict(set)
    fields: dict[tuple[str, str], set[str]] = defaultdict(set)
    for ask, answer in zip(asks, answers, strict=True):
        if ask.about not in _BY_CELL:
            continue
        key = (ask.collection, ask.identity.name)
        content = answer.content() if answer.is_ok else None
        items = content.get("items") if isinstance(content, dict) else None
        if ask.about == "list":
            statuses[key] = answer.status
            totals[key] = content.get("totalItems") if isinstance(content, dict) else None
            # of a longer list it is chance which records are on the first page
            items = items if items is not None and len(items) == totals[key] else []
        elif ask.about == "sample":
            visible[key] |= {str(item.get("id")) for item in items or []}
        elif content is not None:
            items = [content]
            visible[key].add(f"{content.get('id')} by itself")
        for item in items or []:
            fields[key] |= {name for name, value in item.items() if name != "expand" and not _is_empty(value)}
    return {
        key: Cell(status, totals[key], frozenset(visible[key]), frozenset(fields[key]))
        for key, status in statuses.items()
    }


def differences(ask: Ask, old: Answer, new: Answer) -> list[Difference]:
    """All that differs between two answers to one request."""
    if old.status != new.status or old.trouble != new.trouble:
        return [_of_status(ask, old, new)]
    if old.status >= 400 or old.status == 0:
        return _of_errors(ask, old, new)
    found = [
        Difference(name, name, _of_header(name, new), _header(old, name), _header(new, name))
        for name in ("content-type", "content-disposition", "location")
        if _header(old, name) != _header(new, name)
    ]
    if old.sha256 == new.sha256:
        return found
    before, after = old.content(), new.content()
    if before is not None and after is not None:
        found += _limited(_of_json(ask, before, after, "", 0))
    else:
        found.append(Difference("body", "", Severity.VALUE, f"{old.size} bytes", f"{new.size} bytes"))
    return found


def known_difference(ask: Ask, found: Difference, releases: Releases) -> str:
    """What every upgrade between these two releases brings (FACTS.md), in words; "" for all else."""
    route = ask.path.partition("?")[0]
    if re.fullmatch(r"/api/collections(/[^/]+)?", route) and found.kind != "status":
        return "Descriptions of collections have another form; what they mean is compared under schema and rules."
    if releases.crossing and (reason := _known_crossing(ask, found, route)):
        return reason
    if route.endswith("/auth-methods") and (found.before, found.after) == (None, []):
        return "Lists of ways to sign in are empty lists where they were null."
    if found.kind == "error" and _OWN.match(route):
        return "Texts of errors are worded differently."
    return ""


def _known_crossing(ask: Ask, found: Difference, route: str) -> str:
    if found.kind == "error":
        return "Errors say `status` for `code`, in other words."
    if route.endswith("/auth-methods") or route == "/api/health":
        return "The answers about health and ways to sign in have another form." if found.kind != "status" else ""
    if found.path.rpartition(".")[2] == "expand" and {} in (found.before, found.after):
        return "Records with nothing expanded may have an empty `expand`, or none."
    if route.startswith("/api/files/") and {found.before, found.after} == {403, 404}:
        return "A protected file without a token answers 404 instead of 403."
    if found.kind == "page":
        return "Unknown paths answer the page in pb_public, those below /api/ too."
    if found.kind in ("order", "other") and "sort=" not in ask.path:
        return "Lists that are not sorted may come in another order."
    if found.kind == "status" and (found.before, found.after) == (400, 200) and len(ask.path) > 3000:
        return "Very long filters work."
    return ""


def _noise(asks: Sequence[Ask], old: Sequence[Answer], again: Sequence[Answer]) -> dict[str, set[tuple[str, str]]]:
    noise: dict[str, set[tuple[str, str]]] = defaultdict(set)
    for ask, first, second in zip(asks, old, again, strict=True):
        noise[ask.pattern] |= {found.mask for found in differences(ask, first, second)}
        # either way round: what is lost one time is added the other
        noise[ask.pattern] |= {found.mask for found in differences(ask, second, first)}
    return noise


def _is_for_cells(ask: Ask, found: Difference) -> bool:
    return ask.about in _BY_CELL and found.kind in ("status", "more", "fewer")


def _of_status(ask: Ask, old: Answer, new: Answer) -> Difference:
    before, after = old.trouble or old.status, new.trouble or new.status
    if new.is_ok and old.status == 404 and new.content_type == "text/html" != old.content_type:
        return Difference("page", "", Severity.VALUE, before, after)
    if new.is_ok and old.status in (401, 403, 404):
        severity = Severity.ADDED if ask.identity == SUPERUSER else Severity.EXPOSES
    else:
        # a route of a hook that is gone now is, whatever it answered to what we made up
        is_gone = ask.about == "route" and new.status == 404
        fails = (old.is_ok and not 200 <= new.status < 400) or not 0 < new.status < 500
        severity = Severity.BREAKS if fails or is_gone else Severity.VALUE
    return Difference("status", "", severity, before, after)


def _of_header(name: str, new: Answer) -> Severity:
    """Who expects data and gets the page for unknown paths has lost the route."""
    return Severity.BREAKS if name == "content-type" and new.content_type == "text/html" else Severity.SHAPE


def _of_errors(ask: Ask, old: Answer, new: Answer) -> list[Difference]:
    before, after = old.content(), new.content()
    if before == after or (before is None and after is None):
        return []
    told, tells = (one.get("data") if isinstance(one, dict) else None for one in (before, after))
    keys = [sorted(one) if isinstance(one, dict) else [] for one in (told, tells)]
    if keys[0] != keys[1]:
        return [Difference("value", "data", Severity.VALUE, *keys)]
    return [Difference("error", "", Severity.VALUE, before, after)]


def _of_json(ask: Ask, old: Any, new: Any, path: str, depth: int) -> Iterator[Difference]:
    if depth > _DEEPEST:
        yield Difference("value", path, Severity.VALUE, old, new)
    elif isinstance(old, dict) and isinstance(new, dict):
        yield from _of_objects(ask, old, new, path, depth)
    elif isinstance(old, list) and isinstance(new, list):
        yield from _of_lists(ask, old, new, path, depth)
    elif _kind(old) != _kind(new):
        yield Difference("type", path, Severity.SHAPE, old, new)
    elif old != new:
        yield Difference("value", path, Severity.VALUE, old, new)


def _of_objects(
    ask: Ask, old: Mapping[str, Any], new: Mapping[str, Any], path: str, depth: int
) -> Iterator[Difference]:
    exposing = "collectionId" in old and ask.identity != SUPERUSER
    page = isinstance(old.get("items"), list) and isinstance(new.get("items"), list) and "page" in old
    for key in [*old, *(key for key in new if key not in old)]:
        below = f"{path}.{'{id}' if _ID.match(key) else key}" if path else ("{id}" if _ID.match(key) else key)
        if page and key in ("totalItems", "totalPages"):
            continue
        if key not in new:
            yield Difference("lost", below, Severity.SHAPE, old[key])
        elif (key not in old or _is_empty(old[key])) and exposing and key != "expand" and not _is_empty(new[key]):
            yield Difference("filled", below, Severity.EXPOSES, old.get(key), new[key])
        elif key not in old:
            yield Difference("added", below, Severity.ADDED, None, new[key])
        elif page and key == "items":
            yield from _of_pages(ask, old, new, below, depth)
        else:
            yield from _of_json(ask, old[key], new[key], below, depth + 1)


def _of_pages(ask: Ask, old: Mapping[str, Any], new: Mapping[str, Any], path: str, depth: int) -> Iterator[Difference]:
    """A page of records: totals first, since with the same total another page is no more than another order."""
    before, after = old.get("totalItems"), new.get("totalItems")
    if before != after and isinstance(before, int) and isinstance(after, int):
        more = Severity.ROWS if ask.identity == SUPERUSER else Severity.EXPOSES
        yield Difference(
            "more" if after > before else "fewer", path, more if after > before else Severity.ROWS, before, after
        )
    yield from _of_lists(ask, old["items"], new["items"], path, depth, whole=before == after)


def _of_lists(
    ask: Ask, old: Sequence[Any], new: Sequence[Any], path: str, depth: int, *, whole: bool = True
) -> Iterator[Difference]:
    below = f"{path}[]"
    if not (_have_ids(old) and _have_ids(new)):
        if len(old) == len(new):
            for one, other in zip(old, new, strict=True):
                yield from _of_json(ask, one, other, below, depth + 1)
        else:
            yield Difference("value", path, Severity.VALUE, f"{len(old)} elements", f"{len(new)} elements")
        return
    before, after = {one["id"]: one for one in old}, {one["id"]: one for one in new}
    if before.keys() != after.keys():
        if whole:
            yield Difference("other", path, Severity.ROWS, sorted(before), sorted(after))
    elif list(before) != list(after):
        yield Difference("order", path, Severity.ORDER, list(before)[:5], list(after)[:5])
    for key in before.keys() & after.keys():
        yield from _of_json(ask, before[key], after[key], below, depth + 1)


def _limited(found: Iterable[Difference]) -> list[Difference]:
    """One of each kind and path, the worst first come."""
    kept: dict[tuple[str, str], Difference] = {}
    for one in found:
        kept.setdefault((one.kind, one.path), one)
        if len(kept) >= _MOST:
            break
    return list(kept.values())


def _have_ids(items: Sequence[Any]) -> bool:
    return all(isinstance(item, dict) and isinstance(item.get("id"), str) for item in items)


def _header(answer: Answer, name: str) -> str:
    value = answer.headers.get(name, "")
    if name == "content-type":
        return answer.content_type
    # file names are quoted from 0.40 on
    return value.replace('"', "")


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "bool"
    return "number" if isinstance(value, int | float) else type(value).__name__


def _is_empty(value: Any) -> bool:
    return value is None or value in ("", [], {}) or (value == 0 and not isinstance(value, str))


_SAID = {
    "page": "answers a page, {after}, instead of {before}",
    "status": "answers {after} instead of {before}",
    "lost": "lacks {paths}",
    "type": "has another type in {paths}: {after} instead of {before}",
    "value": "has another value in {paths}: {after} instead of {before}",
    "filled": "shows {paths}, which it did not before",
    "added": "also has {paths}",
    "fewer": "has fewer records: {after} instead of {before}",
    "more": "has more records: {after} instead of {before}",
    "other": "has other records",
    "order": "has its records in another order",
    "body": "has another content: {after}, before {before}",
    "error": "fails with another text",
}


def _finding(pattern: str, kind: str, severity: Severity, group: _Group) -> Finding:
    source = max((ask.source for ask in group.asks), key=_SOURCES.index)
    before, after = next(iter(group.paths.values()))
    names = ", ".join(list(group.paths)[:5]) + (f" and {len(group.paths) - 5} more" if len(group.paths) > 5 else "")
    said = _SAID.get(kind, f"has another {kind}: {{after}} instead of {{before}}")
    said = said.format(paths=names, before=_shown(before), after=_shown(after))
    who = sorted({ask.identity.name for ask in group.asks})
    detail = {
        "kind": kind,
        "who": who,
        "requests": len({(ask.path, ask.identity) for ask in group.asks}),
        "logged": sum({ask.path: ask.stands_for for ask in group.asks if ask.source is Source.LOG}.values()),
        "paths": list(group.paths)[:_MOST_PATHS],
        "statuses": {"before": group.statuses[0], "after": group.statuses[1]},
        "differences": [
            {"path": path, "before": _shown(old), "after": _shown(new)}
            for path, (old, new) in list(group.paths.items())[:_MOST_PATHS]
        ],
        "before": _shown(before),
        "after": _shown(after),
        "example": redact(group.asks[0].path)[:300],
    }
    text = f"{pattern} {said} (as {who[0]}{f' and {len(who) - 1} others' if len(who) > 1 else ''})."
    return Finding(severity, Section.ANSWERS, text, pattern, source, detail)


def _known(reason: str, asks: Sequence[Ask]) -> Finding:
    patterns = sorted({ask.pattern for ask in asks})
    source = max((ask.source for ask in asks), key=_SOURCES.index)
    detail = {"requests": len(asks), "routes": patterns[:20]}
    return Finding(Severity.KNOWN, Section.ANSWERS, reason, "", source, detail)


def _status(answer: Answer) -> str:
    return str(answer.status or answer.trouble)


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    text = redact(" ".join(text.split()))
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
