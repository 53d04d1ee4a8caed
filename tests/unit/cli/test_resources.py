"""What instances may use, as people write it."""

from __future__ import annotations

import pytest

from pocketfleet.cli.resources import parse_resources, show_resources
from pocketfleet.errors import WrongSetting

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
