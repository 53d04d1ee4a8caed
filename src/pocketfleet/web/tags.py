"""What templates may call: addresses of static files, and times as people say them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django import template
from django.template import Context
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from pocketfleet.web.assets import asset_url
from pocketfleet.web.charts import size_words
from pocketfleet.web.plainly import Value
from pocketfleet.web.release_rows import rows
from pocketfleet.web.zones import options

register = template.Library()

_UNITS = ((86400, "day"), (3600, "hour"), (60, "minute"))


@register.simple_tag
def asset(name: str) -> str:
    """The address of a static file."""
    return asset_url(name)


@register.simple_tag
def zones() -> SafeString:
    """The time zones of a `<datalist>`."""
    return options()


@register.simple_tag(takes_context=True)
def releases_of(context: Context, line: Mapping[str, Any]) -> SafeString:
    """The releases of a line, on the page Versions."""
    text = context.get("text") or ""
    return rows(line["releases"], context["row"]["name"], text, may_pick=context["may"]["operate"])


@register.filter
def shown(value: Value | None) -> SafeString:
    """Text that others wrote: short, with all of it behind that. A report has hundreds, and a template for each would
    take most of its time."""
    short, whole = value or ("", "")
    if not whole:
        return format_html('<span class="value">{}</span>', short)
    return format_html('<details class="long"><summary>{}</summary><pre tabindex="0">{}</pre></details>', short, whole)


@register.simple_tag
def since(moment: datetime | None) -> SafeString | str:
    """How long ago, as `<time>`; the script keeps it going."""
    if moment is None:
        return ""
    return format_html(
        '<time datetime="{}" title="{}" data-since>{}</time>',
        moment.isoformat(timespec="seconds"),
        moment.strftime("%Y-%m-%d %H:%M:%S UTC"),
        duration((timezone.now() - moment).total_seconds()),
    )


@register.filter
def percent(progress: float | None) -> int:
    """0 to 100."""
    return round(100 * min(max(progress or 0.0, 0.0), 1.0))


@register.filter
def replace_underscores(text: str) -> str:
    """`delete_backup` as people read it."""
    return text.replace("_", " ")


@register.filter
def lasting(count: int) -> str:
    """`90 seconds`, `5 minutes`, `2 hours`: whole units only, so that nothing is rounded away."""
    for size, unit in _UNITS:
        if count and count % size == 0:
            return f"{count // size} {unit}" + ("s" if count > size else "")
    return f"{count} second" + ("" if count == 1 else "s")


@register.filter
def seconds(milliseconds: float | None) -> str:
    """`0.8 s`; as exact as it is short."""
    if milliseconds is None:
        return "–"
    amount = float(milliseconds) / 1000
    return f"{amount:.2f} s" if amount < 10 else f"{amount:.0f} s"


@register.filter
def size(count: int | None) -> str:
    """`3.4 MB`; a dash where it is not known."""
    return "–" if count is None else size_words(count)


@register.filter
def gigabytes(count: int | None) -> str:
    """Bytes as a field for GB has them: `2.5`; nothing for None."""
    return "" if count is None else f"{count / 1e9:.9f}".rstrip("0").rstrip(".")


@register.filter
def first_line(text: str) -> str:
    """The first line that says something."""
    return next((line.strip() for line in text.splitlines() if line.strip()), "")


@register.filter
def more_lines(text: str) -> bool:
    """Whether there is more than the first line."""
    return len([line for line in text.splitlines() if line.strip()]) > 1


def duration(seconds: float) -> str:
    """`3 minutes`; the script says the same (app.js, `duration`)."""
    for size, unit in _UNITS:
        count = int(seconds // size)
        if count >= 1:
            return f"{count} {unit}" + ("s" if count > 1 else "")
    return "a moment"
