"""Compares records before and after: how many, and the contents of every column, by digest; views and triggers too."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from pocketfleet.domain.releases import has_superusers_collection
from pocketfleet.rehearsal.inspected import Inspected
from pocketfleet.rehearsal.limits import compare_limits
from pocketfleet.rehearsal.report import Finding, Section, Severity

#: PocketBase's own books. It writes them as it likes; what they mean is compared by schema, rules and settings.
_BOOKS = {"_collections", "_params", "_migrations", "_logs", "_requests"}
#: Codes of minutes: PocketBase throws them away by itself.
_PASSING = {"_otps", "_mfas"}
#: Columns that say when a mail was last sent: gone since 0.23.
_DROPPED = {"lastLoginAlertSentAt", "lastResetSentAt", "lastVerificationSentAt"}
_TABLES_NOW = {"_admins": "_superusers"}
_COLUMNS_NOW = {"passwordHash": "password"}
_COLUMNS_NOW_OF = {"_externalAuths": {"collectionId": "collectionRef", "recordId": "recordRef"}}
_DROPPED_OF = {"_admins": {"avatar"}}


def compare_records(before: Inspected, after: Inspected, again: Inspected | None = None) -> list[Finding]:
    """What became of the records: lost ones are fatal, changed contents are named by table and column, and so are
    values that are too long to be saved again.

    `again` is a second run of the old release: what differs between the two old runs varies by itself and is left out.
    """
    crossing = has_superusers_collection(after.release) and not has_superusers_collection(before.release)
    old = _named_as_now(before) if crossing else before.digests
    noisy = _noise(before, again, crossing=crossing)
    counts = {_now(table, crossing=crossing): count for table, count in before.counts.items()}
    found = []
    for table in sorted(old.keys() - _BOOKS - _PASSING):
        if table not in after.digests:
            found.append(_lost_table(table, counts.get(table, 0)))
        elif counts.get(table, 0) != after.counts.get(table, 0) and (table, "") not in noisy:
            found.append(_other_count(table, counts.get(table, 0), after.counts.get(table, 0)))
        else:
            found += _compare_columns(table, old[table], after.digests[table], noisy)
    return found + compare_limits(before, after)


def record_counts(before: Inspected, after: Inspected) -> dict[str, dict[str, int | None]]:
    """Facts for the report: {table: {"before", "after"}} of all tables but PocketBase's books."""
    crossing = has_superusers_collection(after.release) and not has_superusers_collection(before.release)
    old = {_now(table, crossing=crossing): count for table, count in before.counts.items()}
    names = sorted((old.keys() | after.counts.keys()) - _BOOKS - _PASSING)
    return {name: {"before": old.get(name), "after": after.counts.get(name)} for name in names}


def compare_master(before: Iterable[Mapping[str, Any]], after: Iterable[Mapping[str, Any]]) -> list[Finding]:
    """Views and triggers that are gone, from the rows of `sqlite_master`; tables and indexes are compared elsewhere."""
    old, new = ({(row["type"], row["name"]): row for row in rows} for rows in (before, after))
    found = []
    for kind, name in sorted(old.keys() - new.keys()):
        if kind in ("view", "trigger"):
            text = f"The {kind} {name} of the database is gone."
            found.append(_finding(Severity.BREAKS, text, name, Section.SCHEMA))
    for kind, name in sorted(old.keys() & new.keys()):
        if kind == "trigger" and _squeezed(old[kind, name]["sql"]) != _squeezed(new[kind, name]["sql"]):
            text = f"The trigger {name} of the database is another one."
            found.append(_finding(Severity.VALUE, text, name, Section.SCHEMA))
    return found


def _named_as_now(inspected: Inspected) -> dict[str, dict[str, str]]:
    """Digests of 0.22 under the names of tables and columns that 0.23 gives them."""
    accounts = {"_admins"} | {one["name"] for one in inspected.collections if one["type"] == "auth"}
    return {
        _now(table, crossing=True): _columns_now(table, columns, is_auth=table in accounts)
        for table, columns in inspected.digests.items()
    }


def _columns_now(table: str, columns: Mapping[str, str], *, is_auth: bool) -> dict[str, str]:
    renamed = _COLUMNS_NOW if is_auth else _COLUMNS_NOW_OF.get(table, {})
    dropped = (_DROPPED if is_auth else set()) | _DROPPED_OF.get(table, set())
    return {renamed.get(name, name): digest for name, digest in columns.items() if name not in dropped}


def _now(table: str, *, crossing: bool) -> str:
    return _TABLES_NOW.get(table, table) if crossing else table


def _noise(before: Inspected, again: Inspected | None, *, crossing: bool) -> set[tuple[str, str]]:
    """(table, column) of what varies by itself; (table, "") where even the number of records does."""
    if again is None:
        return set()
    first, second = (_named_as_now(one) if crossing else one.digests for one in (before, again))
    noisy = {
        (table, column)
        for table, columns in first.items()
        for column, digest in columns.items()
        if second.get(table, {}).get(column) != digest
    }
    changed = {table for table, count in before.counts.items() if again.counts.get(table) != count}
    return noisy | {(_now(table, crossing=crossing), "") for table in changed}


def _other_count(table: str, old: int, new: int) -> Finding:
    detail = {"before": old, "after": new}
    if new < old:
        text = f"{table} loses {old - new} of its {old} records."
        return Finding(Severity.FATAL, Section.RECORDS, text, table, detail=detail)
    text = f"{table} has {new} records where it had {old}."
    return Finding(Severity.VALUE, Section.RECORDS, text, table, detail=detail)


def _compare_columns(
    table: str, old: Mapping[str, str], new: Mapping[str, str], noisy: set[tuple[str, str]]
) -> list[Finding]:
    if old.get("id") != new.get("id") and not {(table, "id"), (table, "")} & noisy:
        return [_changed_column(table, "id")]
    found = []
    for column in sorted(old):
        where = f"{table}.{column}"
        if column not in new:
            found.append(_finding(Severity.SHAPE, f"What {where} held is gone.", where))
        elif old[column] != new[column] and not {(table, column), (table, "")} & noisy:
            found.append(_changed_column(table, column))
    return found


def _changed_column(table: str, column: str) -> Finding:
    where = f"{table}.{column}"
    if column == "id":
        return _finding(Severity.FATAL, f"{table} no longer holds the same records: their ids differ.", where)
    if column in ("password", "passwordHash"):
        return _finding(Severity.BREAKS, f"Passwords in {table} are not kept as they were.", where, Section.TOKENS)
    if column == "tokenKey":
        text = f"Keys in {table} are not kept, so those who are signed in are signed out."
        return _finding(Severity.BREAKS, text, where, Section.TOKENS)
    return _finding(Severity.VALUE, f"What {where} holds is not what it held.", where)


def _lost_table(table: str, count: int) -> Finding:
    if count:
        detail = {"before": count, "after": None}
        text = f"{table} is gone with its {count} records."
        return Finding(Severity.FATAL, Section.RECORDS, text, table, detail=detail)
    return _finding(Severity.SHAPE, f"The empty table {table} is gone.", table)


def _squeezed(sql: str | None) -> str:
    return re.sub(r"\s+", " ", sql or "").strip()


def _finding(severity: Severity, text: str, where: str, section: Section = Section.RECORDS) -> Finding:
    return Finding(severity, section, text, where)
