"""Rules: what is only spelling, what a text can decide, and what the cells decide."""

from __future__ import annotations

from typing import Any

import pytest

from pocketfleet.rehearsal.report import Severity
from pocketfleet.rehearsal.rules import Cell, compare_cells, compare_rules, normal_rule, rules_of


@pytest.mark.parametrize(
    "one, other",
    [
        ("a = 1", "a=1"),
        ("(a = 1 && b = 2)", "( a=1  &&\n b=2 )"),
        ("@request.data.x = 'y'", "@request.body.x='y'"),
        ('name = "x"', "name = 'x'"),
        ("// only mine\na = 1", "a = 1"),
    ],
)
def test_spelling_says_nothing(one: str, other: str) -> None:
    assert normal_rule(one) == normal_rule(other)


@pytest.mark.parametrize(
    "one, other",
    [
        ("a = 1", "a != 1"),
        ("a = 'b c'", "a = 'b  c'"),
        ("a = '@request.data.x'", "a = '@request.body.x'"),
        ("a ?= 1", "a = 1"),
        ("(a || b) && c", "a || (b && c)"),
        ('name = "it\'s"', "name = 'its'"),
        ("a = 'x // y'", "a = 'x '"),
    ],
)
def test_meaning_says_something(one: str, other: str) -> None:
    assert normal_rule(one) != normal_rule(other)


def collection(**rules: Any) -> list[dict[str, Any]]:
    return [{"name": "posts", "type": "base", **rules}]


@pytest.mark.parametrize(
    "old, new, severity",
    [
        (None, "a = 1", Severity.EXPOSES),
        (None, "", Severity.EXPOSES),
        ("a = 1", "", Severity.EXPOSES),
        ("a = 1", None, Severity.BREAKS),
        ("", None, Severity.BREAKS),
        ("a = 1", "a = 1 || b = 2", Severity.VALUE),
        ("", "a = 1", Severity.VALUE),
    ],
)
def test_what_a_text_can_decide(old: str | None, new: str | None, severity: Severity) -> None:
    (finding,) = compare_rules(collection(listRule=old), collection(listRule=new))
    assert finding.severity is severity
    assert finding.where == "posts.listRule"
    assert (finding.detail["before"], finding.detail["after"]) == (old, new)


def test_verified_only_of_old_is_a_rule_for_signing_in_now() -> None:
    old = {"name": "users", "type": "auth", "options": {"onlyVerified": True, "manageRule": None}}
    new = {"name": "users", "type": "auth", "options": {"authRule": "verified = true", "manageRule": None}}
    assert rules_of(old) == rules_of(new)
    assert (
        compare_rules([old], [new | {"options": {"authRule": "", "manageRule": None}}])[0].severity is Severity.EXPOSES
    )


CELL = Cell(200, 3, frozenset("abc"), frozenset({"id", "title"}), {"create": 200, "update": 403})


@pytest.mark.parametrize(
    "changed, severity, words",
    [
        (Cell(200, 5, frozenset("abcde"), CELL.fields, CELL.writes), Severity.EXPOSES, "3 records before, 5 now"),
        (Cell(200, 2, frozenset("ab"), CELL.fields, CELL.writes), Severity.ROWS, "sees less"),
        (Cell(200, 3, CELL.visible, CELL.fields | {"secret"}, CELL.writes), Severity.EXPOSES, "secret"),
        (Cell(200, 3, CELL.visible, frozenset({"id"}), CELL.writes), Severity.SHAPE, "title"),
        (Cell(403, None, frozenset(), frozenset(), CELL.writes), Severity.BREAKS, "can no longer list"),
        (Cell(200, 3, CELL.visible, CELL.fields, {"create": 403, "update": 403}), Severity.BREAKS, "create"),
        (Cell(200, 3, CELL.visible, CELL.fields, {"create": 200, "update": 204}), Severity.EXPOSES, "update"),
        (Cell(200, 3, CELL.visible, CELL.fields, {"create": 200, "update": 500}), Severity.BREAKS, "inside PocketBase"),
    ],
)
def test_cells_tell_who_sees_and_may_do_more_or_less(changed: Cell, severity: Severity, words: str) -> None:
    key = ("posts", "people with role staff")
    (finding,) = compare_cells({key: CELL}, {key: changed})
    assert finding.severity is severity
    assert words in finding.text
    assert finding.where == "posts as people with role staff"


def test_other_records_of_the_same_number_are_both_more_and_less() -> None:
    key = ("posts", "anonymous")
    found = compare_cells({key: CELL}, {key: Cell(200, 3, frozenset("abd"), CELL.fields, CELL.writes)})
    assert [finding.severity for finding in found] == [Severity.EXPOSES, Severity.ROWS]


def test_a_list_that_opens_exposes_and_equal_cells_say_nothing() -> None:
    key = ("posts", "anonymous")
    (finding,) = compare_cells({key: Cell(403)}, {key: Cell(200, 0)})
    assert finding.severity is Severity.EXPOSES
    assert compare_cells({key: CELL}, {key: CELL}) == []
    assert compare_cells({key: CELL}, {}) == []
    refused = {key: Cell(403, writes={"create": 403})}
    assert compare_cells(refused, {key: Cell(404, writes={"create": 400})}) == []
