"""The releases of a line as rows of the picker. A catalogue has hundreds, and a template would take most of the page's
time for them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from django.template.loader import render_to_string
from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe

Row = Mapping[str, Any]


def rows(releases: Iterable[Row], instance: str, picked: str, *, may_pick: bool) -> SafeString:
    """`<li>` each; `picked` is the version that is chosen already, `instance` its name."""
    return mark_safe("".join(_row(each, instance, picked, may_pick) for each in releases))  # noqa: S308  escaped below


def _row(release: Row, instance: str, picked: str, may_pick: bool) -> str:
    version = escape(release["version"])
    said = f'<span class="version">{version}</span> {_facts(release)}'
    if may_pick:
        checked = " checked" if release["version"] == picked else ""
        said = f'<label class="pick"><input type="radio" name="choice" value="{version}"{checked}> {said}</label>'
    else:
        said = f'<span class="pick">{said}</span>'
    return f"<li>{said}{_flag(release, instance)}</li>\n"


def _facts(release: Row) -> str:
    place = '<span class="tag info">runs now</span>' if release["current"] else ""
    if release["older"]:
        place = '<span class="hint">downgrade</span>'
    told = (
        f'<span class="hint">{escape(release["day"])}</span>' if release["day"] else "",
        place,
        '<span class="tag warn">schema boundary</span>' if release["schema_boundary"] else "",
        '<span class="tag">trial release</span>' if release["prerelease"] else "",
    )
    return " ".join(filter(None, told))


def _flag(release: Row, instance: str) -> str:
    """Few have one."""
    if not release["flag"]:
        return ""
    return " " + render_to_string("versions/flag.html", {"flag": release["flag"], "row": {"name": instance}})
