"""The documents as the tests read them."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]


def page(name: str) -> str:
    """The text of one document."""
    return (ROOT / name).read_text()


def headings(text: str) -> list[str]:
    """The anchors of a document's headings, as GitHub makes them."""
    outside = re.sub(r"```.*?```", "", text, flags=re.S)
    titles = re.findall(r"^#{1,6} +(.+?) *$", outside, flags=re.M)
    return [re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles]


def code_lines(text: str) -> list[str]:
    """The lines of all code blocks."""
    return [line for block in re.findall(r"```\w*\n(.*?)```", text, flags=re.S) for line in block.splitlines()]
