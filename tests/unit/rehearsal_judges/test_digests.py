"""Records by count and digest: losses, noise that varies by itself, and views and triggers."""

from __future__ import annotations

from typing import Any

from pocketfleet.domain.releases import Version
from pocketfleet.rehearsal.digests import compare_master, compare_records
from pocketfleet.rehearsal.inspected import Inspected
from pocketfleet.rehearsal.report import Section, Severity
from pocketfleet.rehearsal.settings import TokenTrial, compare_settings, compare_tokens


def inspected(release: str = "0.30.4", **tables: tuple[int, dict[str, str]]) -> Inspected:
    return Inspected(
        release=Version(release),
        collections=[{"name": "users", "type": "auth"}],
        settings={"meta": {"appName": "x"}},
        counts={name: count for name, (count, _) in tables.items()},
        digests={name: columns for name, (_, columns) in tables.items()},
        master=[],
    )


POSTS = (3, {"id": "i", "title": "t", "views": "v"})


def test_lost_records_are_one_fatal_finding_and_more_are_told() -> None:
    old = inspected(posts=POSTS)
    (lost,) = compare_records(old, inspected(posts=(2, {"id": "x", "title": "y", "views": "z"})))
    assert (lost.severity, lost.text) == (Severity.FATAL, "posts loses 1 of its 3 records.")
    (more,) = compare_records(old, inspected(posts=(4, {"id": "x", "title": "y", "views": "z"})))
    assert more.severity is Severity.VALUE


def test_other_records_of_the_same_number_are_fatal() -> None:
    (finding,) = compare_records(inspected(posts=POSTS), inspected(posts=(3, {"id": "x", "title": "y", "views": "z"})))
    assert (finding.severity, finding.where) == (Severity.FATAL, "posts.id")


def test_a_lost_table_is_fatal_unless_it_was_empty() -> None:
    assert compare_records(inspected(posts=POSTS), inspected())[0].severity is Severity.FATAL
    assert compare_records(inspected(posts=(0, {"id": "i"})), inspected())[0].severity is Severity.SHAPE


def test_what_varies_between_two_runs_of_the_old_release_is_left_out_unless_it_is_lost() -> None:
    old = inspected(posts=POSTS)
    again = inspected(posts=(3, {"id": "i", "title": "t", "views": "w"}))
    assert compare_records(old, inspected(posts=(3, {"id": "i", "title": "t", "views": "x"})), again) == []
    (gone,) = compare_records(old, inspected(posts=(3, {"id": "i", "title": "t"})), again)
    assert (gone.severity, gone.where) == (Severity.SHAPE, "posts.views")
    growing = inspected(posts=(4, {"id": "j", "title": "u", "views": "w"}))
    assert compare_records(old, inspected(posts=(5, {"id": "k", "title": "l", "views": "m"})), growing) == []


def test_passing_codes_and_pocketbases_books_say_nothing() -> None:
    old = inspected(
        _otps=(1, {"id": "a"}), _mfas=(1, {"id": "a"}), _params=(1, {"id": "a"}), _migrations=(9, {"file": "x"})
    )
    assert compare_records(old, inspected(_otps=(0, {"id": "b"}), _params=(2, {"id": "c"}))) == []


def test_accounts_of_old_under_their_names_of_now() -> None:
    columns = {"id": "i", "passwordHash": "p", "tokenKey": "k", "lastResetSentAt": "l"}
    old = inspected("0.22.27", users=(2, columns), _admins=(1, {**columns, "avatar": "a"}))
    now = {"id": "i", "password": "p", "tokenKey": "k"}
    assert compare_records(old, inspected(users=(2, now), _superusers=(1, now))) == []
    found = compare_records(
        old, inspected(users=(2, now | {"password": "q"}), _superusers=(1, now | {"tokenKey": "q"}))
    )
    assert {(one.where, one.section, one.severity) for one in found} == {
        ("users.password", Section.TOKENS, Severity.BREAKS),
        ("_superusers.tokenKey", Section.TOKENS, Severity.BREAKS),
    }


def test_a_field_of_ones_own_with_such_a_name_is_not_renamed() -> None:
    old = inspected("0.22.27", notes=(1, {"id": "i", "passwordHash": "p", "lastResetSentAt": "l"}))
    new = inspected(notes=(1, {"id": "i", "passwordHash": "p", "lastResetSentAt": "l"}))
    assert compare_records(old, new) == []


def test_views_and_triggers() -> None:
    def rows(*names: str, sql: str = "CREATE x") -> list[dict[str, Any]]:
        return [{"type": name.split()[0], "name": name.split()[1], "tbl_name": "t", "sql": sql} for name in names]

    old = rows("view stats", "trigger touch", "table posts", "index i")
    assert compare_master(old, rows("view stats", "trigger touch")) == []
    gone = compare_master(old, [])
    assert [(one.severity, one.where) for one in gone] == [(Severity.BREAKS, "touch"), (Severity.BREAKS, "stats")]
    other = compare_master(old, rows("view stats", "trigger touch", sql="CREATE  y"))
    assert [(one.severity, one.where) for one in other] == [(Severity.VALUE, "touch")]


def test_encrypted_settings_that_only_one_release_reads_are_told() -> None:
    readable, locked = inspected(), Inspected(Version("0.30.4"), [], None, {}, {}, [])
    assert compare_settings(locked, locked) == []
    assert compare_settings(readable, locked)[0].where == "settings"


def test_tokens_one_finding_for_everybody_or_one_for_each_who_loses() -> None:
    def trial(who: str, new: int, old: int = 200) -> TokenTrial:
        return TokenTrial(who, old, new)

    assert compare_tokens([trial("superusers", 200), trial("users", 200)]) == []
    (all_,) = compare_tokens([trial("superusers", 401), trial("users", 401), trial("ghosts", 401, old=401)])
    assert all_.text.startswith("Everybody who is signed in")
    assert all_.detail["who"] == ["superusers", "users"]
    (one,) = compare_tokens([trial("superusers", 200), trial("users", 401)])
    assert (one.severity, one.where) == (Severity.BREAKS, "users")
