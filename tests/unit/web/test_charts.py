"""Charts: nothing leaves its drawing, axes are even and round, numbers are words that people read."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pocketfleet.web.charts import HEIGHT, Chart, Point, bar_chart, count_words, line_chart, size_words

VALUES = st.integers(0, 2**63 - 1)
POINTS = st.lists(st.tuples(VALUES, st.integers(0, 1000)), min_size=1, max_size=40)


def bars(values: list[tuple[int, int]]) -> Chart:
    points = [Point(value, min(bad, value), label=str(index)) for index, (value, bad) in enumerate(values)]
    return bar_chart("test", "Test", "", points, empty="Nothing")


def percent(text: str) -> float:
    assert text.endswith("%")
    return float(text[:-1])


@given(POINTS)
def test_bars_stay_within_the_drawing_and_do_not_touch(values: list[tuple[int, int]]) -> None:
    chart = bars(values)
    right = 0.0
    for bar in chart.bars:
        assert percent(bar.x) >= right
        right = percent(bar.x) + percent(bar.bar_width)
        assert right <= 100
        assert 0 <= float(bar.top) <= HEIGHT
        assert float(bar.top) + float(bar.height) == pytest.approx(HEIGHT, abs=0.02)
        assert float(bar.bad_height) <= float(bar.height)


@given(POINTS)
def test_whatever_is_not_nothing_is_seen(values: list[tuple[int, int]]) -> None:
    chart = bars(values)
    if not any(value for value, _ in values):
        assert (chart.empty, chart.bars, chart.lines) == ("Nothing", (), ())
        return
    assert chart.empty == ""
    for bar, (value, bad) in zip(chart.bars, values, strict=True):
        assert bar.is_there == (value > 0)
        assert bar.is_bad == (min(bad, value) > 0)
        assert not bar.is_there or float(bar.height) >= 2


@given(POINTS)
def test_axes_are_even_and_hold_the_largest(values: list[tuple[int, int]]) -> None:
    chart = bars(values)
    if chart.lines:
        gaps = [float(one.at) - float(other.at) for one, other in pairwise(chart.lines)]
        assert max(gaps) - min(gaps) < 0.05
        assert 1 <= len(gaps) <= 4
        assert (float(chart.lines[0].at), chart.lines[0].text) == (HEIGHT, "0")
        assert float(chart.lines[-1].at) == 0
        assert len({tick.text for tick in chart.lines}) == len(chart.lines)


@given(st.lists(st.none() | VALUES, min_size=1, max_size=40))
def test_a_line_goes_through_what_is_known(values: list[int | None]) -> None:
    chart = line_chart("test", "Test", "", [Point(value) for value in values], empty="Nothing")
    known = [value for value in values if value is not None]
    assert (chart.end is None) == (not known) == (chart.empty == "Nothing")
    numbers = [float(number) for number in re.findall(r"[\d.]+", chart.line + chart.area)]
    assert all(0 <= number <= 100 for number in numbers)
    assert chart.line.count(" L") == max(0, len(known) - 1)


def test_labels_at_the_ends_are_kept_within() -> None:
    chart = bars([(1, 0)] * 30)
    anchors = [tick.anchor for tick in chart.labels]
    assert (anchors[0], anchors[15], anchors[-1]) == ("start", "middle", "end")


@pytest.mark.parametrize(
    ("count", "words"),
    [
        (0, "0"),
        (7, "7"),
        (9999, "9,999"),
        (10_000, "10k"),
        (12_345, "12.3k"),
        (999_499, "999k"),
        (999_500, "1M"),
        (4_510_000, "4.5M"),
        (2_000_000_000, "2G"),
        (5_000_000_000_000, "5,000G"),
    ],
)
def test_counts_in_words(count: int, words: str) -> None:
    assert count_words(count) == words


@pytest.mark.parametrize(
    ("count", "words"),
    [
        (0, "0"),
        (999, "999 B"),
        (1000, "1 kB"),
        (12_345, "12.3 kB"),
        (999_499, "999 kB"),
        (999_500, "1 MB"),
        (3_400_000, "3.4 MB"),
        (48_300_000_000, "48.3 GB"),
        (2 * 10**16, "20,000 TB"),
    ],
)
def test_sizes_in_words(count: int, words: str) -> None:
    assert size_words(count) == words
