"""Judges hooks: what they register, what no longer loads or registers, and what nobody's request went through."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from pocketfleet.rehearsal.javascript import Code
from pocketfleet.rehearsal.lint import sources
from pocketfleet.rehearsal.report import Finding, Section, Severity, Source

_FAILED = re.compile(r"^\s*(?:panic: )?failed to execute (?P<file>\S.*?):\s*$", re.IGNORECASE)
_REASON = re.compile(r"^\s*- (?P<text>.+?)\s*$")
#: Where: `at <eval>:3:3(6)`, from 0.25 on `at /folder/pb.js:3:3(6)`; of a syntax error `Line 3:11`.
_LINES = (re.compile(r" at (?:<eval>|\S*?\.[jt]s):(\d+):\d+"), re.compile(r"\bLine (\d+):\d+ "))
_CALLS_BACK = re.compile(r" at (?:<eval>|\S*?\.[jt]s):\d+:\d+(?:\(\d+\))?(?: \(native\))?$")
#: Jobs that PocketBase registers itself.
_OWN_JOBS = re.compile(r"^__pb\w*__$")
_VARIABLE = re.compile(r"(\{[^/}]*\}|:[A-Za-z_]\w*|\*)")
#: What an attempted write sets off, by the words in an event's name.
_ACTIONS = ("Create", "Update", "Delete")


class Registers(StrEnum):
    """What a hook may register."""

    ROUTE = "route"
    MIDDLEWARE = "middleware"
    EVENT = "event"
    CRON = "cron"


@dataclass(frozen=True, slots=True)
class Registration:
    """One call that registers something, as far as it is written out; `line` counts from 1.

    `name` is the event, the job's id, or the method of a route; `path` is a route's; `collections` an event's tags.
    """

    kind: Registers
    name: str
    file: str
    line: int
    path: str = ""
    collections: tuple[str, ...] = ()

    def __str__(self) -> str:
        about = f" of {', '.join(self.collections)}" if self.collections else ""
        what = f"{self.name} {self.path}".strip() if self.kind is Registers.ROUTE else self.name
        return f"{self.kind} {what}{about} ({self.file}:{self.line})"


@dataclass(frozen=True, slots=True)
class LoadError:
    """A file that PocketBase could not load; `line` is 0 where it names none."""

    file: str
    line: int
    text: str


def registrations(hooks: Path) -> list[Registration]:
    """What the files in a folder of hooks register. Links are not followed."""
    return [found for name, source in sources(hooks) for found in _registered(f"{hooks.name}/{name}", Code(source))]


def load_errors(output: str) -> list[LoadError]:
    """The files that did not load, out of what PocketBase printed while it started; each once."""
    found: dict[str, LoadError] = {}
    file = ""
    for line in output.splitlines():
        if failed := _FAILED.match(line):
            file = failed["file"]
        elif file and (reason := _REASON.match(line)):
            found.setdefault(file, LoadError(file, _line_of(reason["text"]), _CALLS_BACK.sub("", reason["text"])))
            file = ""
    return list(found.values())


def compare_loading(
    before: str, after: str, registered: Sequence[Registration] = (), *, loaded_before: bool = True
) -> list[Finding]:
    """Files that load with the old release and not with the new one, from what both printed at their starts.

    With `registered` it is said what is lost with each file. `loaded_before`: the same files were there before.
    """
    broken = {error.file for error in load_errors(before)}
    found = []
    for error in load_errors(after):
        lost = [str(one) for one in registered if Path(one.file).name == Path(error.file).name]
        where = f"{error.file}:{error.line}" if error.line else error.file
        if error.file in broken:
            text = f"The hook {error.file} does not load, as before: {error.text}."
            found.append(Finding(Severity.KNOWN, Section.HOOKS, text, where))
            continue
        what = f" With it goes what it registers: {_some(lost)}." if lost else ""
        text = f"The hook {error.file} {'no longer loads' if loaded_before else 'does not load'}: {error.text}.{what}"
        found.append(Finding(Severity.BREAKS, Section.HOOKS, text, where, detail={"lost": lost}))
    return found


def compare_crons(before: Collection[str] | None, after: Collection[str] | None) -> list[Finding]:
    """Jobs that hooks no longer register, from `/api/crons`; None where a release does not tell (before 0.24.4)."""
    if before is None or after is None:
        return []
    lost = sorted(job for job in set(before) - set(after) if not _OWN_JOBS.match(job))
    return [_finding(Severity.BREAKS, f"The scheduled job {job} is no longer registered.", job) for job in lost]


def missing_crons(registered: Iterable[Registration], after: Collection[str] | None) -> list[Finding]:
    """Jobs that hooks write out and the new release does not know, where the old one could not be asked."""
    if after is None:
        return []
    return [
        _finding(Severity.BREAKS, f"The scheduled job {one.name} is not registered.", f"{one.file}:{one.line}")
        for one in registered
        if one.kind is Registers.CRON and one.name and one.name not in after
    ]


def compare_routes(
    registered: Iterable[Registration],
    before: Mapping[tuple[str, str], int],
    after: Mapping[tuple[str, str], int],
) -> list[Finding]:
    """Routes that answered and now answer 404, or fail; statuses by (method, path) as the routes are written."""
    found = []
    for one in registered:
        old, new = before.get((one.name, one.path)), after.get((one.name, one.path))
        if one.kind is not Registers.ROUTE or old is None or new is None:
            continue
        if (new == 404 and old != 404) or new >= 500 > old:
            text = f"The route {one.name} {one.path} answers {new} instead of {old}."
            detail = {"before": old, "after": new}
            where = f"{one.file}:{one.line}"
            found.append(Finding(Severity.BREAKS, Section.HOOKS, text, where, Source.SYNTHETIC, detail))
    return found


def unobserved(
    registered: Iterable[Registration],
    *,
    asked: Iterable[tuple[str, str]] = (),
    written: Iterable[tuple[str, str]] = (),
    ran: Collection[str] = (),
) -> list[str]:
    """What no request went through, one text each, for `verdict.judge`.

    `asked`: (method, path) of requests whose answers were compared. `written`: (collection, `create`, `update` or
    `delete`) of writes that the old release carried out. `ran`: ids of jobs that were run.
    """
    asked, written = list(asked), set(written)
    return [str(one) for one in registered if not _was_observed(one, asked, written, ran)]


def _was_observed(
    one: Registration, asked: Sequence[tuple[str, str]], written: Collection[tuple[str, str]], ran: Collection[str]
) -> bool:
    if one.kind is Registers.ROUTE:
        pattern = route_pattern(one.path)
        return any(method == one.name and pattern.match(path) for method, path in asked)
    if one.kind is Registers.MIDDLEWARE:
        return bool(asked)
    if one.kind is Registers.CRON:
        return one.name in ran
    return _event_was_observed(one, asked, written)


def _event_was_observed(
    one: Registration, asked: Sequence[tuple[str, str]], written: Collection[tuple[str, str]]
) -> bool:
    actions = [action.lower() for action in _ACTIONS if action in one.name]
    if one.name in ("onBootstrap", "onBeforeBootstrap", "onAfterBootstrap", "onTerminate"):
        return True  # every start and stop goes through them
    if one.name in ("onRecordsListRequest", "onRecordViewRequest", "onRecordEnrich"):
        return _was_read(one, asked)
    if not actions or not one.name.startswith(("onRecord", "onModel")) or "Error" in one.name:
        return False
    if one.collections:
        return all(any(write == (name, action) for write in written for action in actions) for name in one.collections)
    return any(action in actions for _, action in written)


def _was_read(one: Registration, asked: Sequence[tuple[str, str]]) -> bool:
    view = "/[^/?]+" if one.name == "onRecordViewRequest" else ""
    for name in one.collections or (r"[^/]+",):
        pattern = re.compile(rf"/api/collections/{name if name.startswith('[') else re.escape(name)}/records{view}")
        if not any(method == "GET" and pattern.match(path) for method, path in asked):
            return False
    return True


def route_pattern(path: str) -> re.Pattern[str]:
    """A registered path, old or new form, as what matches the addresses it answers."""
    pattern = "".join(
        re.escape(part) if number % 2 == 0 else ".*" if part == "*" or part.endswith("...}") else "[^/?]+"
        for number, part in enumerate(_VARIABLE.split(path))
    )
    return re.compile(rf"{pattern.rstrip('/') or '/'}/?(?:\?.*)?$")


def _registered(file: str, code: Code) -> Iterator[Registration]:
    for at, arguments in code.calls():
        name, line = code.name(at), code.tokens[at].line
        texts = [code.text(start) if end - start == 1 else None for start, end in arguments]
        if name == "routerAdd" and len(texts) > 1:
            method, path = (texts[0] or "").upper(), texts[1] or ""
            yield Registration(Registers.ROUTE, method, file, line, path if path.startswith("/") else f"/{path}")
        elif name in ("routerUse", "routerPre") and arguments:
            yield Registration(Registers.MIDDLEWARE, name, file, line)
        elif name == "cronAdd" and len(arguments) > 1:
            yield Registration(Registers.CRON, texts[0] or "", file, line)
        elif re.match(r"on[A-Z]\w*$", name) and arguments and _is_handler(code, arguments[0]):
            tags = tuple(text for text in texts[1:] if text)
            yield Registration(Registers.EVENT, name, file, line, collections=tags)


def _is_handler(code: Code, argument: tuple[int, int]) -> bool:
    start, end = argument
    return code.function(start, end) is not None or (end - start == 1 and bool(code.name(start)))


def _line_of(text: str) -> int:
    return next((int(found[1]) for pattern in _LINES if (found := pattern.search(text))), 0)


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _finding(severity: Severity, text: str, where: str) -> Finding:
    return Finding(severity, Section.HOOKS, text, where)
