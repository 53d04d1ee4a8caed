"""Judges what a restore would replace: other records than now are what people expect, and are told first, as data.

A reason against it is what is missing or otherwise than now, and what does not work.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pocketfleet.rehearsal.answers import Difference, unmet
from pocketfleet.rehearsal.identities import SUPERUSER
from pocketfleet.rehearsal.inspected import Inspected
from pocketfleet.rehearsal.replay import Answer
from pocketfleet.rehearsal.report import Finding, Section, Severity, Source
from pocketfleet.rehearsal.requests import Ask
from pocketfleet.rehearsal.rounds import Round
from pocketfleet.rehearsal.rules import Cell
from pocketfleet.runtime import inspect
from pocketfleet.runtime.changes import Changed, Changes
from pocketfleet.runtime.still_files import quoted
from pocketfleet.runtime.tables import named, opened

#: Tables whose records come and go with each sign-in, and those of superusers, which are told under sign-in.
_PASSING = {"_authOrigins", "_mfas", "_otps"}
_SUPERUSERS = {"_admins", "_superusers"}
#: Ids or names that a finding lists.
_LISTED = 20
#: What differs in an answer because the records do.
_OF_RECORDS = {"value", "filled", "added", "lost", "other", "more", "fewer", "order", "body"}
#: Of these PocketBase makes new ones by itself.
_MADE_FROM_OTHERS, _NOTES = "thumbs_", ".attrs"


@dataclass(frozen=True, slots=True)
class Brought:
    """What would take the place of the present data: an instance's folder that nobody writes to.

    `changes` lead from the present data to it; None where that cannot be read. `gone`: addresses of superusers that it
    does not have. `why_alone` says why nothing can be compared by running it; "" where it can.
    """

    folder: Path
    changes: Changes | None = None
    gone: Sequence[str] = field(default=())
    why_alone: str = ""

    def differing(self, after: Inspected) -> set[str]:
        """Collections whose records are not the same; a view may show any of them."""
        changed = set(self.changes.records) - _PASSING if self.changes is not None else set()
        views = {one["name"] for one in after.collections if one["type"] == "view"}
        return changed | views if changed else set()


def compare_replaced(now: Path, brought: Brought, after: Inspected) -> list[Finding]:
    """Records by collection, files, hooks, and superusers: missing, otherwise, or more than now. Blocks."""
    changes = brought.changes
    if changes is None:
        return []
    there = {one["name"] for one in after.collections} | set(after.counts)
    found = [
        _of_collection(name, changed, after.counts.get(name), there=name in there)
        for name, changed in changes.records.items()
        if name not in _PASSING | _SUPERUSERS
    ]
    found += _of_files(_sizes(now), _sizes(brought.folder))
    if changes.own.total:
        found.append(_of_own(changes.own))
    found += _of_passwords(now, brought.folder)
    if brought.gone:
        text = f"Superusers who get in now are not in it: {_some(brought.gone)}."
        detail = {"records": list(brought.gone)[:_LISTED]}
        found.append(Finding(Severity.BREAKS, Section.TOKENS, text, "superusers", detail=detail))
    return found


def lost_at_start(brought: Path, after: Inspected) -> list[Finding]:
    """Records that are brought and gone once PocketBase has started on them. Blocks."""
    found = []
    for table, before in sorted(inspect.counts(brought).items()):
        left = after.counts.get(table, 0)
        if left < before and table not in _PASSING and not _is_a_book(table):
            text = f"{table} loses {before - left} of the {before} records that are brought, when it starts."
            detail = {"before": before, "after": left}
            found.append(Finding(Severity.FATAL, Section.RECORDS, text, table, detail=detail))
    return found


def cannot_sign_in(new: Round) -> list[Finding]:
    """Superusers that are not let in, although they are there."""
    status = new.superuser_status
    if status is None or 200 <= status < 300:
        return []
    text = f"Its superusers cannot get in: PocketBase answers {status}."
    return [Finding(Severity.FATAL, Section.TOKENS, text, "superusers", Source.SYNTHETIC, {"status": status})]


def explained(brought: Brought, after: Inspected) -> Callable[[Ask, Difference], str]:
    """Says of a difference between two answers that it comes of other records, or of a collection that is not there,
    which is told as such; "" of all else."""
    differing, there = brought.differing(after), {one["name"] for one in after.collections}

    def explain(ask: Ask, found: Difference) -> str:
        if ask.collection and ask.collection not in there:
            return "Collections are not there, so what asks for them is answered otherwise."
        about = not ask.collection or ask.collection in differing or "expand." in found.path
        if differing and about and found.kind in _OF_RECORDS:
            return "Other records are there, so answers that show them differ."
        return ""

    return explain


def comparable(cells: Mapping[tuple[str, str], Cell], brought: Brought, new: Inspected) -> dict[tuple[str, str], Cell]:
    """The cells of collections that are in both; where the records differ, only those that are in both count."""
    there = {one["name"] for one in new.collections}
    differing = brought.differing(new)
    return {
        key: replace(cell, total=None, fields=frozenset()) if key[0] in differing else cell
        for key, cell in cells.items()
        if key[0] in there
    }


def judge_alone(asks: Sequence[Ask], answers: Sequence[Answer]) -> list[Finding]:
    """What is wrong by itself, where there is nothing to compare with: probes, files, and what the superuser gets."""
    found = []
    missing: list[str] = []
    for ask, answer in zip(asks, answers, strict=True):
        if ask.probe is not None and (lacks := unmet(ask, answer)):
            text = f"Your probe {ask.method} {ask.path} fails: {lacks}."
            found.append(Finding(Severity.BREAKS, Section.ANSWERS, text, ask.pattern, Source.PROBE))
        elif ask.about == "file" and ask.identity == SUPERUSER and answer.status == 404:
            missing.append(ask.path)
        elif ask.about == "list" and ask.identity == SUPERUSER and not answer.is_ok:
            said = answer.status or answer.trouble
            text = f"{ask.pattern} answers {said} to the superuser."
            found.append(Finding(Severity.BREAKS, Section.ANSWERS, text, ask.pattern, Source.SYNTHETIC))
    if missing:
        text = "Files that its records name are not in it."
        detail = {"records": missing[:_LISTED]}
        found.append(Finding(Severity.BREAKS, Section.FILES, text, "storage", Source.SYNTHETIC, detail))
    return found


def _of_collection(name: str, changed: Changed, after: int | None, *, there: bool) -> Finding:
    numbers = {"missing": changed.deleted, "otherwise": changed.changed, "more": changed.created}
    before = None if after is None else after - changed.created + changed.deleted
    detail: dict[str, Any] = {**numbers, "before": before, "after": after, "records": changed.deleted_ids[:_LISTED]}
    if not there:
        detail |= {"before": changed.deleted, "after": None}
        text = f"The collection {name} is not in it, and {_records(changed.deleted)} with it."
        return Finding(Severity.BREAKS, Section.RECORDS, text, name, detail=detail)
    said = []
    if changed.deleted:
        said.append(f"{_records(changed.deleted)} of now {_is(changed.deleted)} missing")
    if changed.changed:
        said.append(f"{_records(changed.changed)} {_is(changed.changed)} otherwise")
    if changed.created:
        said.append(f"{_records(changed.created)} {_is(changed.created)} more than now")
    severity = Severity.ROWS if changed.deleted or changed.changed else Severity.ADDED
    return Finding(severity, Section.RECORDS, f"{name}: {', '.join(said)}.", name, detail=detail)


def _of_files(before: Mapping[str, int], after: Mapping[str, int]) -> list[Finding]:
    missing = sorted(before.keys() - after.keys())
    other = sorted(path for path in before.keys() & after.keys() if before[path] != after[path])
    more = len(after.keys() - before.keys())
    found = []
    for paths, words in ((missing, "missing"), (other, "of another size")):
        if paths:
            text = f"{len(paths)} uploaded {_files(len(paths))} of now {_is(len(paths))} {words}."
            detail = {"records": paths[:_LISTED]}
            found.append(Finding(Severity.ROWS, Section.FILES, text, "storage", detail=detail))
    if more:
        text = f"{more} uploaded {_files(more)} {_is(more)} more than now."
        found.append(Finding(Severity.ADDED, Section.FILES, text, "storage"))
    return found


def _of_passwords(now: Path, then: Path) -> list[Finding]:
    """Of people who are in both: those whose password is another one."""
    found = []
    with opened(then) as connection:
        path = quoted(now / "pb_data" / "data.db")
        connection.execute("ATTACH ? AS before", [f"file:{path}?mode=ro&immutable=1"])
        afterwards, before = _people(connection, "main"), _people(connection, "before")
        for name in sorted(afterwards.keys() & before.keys()):
            (table, column), (old_table, old_column) = afterwards[name], before[name]
            query = (
                f"SELECT count(*) FROM main.{named(table)} AS a JOIN before.{named(old_table)} AS b ON a.id = b.id"  # noqa: S608 - names, quoted
                f" WHERE a.{named(column)} IS NOT b.{named(old_column)}"
            )
            count = connection.execute(query).fetchone()[0]
            if count:
                whose = "superusers" if name in _SUPERUSERS else name
                text = f"{count} of {whose} {'has' if count == 1 else 'have'} another password than now."
                found.append(Finding(Severity.BREAKS, Section.TOKENS, text, f"{name}.password"))
    return found


def _people(connection: sqlite3.Connection, where: str) -> dict[str, tuple[str, str]]:
    """Tables that hold passwords, and the columns that do, by the names that collections have from 0.23 on."""
    rows = connection.execute(f"SELECT name FROM {where}.sqlite_master WHERE type = 'table'")  # noqa: S608
    found = {}
    for (table,) in rows.fetchall():
        columns = {row[0] for row in connection.execute("SELECT name FROM pragma_table_info(?, ?)", [table, where])}
        if {"id", "tokenKey"} <= columns:
            name = "_superusers" if table == "_admins" else table
            found[name] = (table, "passwordHash" if "passwordHash" in columns else "password")
    return found


def _of_own(own: Changed) -> Finding:
    paths = sorted({*own.created_ids, *own.changed_ids, *own.deleted_ids})
    text = f"{own.total} {_files(own.total)} among hooks, migrations and public files {_is(own.total)} not as now: "
    return Finding(
        Severity.VALUE,
        Section.HOOKS,
        f"{text}{_some(paths)}.",
        "pb_hooks",
        detail={"paths": paths[:_LISTED], "kind": "own"},
    )


def _sizes(data: Path) -> dict[str, int]:
    """Bytes of every uploaded file, by its path. Zips keep no exact times, so those say nothing here."""
    top = data / "pb_data" / "storage"
    found = {}
    for folder, inner, names in os.walk(top):
        inner[:] = [name for name in inner if not name.startswith(_MADE_FROM_OTHERS)]
        for name in names:
            path = Path(folder) / name
            if not name.endswith(_NOTES) and not path.is_symlink():
                found[str(path.relative_to(top))] = path.stat().st_size
    return found


def _is_a_book(table: str) -> bool:
    return table in ("_collections", "_params", "_migrations", "_logs", "_requests")


def _records(count: int) -> str:
    return f"{count} record" + ("" if count == 1 else "s")


def _files(count: int) -> str:
    return "file" if count == 1 else "files"


def _is(count: int) -> str:
    return "is" if count == 1 else "are"


def _some(names: Iterable[str]) -> str:
    listed = list(names)
    return ", ".join(listed[:3]) + (f" and {len(listed) - 3} more" if len(listed) > 3 else "")
