"""Percentiles and the table say what was measured."""

from __future__ import annotations

import io

import pytest
from bench.figures import Figure, number, p95, percentile, show, spread
from rich.console import Console


@pytest.mark.parametrize(
    "samples,share,expected",
    [
        ([7.0], 0.5, 7.0),
        ([1.0, 2.0, 3.0, 4.0], 0.5, 2.0),
        ([4.0, 1.0, 3.0, 2.0], 1.0, 4.0),
        ([4.0, 1.0, 3.0, 2.0], 0.0, 1.0),
        ([float(value) for value in range(1, 41)], 0.95, 38.0),
        ([float(value) for value in range(1, 101)], 0.99, 99.0),
    ],
)
def test_a_percentile_is_a_sample_that_the_share_does_not_exceed(
    samples: list[float], share: float, expected: float
) -> None:
    assert percentile(samples, share) == expected


def test_a_single_slow_one_of_forty_is_not_the_p95_but_three_are() -> None:
    assert p95([1.0] * 39 + [100.0]) == 1.0
    assert p95([1.0] * 37 + [100.0] * 3) == 100.0


def test_no_samples_have_no_percentile() -> None:
    with pytest.raises(ValueError):
        percentile([], 0.5)


def test_the_spread_of_samples() -> None:
    assert spread([3.0, 1.0, 2.0]) == {"min": 1.0, "median": 2.0, "p95": 3.0, "max": 3.0}


@pytest.mark.parametrize(
    "value,text",
    [(None, "-"), (0, "0"), (0.25, "0.25"), (3, "3"), (12.34, "12.3"), (345.6, "346"), (12345.6, "12,346")],
)
def test_numbers_are_short(value: float | None, text: str) -> None:
    assert number(value) == text


def test_the_table_shows_both_sides_and_whether_the_goal_was_met() -> None:
    output = io.StringIO()
    figures = [
        Figure("wake", "median", "ms", 24.0, 20.0, "bare exec", "<= 10 ms more", True),
        Figure("wake", "starts", "", 2, goal="1", met=False),
    ]
    show(figures, Console(file=output, width=200))
    lines = [" ".join(line.replace("│", " ").split()) for line in output.getvalue().splitlines()]
    assert "wake median ms 24 20 1.20 bare exec ✓ <= 10 ms more" in lines
    assert "starts 2 ✗ 1" in lines


def test_nothing_is_divided_by_nothing() -> None:
    assert Figure("scale", "CPU", "%", 0.1, 0.0, "100 registered").ratio is None
