"""How the suite is dealt out to its workers."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import scheduling

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("file", sorted({*scheduling.LONG, *scheduling.APART, *scheduling.BY_PARAMETER}))
def test_files_that_are_named_exist(file: str) -> None:
    assert (ROOT / file).is_file()


@pytest.mark.parametrize("file", sorted(scheduling.APART))
def test_nothing_is_shared_in_a_file_whose_tests_go_apart(file: str) -> None:
    """Where they shared a fixture, each worker would make one."""
    assert 'scope="module"' not in (ROOT / file).read_text()


@pytest.mark.parametrize(
    "nodeid, scope",
    [
        ("tests/unit/test_x.py::test_one", "tests/unit/test_x.py"),
        ("tests/crash/test_engine.py::test_a[b]", "tests/crash/test_engine.py::test_a[b]"),
        ("tests/acceptance/test_full_disk.py::test_a[beside]", "tests/acceptance/test_full_disk.py[beside]"),
        ("tests/acceptance/test_full_disk.py::test_a[beside-b]", "tests/acceptance/test_full_disk.py[beside]"),
    ],
)
def test_what_stays_with_one_worker(nodeid: str, scope: str) -> None:
    assert scheduling.scope_of(nodeid) == scope
