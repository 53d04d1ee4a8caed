"""What an instance may use: which number counts, what is refused, and that the settings have the same names."""

from __future__ import annotations

import math
from dataclasses import fields
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pocketfleet.config import Config
from pocketfleet.domain.guest_limits import NAMES, GuestLimits, in_words, mebibytes, parse_guest_limits
from pocketfleet.errors import WrongSetting

MIB = 1024**2
FITTING: dict[str, tuple[float, ...]] = {
    "memory": (0, 64 * MIB, 2**40),
    "cpus": (0, 0.0, 0.1, 1, 2.5, 1024),
    "cpu_weight": (1, 100, 10_000),
    "processes": (0, 64, 1_000_000),
    "open_files": (0, 256, 1_000_000),
    "file_bytes": (0, 16 * MIB, 2**40),
    "storage": (0, 16 * MIB, 2**40),
}
REFUSED: dict[str, tuple[object, ...]] = {
    "memory": (64 * MIB - 1, 2**40 + 1, 10**400, -1, 1e9, "256MiB", True),
    "cpus": (0.09, 1024.5, -0.5, math.nan, math.inf, "1", False),
    "cpu_weight": (0, 10_001, 100.0),
    "processes": (1, 63, 100.0, [100]),
    "open_files": (255, 1_000_001),
    "file_bytes": (16 * MIB - 1, {}),
    "storage": (1, 2**40 + 1, 1e9),
}


@pytest.mark.parametrize(("name", "number"), [(name, each) for name, some in FITTING.items() for each in some])
def test_a_teams_number_is_in_place_of_the_servers(name: str, number: float) -> None:
    own = parse_guest_limits({name: number})
    assert own == {name: number}
    server = GuestLimits(memory=5, cpus=6.0, processes=7, open_files=8, file_bytes=9, storage=10)
    found = server.overridden(own)
    assert getattr(found, name) == number
    assert [getattr(found, other) for other in NAMES if other != name] == [
        getattr(server, other) for other in NAMES if other != name
    ]


@pytest.mark.parametrize(("name", "number"), [(name, each) for name, some in REFUSED.items() for each in some])
def test_what_does_not_fit_is_refused_with_its_name(name: str, number: object) -> None:
    with pytest.raises(WrongSetting, match=f"^{name} takes") as refused:
        parse_guest_limits({"cpus": 1, name: number})
    assert (refused.value.facts["setting"], refused.value.facts["field"]) == ("guest_limits", name)


def test_every_limit_is_tried_and_others_are_none() -> None:
    assert set(FITTING) == set(REFUSED) == set(NAMES)
    assert parse_guest_limits(dict.fromkeys(NAMES)) == {}
    with pytest.raises(WrongSetting, match="There is no limit “disk”; there are memory, cpus"):
        parse_guest_limits({"disk": 1})


def test_the_refusal_says_what_would_fit() -> None:
    def said(**limit: object) -> str:
        with pytest.raises(WrongSetting) as refused:
            parse_guest_limits(limit)
        return refused.value.detail

    assert said(memory=1) == "memory takes from 64 MiB to 1,048,576 MiB, in whole bytes; 0 is no limit."
    assert said(cpus=-1) == "cpus takes a number from 0.1 to 1,024; 0 is no limit."
    assert said(cpu_weight=0) == "cpu_weight takes a whole number from 1 to 10,000; 100 is everybody's."


def test_the_server_has_a_setting_for_each_but_the_share(tmp_path: Path) -> None:
    settings = {field.name for field in fields(Config)}
    assert {f"instance_{name}" for name in NAMES} - settings == {"instance_cpu_weight"}
    config = Config(
        home=tmp_path, instance_memory=70 * MIB, instance_cpus=0.5, instance_processes=100, instance_storage=10**9
    )
    assert config.guest_limits == GuestLimits(70 * MIB, 0.5, 100, 100, config.instance_open_files, 0, 10**9)


def test_go_collects_before_the_kernel_kills() -> None:
    assert 0 < GuestLimits(memory=64 * MIB).go_memory < 64 * MIB


@given(st.integers(1, 2**40))
def test_words_never_say_another_number(count: int) -> None:
    number, unit = mebibytes(count).replace(",", "").split()
    assert float(number) * {"MiB": MIB, "bytes": 1}[unit] == count


def test_words() -> None:
    assert [in_words("memory", 256 * MIB), in_words("memory", 0), in_words("cpus", 1.5), in_words("cpus", 2.0)] == [
        "256 MiB",
        "no limit",
        "1.5",
        "2",
    ]
