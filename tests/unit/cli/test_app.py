"""The command line as a whole: usage, unforeseen errors, help, completion, event streams."""

from __future__ import annotations

import json
import re

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pocketfleet.cli import output
from pocketfleet.cli.app import app
from pocketfleet.cli.client import parse_events
from pocketfleet.cli.common import complete_names
from tests.unit.cli.conftest import Cli, Double, instance

VERBS = [command.name for command in app.registered_commands]


@pytest.mark.parametrize("words", [["nonsense"], ["show"], ["list", "--nonsense"], ["logs", "shop", "--tail", "-1"]])
def test_wrong_usage_is_one_line_and_2(cli: Cli, double: Double, words: list[str]) -> None:
    done = cli(*words)
    assert (done.code, done.out) == (2, "")
    assert len(done.err.splitlines()) == 1
    assert "--help" in done.err
    as_json = cli(*words, "--json")
    assert as_json.code == 2
    assert json.loads(as_json.err)["code"] == "wrong_usage"


def test_what_nobody_foresaw_is_a_line_not_a_traceback(cli: Cli, double: Double) -> None:
    double.answers["GET /instances"] = {"items": [{"unexpected": True}], "total": 1}
    done = cli("list")
    assert done.code == 1
    assert "mistake in pocketfleet" in done.err
    assert "Traceback" not in done.err
    with pytest.raises(KeyError):
        cli("--traceback", "list")


def test_a_wrong_configuration_is_named(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POCKETFLEET_PORT", "http")
    done = cli("list")
    assert done.code == 1
    assert "POCKETFLEET_PORT" in done.err


def test_version(cli: Cli) -> None:
    assert re.fullmatch(r"pocketfleet \d+\.\d+\.\d+\n", cli("--version").out)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_and_json(cli: Cli, verb: str) -> None:
    done = cli(verb, "--help")
    assert done.code == 0
    assert len(done.out.splitlines()) > 5
    assert verb == "serve" or "--json" in done.out


def test_names_are_completed(operator_home: object, double: Double) -> None:
    double.answers["GET /instances"] = {"items": [instance(), instance(name="other-shop")], "total": 2}
    assert complete_names("sh") == ["shop"]
    assert double.requests[0].url.params["search"] == "sh"


@pytest.mark.parametrize(
    "answer", [httpx.ConnectError("refused"), httpx.Response(503), httpx.Response(200, text="x"), {}]
)
def test_completion_is_silent_when_it_knows_nothing(
    operator_home: object, double: Double, answer: object, capsys: pytest.CaptureFixture[str]
) -> None:
    double.answers["GET /instances"] = answer
    assert complete_names("sh") == []
    assert capsys.readouterr() == ("", "")


def test_events_as_the_standard_defines_them() -> None:
    text = (
        ": comment\n\nevent: a\ndata: {\ndata: }\nid: 7\n\ndata:1\n\nevent: empty\n\ndata: not json\n\n"
        "retry: 5\nevent: b\ndata: [2]\n\nevent: cut\ndata: 3"
    )
    assert list(parse_events(iter(text.split("\n")))) == [("a", {}), ("message", 1), ("b", [2])]


@given(st.lists(st.text(max_size=20), max_size=20))
def test_no_stream_breaks_the_parser(lines: list[str]) -> None:
    list(parse_events(iter(lines)))


@given(st.text(max_size=50))
def test_plain_text_has_nothing_a_terminal_obeys(text: str) -> None:
    shown = output.plain(text)
    assert all(char.isprintable() or char in "\n\t" for char in shown)
    assert len(shown) == len(text)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.04, "0.0 s"), (9.94, "9.9 s"), (42, "42 s"), (90, "2 min"), (7200, "2 h"), (200_000, "2 d")],
)
def test_durations(seconds: float, words: str) -> None:
    assert output.duration(seconds) == words
