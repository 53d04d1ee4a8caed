"""The linter on real old hooks (each line that it names is right, none is missed) and on new ones (none is named)."""

from __future__ import annotations

from pathlib import Path

import pytest

from pocketfleet.domain.releases import Version
from pocketfleet.rehearsal.lint import check_code, lint, lint_findings
from pocketfleet.rehearsal.report import Section, Severity

FIXTURES = Path(__file__).parent / "fixtures"
OLD, NEW, NEWEST = Version("0.22.27"), Version("0.23.12"), Version("0.40.6")


@pytest.mark.parametrize("name", ["old.pb.js", "old_migration.js"])
def test_every_line_to_change_is_named_with_what_to_write(name: str) -> None:
    source = (FIXTURES / name).read_text()
    expected = {
        number: line.partition("// expect: ")[2].split(" | ")
        for number, line in enumerate(source.splitlines(), 1)
        if "// expect: " in line
    }
    found: dict[int, list[str]] = {}
    for line, _, instead in check_code(source):
        found.setdefault(line, []).append(instead)
    assert sorted(found) == sorted(expected)
    for line, texts in expected.items():
        for text in texts:
            assert any(text in instead for instead in found[line]), (line, text, found[line])
        assert len(found[line]) == len(texts), (line, found[line])


@pytest.mark.parametrize("name", ["new.pb.js", "new_migration.js"])
def test_nothing_is_said_of_new_syntax(name: str) -> None:
    assert check_code((FIXTURES / name).read_text()) == []


def test_folders_are_walked_without_links_types_and_applied_migrations(tmp_path: Path) -> None:
    hooks, migrations, elsewhere = (tmp_path / name for name in ("pb_hooks", "pb_migrations", "elsewhere"))
    for folder in (hooks / "lib", hooks / "node_modules", migrations, elsewhere):
        folder.mkdir(parents=True)
    bad = "\n$app.dao().vacuum()\n"
    for path in (hooks / "lib/util.js", hooks / "node_modules/x.js", hooks / "types.d.ts", hooks / "notes.txt"):
        path.write_text(bad)
    (elsewhere / "outside.js").write_text(bad)
    (hooks / "link.pb.js").symlink_to(elsewhere / "outside.js")
    (hooks / "linked").symlink_to(elsewhere)
    (migrations / "1_done.js").write_text(bad)
    (migrations / "2_pending.js").write_text(bad)
    found = lint(hooks, migrations, OLD, NEW, applied=["1_done.js"])
    assert [(place.file, place.line) for place in found] == [
        ("pb_hooks/lib/util.js", 2),
        ("pb_migrations/2_pending.js", 2),
    ]


def test_only_the_step_to_0_23_is_linted(tmp_path: Path) -> None:
    (tmp_path / "a.pb.js").write_text("$app.dao()")
    assert lint(tmp_path, tmp_path / "none", OLD, NEWEST)
    assert not lint(tmp_path, tmp_path / "none", NEW, NEWEST)
    assert not lint(tmp_path, tmp_path / "none", Version("0.22.17"), OLD)


def test_one_finding_a_file_names_the_first_place_and_keeps_all(tmp_path: Path) -> None:
    (tmp_path / "a.pb.js").write_text("onAfterBootstrap((e) => {\n  $app.dao().vacuum()\n})")
    (finding,) = lint_findings(lint(tmp_path, tmp_path / "none", OLD, NEW))
    assert (finding.section, finding.severity) == (Section.LINT, Severity.BREAKS)
    assert finding.where == f"{tmp_path.name}/a.pb.js:1"
    assert "and 1 more" in finding.text
    assert [place["line"] for place in finding.detail["places"]] == [1, 2]


@pytest.mark.parametrize(
    "source", ["`${`${", "/*", '"abc', "a = /[/", "((((", "]})", "routerAdd(", "migrate((", "\x00\ud800"]
)
def test_code_that_is_none_is_no_trouble(source: str) -> None:
    check_code(source)


def test_regular_expressions_texts_and_templates_are_no_code() -> None:
    source = (
        "const a = [/\\$app.dao()/, '$app.dao()', `$app.dao() ${1 / 2} $app.dao()`]; // $app.dao()\nx = b / c; d = '/'"
    )
    assert check_code(source) == []
    assert [line for line, *_ in check_code("const t = `\n${$app.dao().vacuum()}`")] == [2]


@pytest.mark.timeout(30)
@pytest.mark.parametrize("piece", ["f(", "/[", "`${", "routerAdd('GET','/x',(c)=>{", "a=/(", "(c)=>", "'\\"])
def test_hostile_code_costs_little_more_than_its_length(piece: str) -> None:
    check_code(piece * (60_000 // len(piece)))
