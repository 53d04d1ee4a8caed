"""Measurements: one script a figure, each printed beside what it compares with in the same run."""

from pathlib import Path

#: Where `python -m bench...` and `tests` are found from, whatever the current folder.
PROJECT = Path(__file__).resolve().parents[1]
