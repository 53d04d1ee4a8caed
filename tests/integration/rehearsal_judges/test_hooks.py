"""Old and new hooks in real releases: what loads, what the linter says of it, and whether its words are true."""

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pocketfleet.domain import hook_changes as changes
from pocketfleet.domain.releases import Version
from pocketfleet.rehearsal.hooks import LoadError, compare_loading, compare_routes, load_errors, registrations
from pocketfleet.rehearsal.lint import lint
from pocketfleet.rehearsal.report import Severity
from tests.integration.rehearsal_judges.shops import running, start
from tests.pocketbases import JOURNEY_VERSIONS

FIXTURES = Path(__file__).parents[2] / "unit" / "rehearsal_judges" / "fixtures"
OLD, NEW_ONES = JOURNEY_VERSIONS[0], JOURNEY_VERSIONS[1:]
Shop = Callable[[str], Path]

#: Prints what a release gives to its hooks.
LISTING = """
function names(value) {
  const all = new Set()
  for (let one = value, depth = 0; one && depth < 6; one = Object.getPrototypeOf(one), depth++) {
    Object.getOwnPropertyNames(one).forEach((name) => all.add(name))
  }
  return [...all]
}
const given = { globals: names(globalThis), $app: names($app) }
for (const name of ["$apis", "$filesystem", "$mails", "$tokens"]) given[name] = names(globalThis[name] || null)
const record = new Record(new Collection({ name: "x" }))
given.record = names(record)
console.log("GIVEN" + JSON.stringify(given) + "END")
"""


def printed_at_start(folder: Path, release: str, *, until: str = "Server started", strict: bool = False) -> str:
    """What it prints until this, or until it ends."""
    flags = ("--hooksWatch=false",) if strict else ()
    process, _, printed = start(folder, release, flags=flags)
    try:
        end = time.monotonic() + 10
        while until not in printed.read_text() and process.poll() is None and time.monotonic() < end:
            time.sleep(0.02)
        return printed.read_text()
    finally:
        process.kill()
        process.wait()


def hooks(folder: Path, *names: str) -> Path:
    for name in names:
        shutil.copy(FIXTURES / name, folder / "pb_hooks" / name)
    return folder


def given(folder: Path, release: str) -> dict[str, set[str]]:
    (folder / "pb_hooks" / "list.pb.js").write_text(LISTING)
    found = re.search(r"GIVEN(.*?)END", printed_at_start(folder, release), re.DOTALL)
    assert found
    return {name: set(members) for name, members in json.loads(found[1]).items()}


def test_the_words_are_those_of_the_releases(shop: Shop) -> None:
    old, new = given(shop(OLD), OLD), given(shop(NEW_ONES[0]), NEW_ONES[0])
    newest = given(shop(NEW_ONES[0]), NEW_ONES[-1])
    gone = old["globals"] - new["globals"] - {"$tokens"}
    assert gone == changes.EVENTS.keys() | changes.GLOBALS.keys()
    assert new["globals"] <= newest["globals"] | {"$tokens"}
    assert {name for name in old["globals"] & new["globals"] if re.match("on[A-Z]", name)} == changes.KEPT_EVENTS
    own = {name for name in old["$app"] - new["$app"] if not name.startswith("on")}
    assert own == changes.APP_MEMBERS.keys()
    for helper in ("$apis", "$filesystem", "$mails"):
        members = {member for owner, member in changes.HELPER_MEMBERS if owner == helper}
        assert members == old[helper] - new[helper]
    assert {member for owner, member in changes.HELPER_MEMBERS if owner == "$tokens"} <= old["$tokens"]
    for method in [*changes.RECORD_METHODS, *changes.MODEL_METHODS]:
        assert method in old["record"]
        assert method not in new["record"]


def test_what_is_to_be_written_instead_exists(shop: Shop) -> None:
    for release in (NEW_ONES[0], NEW_ONES[-1]):
        there = given(shop(NEW_ONES[0]), release)
        texts = [*changes.EVENTS.values(), *changes.GLOBALS.values(), *changes.DAO_METHODS.values()]
        texts += [*changes.HELPER_MEMBERS.values(), *changes.APP_MEMBERS.values(), *changes.SHORTER_CALLS.values()]
        texts += [*changes.RECORD_METHODS.values(), *changes.MODEL_METHODS.values()]
        for text in texts:
            for name in re.findall(r"\bon[A-Z]\w+", text):
                assert name in there["globals"], text
            for owner, member in re.findall(r"(\$app|\$apis|\$mails|\$filesystem|\brecord)\.(\w+)\(", text):
                assert member in there[owner], text


@pytest.mark.parametrize("release", [OLD, *NEW_ONES])
def test_hooks_of_their_age_load(shop: Shop, release: str) -> None:
    name = "old.pb.js" if release == OLD else "new.pb.js"
    folder = hooks(shop(OLD if release == OLD else NEW_ONES[0]), name)
    assert load_errors(printed_at_start(folder, release)) == []


@pytest.mark.parametrize("release", NEW_ONES)
@pytest.mark.parametrize("strict", [False, True])
def test_old_hooks_are_named_with_the_line_where_they_stop(shop: Shop, release: str, strict: bool) -> None:
    output = printed_at_start(hooks(shop(NEW_ONES[0]), "old.pb.js"), release, strict=strict)
    text = "ReferenceError: onRecordBeforeCreateRequest is not defined"
    assert load_errors(output) == [LoadError("old.pb.js", 6, text)]


def test_the_linter_names_the_line_that_the_release_stops_at(shop: Shop) -> None:
    folder = hooks(shop(NEW_ONES[0]), "old.pb.js")
    found = lint(folder / "pb_hooks", folder / "pb_migrations", Version(OLD), Version(NEW_ONES[-1]))
    (error,) = load_errors(printed_at_start(folder, NEW_ONES[-1]))
    assert (f"pb_hooks/{error.file}", error.line) in [(place.file, place.line) for place in found]


@pytest.mark.parametrize("release", [OLD, NEW_ONES[0], NEW_ONES[-1]])
def test_every_kind_of_trouble_is_read_out_of_what_is_printed(shop: Shop, release: str) -> None:
    folder = shop(OLD if release == OLD else NEW_ONES[0])
    troubles = {
        "a.pb.js": ("\n\n  foo.bar()", 3, "foo is not defined"),
        "b.pb.js": ("const x = ;", 1, "SyntaxError"),
        "c.pb.js": ("require('./nope.js')", 0, "Invalid module"),
        "d.pb.js": ("\nthrow new BadRequestError('no')", 2, "No."),
    }
    for name, (source, *_) in troubles.items():
        (folder / "pb_hooks" / name).write_text(source)
    found = {error.file: error for error in load_errors(printed_at_start(folder, release))}
    assert found.keys() == troubles.keys()
    for name, (_, line, text) in troubles.items():
        assert found[name].line == line
        assert text in found[name].text
        assert "<eval>" not in found[name].text


def test_what_is_lost_with_a_file_is_said(shop: Shop) -> None:
    folder = hooks(shop(OLD), "old.pb.js")
    (folder / "pb_hooks" / "broken.pb.js").write_text("nothing.here()")
    before = printed_at_start(folder, OLD)
    after = printed_at_start(folder, NEW_ONES[0])
    by_file = {finding.where: finding for finding in compare_loading(before, after, registrations(folder / "pb_hooks"))}
    lost = by_file["old.pb.js:6"]
    assert lost.severity is Severity.BREAKS
    assert any(one.startswith("cron clean (pb_hooks/old.pb.js:") for one in lost.detail["lost"])
    assert by_file["broken.pb.js:1"].severity is Severity.KNOWN


def test_old_routes_that_load_answer_404(shop: Shop) -> None:
    old, new = shop(OLD), shop(NEW_ONES[0])
    source = 'routerAdd("GET", "/hi/:name", (c) => c.json(200, {}))\nrouterAdd("GET", "/plain", (c) => c.json(200, {}))'
    statuses = []
    for folder, release in ((old, OLD), (new, NEW_ONES[-1])):
        (folder / "pb_hooks" / "routes.pb.js").write_text(source)
        with running(folder, release) as there:
            statuses.append(
                {("GET", "/hi/:name"): there.ask("GET", "/hi/x")[0], ("GET", "/plain"): there.ask("GET", "/plain")[0]}
            )
    (finding,) = compare_routes(registrations(old / "pb_hooks"), *statuses)
    assert finding.where == "pb_hooks/routes.pb.js:1"
    assert finding.detail == {"before": 200, "after": 404}


def test_pending_migrations_of_their_age_run(shop: Shop) -> None:
    folder = shop(NEW_ONES[0])
    shutil.copy(FIXTURES / "new_migration.js", folder / "pb_migrations" / "1_things.js")
    with running(folder, NEW_ONES[-1]) as there:
        there.sign_in()
        assert there.request("GET", "/api/collections/things")["name"] == "things"
