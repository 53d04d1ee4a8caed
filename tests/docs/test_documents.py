"""Every setting, error, command and make target is documented; links lead somewhere; the tour's commands exist."""

from __future__ import annotations

import dataclasses
import re
import shlex
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from typer.main import get_command

from pocketfleet import errors
from pocketfleet.cli.app import app
from pocketfleet.config import Config
from tests.docs.pages import PAGES, ROOT, code_lines, headings, page

COMMANDS: dict[str, Any] = get_command(app).commands  # type: ignore[attr-defined]
ERRORS = {
    kind.code: kind.status
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, errors.PocketfleetError)
}


def row_of(setting: dataclasses.Field[Any]) -> str:
    """The row that a setting has in every table of settings."""
    default = "~/.pocketfleet" if setting.default is dataclasses.MISSING else setting.default
    if isinstance(default, tuple):
        default = ",".join(default)
    if isinstance(default, float) and default.is_integer():
        default = int(default)
    shown = f" `{default}`" if default != "" else ""
    return f"| `POCKETFLEET_{setting.name.upper()}` |{shown} | {setting.metadata['text']} |"


@pytest.mark.parametrize("document", ["README.md", "docs/settings.md"])
@pytest.mark.parametrize("setting", dataclasses.fields(Config), ids=lambda setting: setting.name)
def test_every_setting_is_in_the_tables(setting: dataclasses.Field[Any], document: str) -> None:
    assert row_of(setting) in page(document).splitlines()


@pytest.mark.parametrize("document", ["README.md", "docs/settings.md"])
def test_the_tables_hold_no_setting_that_is_gone(document: str) -> None:
    shown = re.findall(r"^\| `POCKETFLEET_(\w+)` \|", page(document), flags=re.M)
    assert [name.lower() for name in shown] == [setting.name for setting in dataclasses.fields(Config)]


def codes_in_the_source() -> set[str]:
    """Codes of refusals at the edge, which are no exceptions."""
    source = [path.read_text() for path in (ROOT / "src").rglob("*") if path.suffix in (".py", ".lua")]
    found = {code for text in source for code in re.findall(r'Refuse\(\s*\d+,\s*"(\w+)"', text)}
    return found | {code for text in source for code in re.findall(r'code = "(\w+)"', text)}


@pytest.mark.parametrize("code", sorted(set(ERRORS) | codes_in_the_source()))
def test_every_error_has_a_paragraph(code: str) -> None:
    found = re.search(rf"^### {code}\nStatus (\d+)\. (.+)$", page("docs/errors.md"), flags=re.M)
    assert found is not None, f"docs/errors.md says nothing of {code}"
    assert int(found[1]) == ERRORS.get(code, 503)


def test_no_error_that_is_gone_is_explained() -> None:
    shown = set(re.findall(r"^### (\w+)$", page("docs/errors.md"), flags=re.M))
    assert shown == set(ERRORS) | codes_in_the_source()


@pytest.mark.parametrize("verb", COMMANDS)
def test_every_command_is_explained_with_its_options(verb: str) -> None:
    text = page("docs/commands.md")
    assert f"| `pocketfleet {verb}" in page("README.md")
    section = re.search(rf"^### {verb}\n(.*?)(?=^##|\Z)", text, flags=re.S | re.M)
    assert section is not None
    assert section[1].startswith(f"`pocketfleet {verb}")
    for parameter in COMMANDS[verb].params:
        names = [name for name in parameter.opts if name != "--json"]
        if parameter.param_type_name == "option" and names:
            assert any(name in section[1] for name in [*names, *parameter.secondary_opts]), names


def test_no_command_that_is_gone_is_explained() -> None:
    shown = re.findall(r"^### (\w+)$", page("docs/commands.md"), flags=re.M)
    assert sorted(shown) == sorted(COMMANDS)


@pytest.mark.parametrize("option", ["--json", "--server", "--version", "--install-completion", "NO_COLOR"])
def test_what_all_commands_share_is_explained(option: str) -> None:
    assert option in page("docs/commands.md")


def test_every_make_target_is_in_the_readme() -> None:
    targets = re.findall(r"^([a-z-]+):.*##", page("Makefile"), flags=re.M)
    assert {"serve", "test"} <= set(targets)
    missing = [target for target in targets if f"make {target}" not in page("README.md")]
    assert missing == []


def commands_in(text: str) -> list[list[str]]:
    lines = [line.split("#")[0] for line in code_lines(text) if "pocketfleet" in line and "alias" not in line]
    found = [re.search(r"(?<![\w/.~-])pocketfleet( .*)", line) for line in lines]
    return [shlex.split(match[1].split(" | ")[0].rstrip(")")) for match in found if match]


@pytest.mark.parametrize("words", [words for path in PAGES for words in commands_in(path.read_text())], ids=" ".join)
def test_every_command_in_the_documents_would_be_understood(words: list[str]) -> None:
    command = COMMANDS[words[0]]
    with command.make_context(words[0], list(words[1:]), resilient_parsing=False):
        pass


def test_the_tour_shows_what_there_is() -> None:
    shown = {words[0] for words in commands_in(page("README.md"))}
    assert {"create", "list", "logs", "releases", "secrets", "settings", "power", "sleep", "delete"} <= shown


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_links_lead_somewhere(path: Path) -> None:
    text = path.read_text()
    for target in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"```.*?```", "", text, flags=re.S)):
        if target.startswith(("http://", "https://")):
            assert target.startswith("https://"), target
            continue
        file, _, anchor = unquote(target).partition("#")
        linked = (path.parent / file).resolve() if file else path
        assert linked.exists(), f"{path.name} links to {target}"
        if anchor:
            assert anchor in headings(linked.read_text()), f"{path.name} links to {target}"


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_blocks_of_code_are_closed_and_tables_are_even(path: Path) -> None:
    text = path.read_text()
    assert text.count("```") % 2 == 0
    for table in re.findall(r"(?:^\|.*\|\n)+", re.sub(r"```.*?```", "", text, flags=re.S), flags=re.M):
        widths = {len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}
        assert len(widths) == 1, table


def test_the_picture_is_drawn_for_light_and_dark() -> None:
    root = ET.fromstring(page("docs/picture.svg"))
    assert root.tag.endswith("svg")
    assert "prefers-color-scheme: dark" in page("docs/picture.svg")
    assert root.find("{http://www.w3.org/2000/svg}title") is not None


def test_the_pages_that_outsiders_look_for_are_there() -> None:
    assert page("LICENSE").startswith("MIT License")
    assert "## [Unreleased]" in page("CHANGELOG.md")
    readme = page("README.md")
    for page_ in PAGES[2:]:
        assert f"](docs/{page_.name})" in readme


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_no_path_of_somebodys_machine(path: Path) -> None:
    assert not re.search(r"(?<![\w.~])/(?:root|work|home/\w+|Users)/", path.read_text())
