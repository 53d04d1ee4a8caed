"""What instances may use, as people write it."""

from __future__ import annotations

from typing import Any

import pytest

from pocketfleet.cli.resources import parse_resources, show_resources
from pocketfleet.errors import WrongSetting
from tests.unit.cli.conftest import Cli, Double

MIB = 1024**2


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("default", {}),
        ("memory=256MiB cpus=0.5", {"memory": 256 * MIB, "cpus": 0.5}),
        ("memory=1.5gib file_bytes=500MB", {"memory": 1536 * MIB, "file_bytes": 500_000_000}),
        ("memory=268435456 processes=0", {"memory": 268_435_456, "processes": 0}),
        # whether there is such a limit the API knows
        ("nothing=1", {"nothing": 1}),
    ],
)
def test_what_is_written(text: str, found: dict[str, float]) -> None:
    read = parse_resources(text)
    assert read == found
    assert {name: type(number) for name, number in read.items()} == {name: type(n) for name, n in found.items()}


@pytest.mark.parametrize(
    "text", ["", "memory", "memory=", "memory=lots", "cpus=-1", "cpus=1 cpus=2", "memory=1TB2", "default cpus=1",
             "cpus=²", "memory=1e9", "memory=5 MiB", "cpus=" + "9" * 40]
)  # fmt: skip
def test_what_says_no_resources_is_refused(text: str) -> None:
    with pytest.raises(WrongSetting, match="says no resources"):
        parse_resources(text)


def test_what_is_shown_can_be_written() -> None:
    counting = {"memory": 256 * MIB, "cpus": 0.5, "cpu_weight": 100, "processes": 0, "file_bytes": 100_000_001}
    shown = "memory=256MiB cpus=0.5 cpu_weight=100 processes=0 file_bytes=100000001"
    assert show_resources(counting) == shown
    assert parse_resources(shown) == counting
    assert "no sandbox" in show_resources(None)


def team(**changes: Any) -> dict[str, Any]:
    """A team as the API shows it."""
    counting = {"memory": 256 * MIB, "cpus": 2.0, "cpu_weight": 100, "processes": 512, "open_files": 0, "file_bytes": 0}
    return {
        "id": "team12345678901",
        "name": "Acme",
        "role": "viewer",
        "instances": 1,
        "awake": 0,
        "awake_limit": 0,
        "storage": 5,
        "storage_limit": 0,
        "limits": {},
        "trusted": [],
        "people": [],
        "resources": counting,
    } | changes


def test_a_team_is_given_all_of_its_own_at_once(double: Double, cli: Cli) -> None:
    path = "/teams/team12345678901"
    double.answers = {"GET /teams": {"items": [team()], "total": 1}, f"PATCH {path}": team(), f"GET {path}": team()}
    ran = cli("teams", "resources", "Acme", "memory=256MiB", "processes=512")
    assert double.bodies("PATCH") == [{"guest_limits": {"memory": 256 * MIB, "processes": 512}}]
    counting = "memory=256MiB cpus=2 cpu_weight=100 processes=512 open_files=0 file_bytes=0"
    assert (ran.code, f"Each instance of Acme: {counting}." in ran.out) == (0, True), ran.err
    assert cli("teams", "resources", "Acme", "default").code == 0
    assert double.bodies("PATCH")[-1] == {"guest_limits": {}}
    assert cli("teams", "resources", "Acme").code == 2
    assert cli("teams", "resources", "Acme", "memory=much").code == 2
    assert len(double.bodies("PATCH")) == 2
    # members see what counts
    assert counting in " ".join(cli("teams", "show", "Acme").out.split())
    double.answers[f"GET {path}"] = team(resources=None)
    assert "no sandbox" in cli("teams", "show", "Acme").out
