"""Names what hooks and migrations must say otherwise for a release: file, line, and what to write instead."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from pocketfleet.domain import hook_changes as changes
from pocketfleet.domain.releases import Version
from pocketfleet.rehearsal.javascript import Code, Function, Kind
from pocketfleet.rehearsal.report import Finding, Section, Severity
from pocketfleet.runtime.beneath import walk_below

_ENDINGS = (".js", ".cjs", ".mjs", ".ts")
#: Larger files are not hooks that a person wrote.
_LARGEST = 1024**2
_MOST_FILES = 2000
_ROUTERS = {"routerAdd", "routerUse", "routerPre"}
_ROUTE_PARAMETER = re.compile(r":([A-Za-z_]\w*)")


@dataclass(frozen=True, slots=True)
class LintFinding:
    """A place in a tenant's code; `file` is relative to the instance's folder, `line` counts from 1."""

    file: str
    line: int
    text: str
    instead: str


def lint(
    hooks: Path, migrations: Path, old: Version, new: Version, *, applied: Collection[str] = ()
) -> list[LintFinding]:
    """What the step from `old` to `new` takes away from these two folders' code, by file and line.

    Migrations that were `applied` do not run again and are left out. Links are not followed. Nothing but the step to
    0.23 takes anything away.
    """
    if not changes.crosses_rewrite(old, new):
        return []
    found = []
    for name, source in sources(hooks):
        found += [LintFinding(f"{hooks.name}/{name}", *rest) for rest in check_code(source)]
    for name, source in sources(migrations):
        if name not in applied:
            found += [LintFinding(f"{migrations.name}/{name}", *rest) for rest in check_code(source)]
    return found


def lint_findings(found: Collection[LintFinding]) -> list[Finding]:
    """One finding for each file, with its places as detail."""
    findings = []
    for file, places in groupby(found, key=lambda place: place.file):
        all_ = list(places)
        first = all_[0]
        many = f", and {len(all_) - 1} more places" if len(all_) > 1 else ""
        text = f"{file}, line {first.line}: {first.text} Write {first.instead}{many}."
        detail = {"places": [{"line": one.line, "text": one.text, "instead": one.instead} for one in all_]}
        findings.append(Finding(Severity.BREAKS, Section.LINT, text, f"{file}:{first.line}", detail=detail))
    return findings


def check_code(source: str) -> list[tuple[int, str, str]]:
    """(line, what is the matter, what to write instead) in one file, in order, each once."""
    return sorted(set(_Linter(Code(source)).check()))


def sources(folder: Path) -> Iterator[tuple[str, str]]:
    """Relative names and texts of the code in a folder of ours that a tenant filled."""
    count = 0
    for entry in walk_below(folder.parent, folder.name, lambda inner: inner.name != "node_modules"):
        name = entry.path.name
        fits = name.endswith(_ENDINGS) and not name.endswith(".d.ts") and entry.is_single
        if fits and entry.known.st_size <= _LARGEST and count < _MOST_FILES:
            with contextlib.suppress(OSError), entry.open() as opened:
                text = opened.read(_LARGEST).decode("utf-8", "replace")
                count += 1
                yield str(entry.path), text


_Place = tuple[int, str, str]


class _Linter:
    def __init__(self, code: Code) -> None:
        self._code = code
        self._handlers = list(self._find_handlers())
        self._daos = self._find_daos()
        names = {token.text for token in code.tokens if token.kind is Kind.NAME}
        self._has_forms = bool(names & changes.FORMS)
        self._own = {code.name(at + 1) for at in range(len(code.tokens)) if code.name(at) in ("class", "function")}

    def check(self) -> Iterator[_Place]:
        """All places, in no order."""
        for at, token in enumerate(self._code.tokens):
            if token.kind is Kind.NAME:
                yield from self._check_name(at)
            elif token.kind is Kind.TEXT:
                yield from self._check_text(at)
        yield from self._check_routes()
        yield from self._check_middlewares()
        yield from self._check_next()
        yield from self._check_contexts()
        yield from self._check_migrations()
        yield from self._check_collections()

    def _place(self, at: int, what: str, instead: str) -> _Place:
        return self._code.tokens[at].line, f"{what} is gone.", instead

    def _check_name(self, at: int) -> Iterator[_Place]:
        name = self._code.name(at)
        if self._code.is_key(at):
            return
        if self._code.is_member(at):
            yield from self._check_member(at, name)
        elif name in changes.EVENTS and self._code.is_mark(at + 1, "("):
            yield self._place(at, name, changes.EVENTS[name])
        elif name in changes.GLOBALS and self._is_used(at):
            yield self._place(at, self._made(at, name), changes.GLOBALS[name])

    def _is_used(self, at: int) -> bool:
        """Whether PocketBase's own is called or made, and not one that the file itself has under that name."""
        name = self._code.name(at)
        made = self._code.name(at - 1) == "new" or name in ("Dao", "routerPre")
        return made and name not in self._own and self._code.is_mark(at + 1, "(")

    def _made(self, at: int, name: str) -> str:
        return f"new {name}" if self._code.name(at - 1) == "new" else name

    def _check_member(self, at: int, name: str) -> Iterator[_Place]:
        owner, is_call = self._code.name(at - 2), self._code.is_mark(at + 1, "(")
        if (owner, name) in changes.HELPER_MEMBERS:
            yield self._place(at, f"{owner}.{name}", changes.HELPER_MEMBERS[owner, name])
        elif (owner, name) in changes.SHORTER_CALLS and self._has_old_arguments(at + 1):
            instead = changes.SHORTER_CALLS[owner, name]
            yield self._code.tokens[at].line, f"{owner}.{name} takes other arguments.", instead
        elif owner in ("$app", "app") and name in changes.APP_MEMBERS and is_call:
            yield self._app_member(at, owner, name)
        elif owner in self._daos and is_call and not self._code.is_member(at - 2):
            yield self._place(at, f"{owner}.{name}", _of_dao(name))
        elif is_call and name in changes.RECORD_METHODS:
            yield self._place(at, f"record.{name}", changes.RECORD_METHODS[name])
        elif is_call and name in changes.MODEL_METHODS and self._is_model(at - 2):
            yield self._place(at, f"{owner or 'collection'}.{name}", changes.MODEL_METHODS[name])
        elif is_call and name in changes.FORM_METHODS and self._has_forms:
            yield self._place(at, f"form.{name}", changes.FORM_METHODS[name])
        elif is_call and owner == "schema" and name in changes.SCHEMA_METHODS:
            yield self._place(at, f"collection.schema.{name}", changes.SCHEMA_METHODS[name])
        elif name in changes.SETTINGS_MEMBERS and owner in ("meta", "logs"):
            yield self._place(at, f"{owner}.{name}", f"{owner}.{changes.SETTINGS_MEMBERS[name]}")
        elif owner == "record" and name in ("created", "updated") and not is_call:
            yield self._place(at, f"record.{name}", f'record.get("{name}")')

    def _app_member(self, at: int, owner: str, name: str) -> _Place:
        close = self._code.closes.get(at + 1, at)
        method = self._code.name(close + 2)
        if name in ("dao", "logsDao") and self._code.is_mark(close + 1, ".", "?.") and method:
            return self._place(at, f"{owner}.{name}().{method}", _of_dao(method))
        return self._place(at, f"{owner}.{name}()", changes.APP_MEMBERS[name])

    def _has_old_arguments(self, bracket: int) -> bool:
        """Whether the first two are those of old: the app and the context, or the context and a dao."""
        arguments = self._code.arguments(bracket)
        words = [self._code.name(start) for start, _ in arguments[:2]]
        return "$app" in words or any(word in self._daos for word in words[1:])

    def _is_model(self, at: int) -> bool:
        if self._code.is_mark(at, ")"):
            opening = next((start for start, end in self._code.closes.items() if end == at), 0)
            return self._code.name(opening - 1) == "collection"
        return self._code.name(at) in changes.MODEL_NAMES

    def _check_text(self, at: int) -> Iterator[_Place]:
        token = self._code.tokens[at]
        for old, new in changes.IN_TEXTS.items():
            for match in re.finditer(re.escape(old), token.text):
                line = token.line + token.text.count("\n", 0, match.start())
                yield line, f"“{old.rstrip('.')}” has another name.", new

    def _check_routes(self) -> Iterator[_Place]:
        for router in ("routerAdd", "routerPre"):
            for _, arguments in self._code.calls(router):
                start, end = arguments[1] if len(arguments) > 1 else (0, 0)
                path = self._code.text(start) if end - start == 1 else None
                if path and (_ROUTE_PARAMETER.search(path) or "*" in path):
                    new = _ROUTE_PARAMETER.sub(r"{\1}", path).replace("*", "{path...}")
                    yield self._code.tokens[start].line, f"The route “{path}” answers 404.", f'"{new}"'

    def _check_middlewares(self) -> Iterator[_Place]:
        """Functions that take the next one and answer with a function, `(next) => (c) => ...`."""
        for start, function in self._router_functions():
            (first, *_), end = function.parameters or ("",), function.end
            takes_next = first and any(
                self._code.name(at) == first and self._code.is_mark(at + 1, "(") and not self._code.is_member(at)
                for at in range(function.start, end)
            )
            if takes_next:
                text = "A middleware is called with the event now, and goes on with its next()."
                yield self._code.tokens[start].line, text, "(e) => { ...; return e.next() }"

    def _check_next(self) -> Iterator[_Place]:
        for name in changes.KEPT_EVENTS:
            for at, arguments in self._code.calls(name):
                function = self._code.function(*arguments[0]) if arguments else None
                if function and not self._goes_on(function):
                    text = f"{name} stops whatever comes after it: its handler does not call next()."
                    yield self._code.tokens[at].line, text, f"{_first(function) or 'e'}.next() where it should go on"

    def _goes_on(self, function: Function) -> bool:
        """Whether the handler calls `e.next()`, or answers by itself."""
        event = _first(function)
        for at in range(function.start, function.end):
            is_own = self._code.name(at) == event and self._code.is_mark(at + 1, ".", "?.")
            if is_own and self._code.name(at + 2) in (
                "next",
                "json",
                "string",
                "html",
                "redirect",
                "noContent",
                "blob",
            ):
                return True
        return False

    def _check_contexts(self) -> Iterator[_Place]:
        budget = 20 * len(self._code.tokens)
        for function in self._handlers:
            budget -= function.end - function.start
            if budget < 0:
                return  # handlers in handlers in handlers: nobody's honest code
            context = _first(function)
            infos = self._names_given(function, "requestInfo")
            for at in range(function.start, function.end):
                name = self._code.name(at)
                member = self._code.name(at + 2) if self._code.is_mark(at + 1, ".", "?.") else ""
                if name and not self._code.is_member(at) and member:
                    if name == context:
                        yield from self._check_context(at, name, member)
                    if name in infos and member in changes.INFO_MEMBERS:
                        yield self._place(at, f"{name}.{member}", changes.INFO_MEMBERS[member])
                if name == "requestInfo" and (at + 1) in self._code.closes:
                    yield from self._check_info(self._code.closes[at + 1])

    def _check_context(self, at: int, name: str, member: str) -> Iterator[_Place]:
        is_call = self._code.is_mark(at + 3, "(")
        if member in changes.EVENT_MEMBERS and not is_call:
            yield self._place(at, f"{name}.{member}", changes.EVENT_MEMBERS[member])
        elif member in changes.CONTEXT_METHODS and is_call:
            yield self._place(at, f"{name}.{member}()", changes.CONTEXT_METHODS[member])
        elif member == "get" and is_call and self._code.text(at + 4) in changes.CONTEXT_KEYS:
            key = self._code.text(at + 4) or ""
            yield self._place(at, f'{name}.get("{key}")', changes.CONTEXT_KEYS[key])

    def _check_info(self, close: int) -> Iterator[_Place]:
        member = self._code.name(close + 2)
        if self._code.is_mark(close + 1, ".", "?.") and member in changes.INFO_MEMBERS:
            yield self._place(close + 2, f"requestInfo().{member}", changes.INFO_MEMBERS[member])

    def _check_migrations(self) -> Iterator[_Place]:
        for _, arguments in self._code.calls("migrate"):
            for start, end in arguments:
                function = self._code.function(start, end)
                database = _first(function) if function else ""
                if function and database:
                    yield from self._check_database(function, database)

    def _check_database(self, function: Function, database: str) -> Iterator[_Place]:
        for at in range(function.start, function.end):
            method = self._code.name(at + 2)
            is_own = self._code.name(at) == database and not self._code.is_member(at)
            if is_own and self._code.is_mark(at + 1, ".") and method in changes.DATABASE_METHODS:
                text = f"A migration is given the app now, which has no {method}()."
                yield self._code.tokens[at].line, text, f"migrate((app) => ...) and app.db().{method}(...)"

    def _check_collections(self) -> Iterator[_Place]:
        """`schema` and `options` of collections: 0.23 ignores them without a word."""
        for _, arguments in self._code.calls("Collection"):
            for start, end in arguments[:1]:
                yield from self._check_literal(start, end)
        for at in range(len(self._code.tokens)):
            is_set = self._code.name(at) == "options" and self._code.is_member(at)
            if is_set and self._code.name(at - 2) == "collection":
                text = "The options of a collection are its own members now."
                yield self._code.tokens[at].line, text, "collection.viewQuery, collection.manageRule ..."

    def _check_literal(self, start: int, end: int) -> Iterator[_Place]:
        at = start + 1
        while self._code.is_mark(start, "{") and at < end:
            key = self._code.name(at) or self._code.text(at)
            if key == "schema" and self._code.is_mark(at + 1, ":"):
                text = "The “schema” of a collection is ignored: it would have no fields."
                yield self._code.tokens[at].line, text, '"fields", options at the top level of each'
            at = self._code.closes.get(at, at) + 1

    def _find_handlers(self) -> Iterator[Function]:
        """Functions whose parameter is a request or an event."""
        for _, function in self._router_functions():
            yield function
            inner = self._code.function(*_returned(self._code, function))
            if inner is not None:
                yield inner
        for at, arguments in self._code.calls():
            name = self._code.name(at)
            if (name in changes.EVENTS or name in changes.KEPT_EVENTS) and arguments:
                handler = self._code.function(*arguments[0])
                if handler is not None:
                    yield handler

    def _router_functions(self) -> Iterator[tuple[int, Function]]:
        for router in sorted(_ROUTERS):
            for _, arguments in self._code.calls(router):
                for start, end in arguments:
                    function = self._code.function(start, end)
                    if function is not None:
                        yield start, function

    def _find_daos(self) -> set[str]:
        """Names of variables that hold a dao."""
        names = {"txDao"}
        for at, token in enumerate(self._code.tokens):
            is_made = token.text == "Dao" and self._code.is_mark(at + 1, "(")
            is_asked = token.text in ("dao", "logsDao") and self._code.is_member(at) and self._code.is_mark(at + 1, "(")
            if token.kind is Kind.NAME and (is_made or is_asked):
                close = self._code.closes.get(at + 1, at + 1)
                name = self._assigned(at)
                if name and not self._code.is_mark(close + 1, ".", "?."):
                    names.add(name)
            if token.text == "runInTransaction" and self._code.is_mark(at + 1, "("):
                names |= self._transaction_names(at)
        return names

    def _transaction_names(self, at: int) -> set[str]:
        """What a transaction hands to its function: a dao where a dao ran it."""
        owner = self._code.name(at - 2)
        if owner in ("$app", "app", "txApp"):
            return set()
        arguments = self._code.arguments(at + 1)
        function = self._code.function(*arguments[0]) if arguments else None
        return {_first(function)} if function and _first(function) else set()

    def _assigned(self, at: int) -> str:
        """The variable that the expression around `at` is given to, "" for none."""
        while at > 0 and (self._code.name(at) or self._code.is_mark(at, ".", "?.")):
            at -= 1
        return self._code.name(at - 1) if self._code.is_mark(at, "=") else ""

    def _names_given(self, function: Function, method: str) -> set[str]:
        """Variables of a function that hold what `method(...)` answered."""
        names = set()
        for at in range(function.start, function.end):
            close = self._code.closes.get(at + 1, 0)
            if self._code.name(at) == method and close and not self._code.is_mark(close + 1, ".", "?."):
                names.add(self._assigned(at))
        return names - {""}


def _returned(code: Code, function: Function) -> tuple[int, int]:
    """The first expression that a function answers with."""
    if code.is_mark(function.start - 1, "{"):
        for at in range(function.start, function.end):
            if code.name(at) == "return":
                return at + 1, function.end
    return function.start, function.end


def _first(function: Function | None) -> str:
    return function.parameters[0] if function and function.parameters else ""


def _of_dao(method: str) -> str:
    return changes.DAO_METHODS.get(method, f"$app.{method}(...)")
