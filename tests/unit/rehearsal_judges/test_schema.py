"""Schema: the two forms that fields are stored in, and indexes by what they do."""

from __future__ import annotations

from typing import Any

import pytest

from pocketfleet.rehearsal.report import Severity
from pocketfleet.rehearsal.schema import compare_indexes, compare_schema, index_of


def row(sql: str | None, table: str = "posts") -> dict[str, Any]:
    return {"type": "index", "name": "i", "tbl_name": table, "sql": sql}


@pytest.mark.parametrize(
    "one, other",
    [
        ("CREATE INDEX a ON posts (title)", "create index `b` on `posts` (`title` ASC)"),
        ("CREATE UNIQUE INDEX a ON posts(a,b)", 'CREATE UNIQUE INDEX IF NOT EXISTS "x y" ON [posts] (\n  a,\n  b\n)'),
        ("CREATE INDEX a ON posts (a) WHERE a > 10", "CREATE INDEX a ON posts (`a`) where `a`>10;"),
        ("CREATE INDEX a ON posts (lower(a), b)", "CREATE INDEX a ON posts (LOWER( `a` ), b)"),
    ],
)
def test_the_same_index_spelled_otherwise(one: str, other: str) -> None:
    assert index_of(one) == index_of(other)
    assert index_of(one) is not None


@pytest.mark.parametrize(
    "one, other",
    [
        ("CREATE INDEX a ON posts (a)", "CREATE UNIQUE INDEX a ON posts (a)"),
        ("CREATE INDEX a ON posts (a, b)", "CREATE INDEX a ON posts (b, a)"),
        ("CREATE INDEX a ON posts (a)", "CREATE INDEX a ON posts (a DESC)"),
        ("CREATE INDEX a ON posts (a)", "CREATE INDEX a ON posts (a) WHERE a != ''"),
        ("CREATE INDEX a ON posts (a) WHERE a = 'X'", "CREATE INDEX a ON posts (a) WHERE a = 'x'"),
        ("CREATE INDEX a ON posts (a) WHERE a = '(x'", "CREATE INDEX a ON posts (a) WHERE a = 'x'"),
        ("CREATE INDEX a ON posts (a)", "CREATE INDEX a ON others (a)"),
    ],
)
def test_indexes_that_do_something_else(one: str, other: str) -> None:
    assert index_of(one) != index_of(other)


def test_what_is_no_index() -> None:
    for text in ("CREATE TABLE a (b)", "", "CREATE INDEX", "CREATE INDEX a ON b"):
        assert index_of(text) is None


def test_indexes_by_what_they_do_never_by_name() -> None:
    old = [row("CREATE INDEX a ON posts (a)"), row("CREATE UNIQUE INDEX b ON posts (b)"), row(None)]
    assert compare_indexes(old, [row("CREATE INDEX z ON posts (a)"), row("CREATE UNIQUE INDEX y ON posts (b)")]) == []
    found = compare_indexes(old, [row("CREATE INDEX c ON posts (c)")])
    assert [(one.severity, one.where) for one in found] == [
        (Severity.VALUE, "posts"),
        (Severity.SHAPE, "posts"),
        (Severity.ADDED, "posts"),
    ]
    assert "doubles may now be written" in found[1].text


def test_regard_to_case_and_pocketbases_own_tables_say_nothing() -> None:
    plain, nocase = "CREATE UNIQUE INDEX a ON users (name)", "CREATE UNIQUE INDEX a ON users (name COLLATE NOCASE)"
    assert compare_indexes([row(plain)], [row(nocase)]) == []
    assert compare_indexes([row("CREATE INDEX a ON _externalAuths (a)")], []) == []


OLD: list[dict[str, Any]] = [
    {"id": "one", "name": "posts", "type": "base", "options": {}, "schema": [
        {"id": "f1", "name": "title", "type": "text", "required": True, "system": False, "unique": False,
         "presentable": False, "options": {"min": None, "max": 20, "pattern": ""}},
        {"id": "f2", "name": "author", "type": "relation", "required": False, "options":
         {"collectionId": "two", "maxSelect": 1, "minSelect": None, "displayFields": None, "cascadeDelete": False}},
        {"id": "f3", "name": "count", "type": "number", "options": {"min": 0, "max": None, "noDecimal": True}},
    ]},
    {"id": "two", "name": "users", "type": "auth", "options": {}, "schema": []},
]  # fmt: skip
NEW: list[dict[str, Any]] = [
    {"id": "one", "name": "posts", "type": "base", "options": {}, "fields": [
        {"id": "text1", "name": "id", "type": "text", "system": True, "primaryKey": True, "required": True},
        {"id": "x1", "name": "title", "type": "text", "required": True, "system": False, "hidden": False, "min": 0,
         "max": 20, "pattern": "", "autogeneratePattern": "", "presentable": False},
        {"id": "x2", "name": "author", "type": "relation", "required": False, "collectionId": "two", "maxSelect": 1,
         "minSelect": 0, "cascadeDelete": False, "hidden": False},
        {"id": "x3", "name": "count", "type": "number", "min": 0, "max": None, "onlyInt": True, "hidden": False},
    ]},
    {"id": "two", "name": "users", "type": "auth", "fields": [
        {"name": "password", "type": "password", "system": True, "hidden": True},
    ]},
    {"id": "sys", "name": "_superusers", "type": "auth", "system": True, "fields": []},
]  # fmt: skip


def test_the_two_forms_of_one_schema_are_equal() -> None:
    assert compare_schema(OLD, NEW) == []


def test_collections_gone_and_new() -> None:
    found = compare_schema(NEW, [*NEW[:2], NEW[2] | {"name": "_others"}])
    assert [(one.severity, one.where) for one in found] == [
        (Severity.ADDED, "_others"),
        (Severity.BREAKS, "_superusers"),
    ]


def test_hidden_and_system_count_between_two_releases_of_the_new_form() -> None:
    fields = [*NEW[0]["fields"]]
    fields[1] = fields[1] | {"hidden": True, "system": True}
    found = compare_schema(NEW, [NEW[0] | {"fields": fields}, *NEW[1:]])
    assert {one.detail["option"] for one in found} == {"hidden", "system"}
    fields[1] = fields[1] | {"hidden": False, "system": True}
    assert compare_schema(OLD, [NEW[0] | {"fields": fields}, *NEW[1:]]) == []


def test_a_field_that_is_no_longer_hidden_exposes() -> None:
    hidden = [NEW[0] | {"fields": [NEW[0]["fields"][1] | {"hidden": True}]}, *NEW[1:]]
    shown = [NEW[0] | {"fields": [NEW[0]["fields"][1]]}, *NEW[1:]]
    (finding,) = compare_schema(hidden, shown)
    assert (finding.severity, finding.where) == (Severity.EXPOSES, "posts.title")


def test_a_relation_to_another_collection_is_told_by_name() -> None:
    fields = [*NEW[0]["fields"][:2], NEW[0]["fields"][2] | {"collectionId": "one"}, NEW[0]["fields"][3]]
    (finding,) = compare_schema(OLD, [NEW[0] | {"fields": fields}, *NEW[1:]])
    assert (finding.detail["before"], finding.detail["after"]) == ("users", "posts")


def test_another_view() -> None:
    view = {"id": "v", "name": "stats", "type": "view", "schema": [], "options": {"query": "SELECT  id\nFROM posts;"}}
    same = {"id": "v", "name": "stats", "type": "view", "fields": [], "options": {"viewQuery": "SELECT id FROM posts"}}
    other = same | {"options": {"viewQuery": "SELECT id FROM users"}}
    assert compare_schema([*OLD, view], [*NEW, same]) == []
    assert compare_schema([*OLD, view], [*NEW, other])[0].severity is Severity.VALUE
