"""The time zones that forms offer."""

from __future__ import annotations

from functools import cache
from zoneinfo import available_timezones

from django.utils.html import format_html_join
from django.utils.safestring import SafeString

_AREAS = ("Africa/", "America/", "Antarctica/", "Asia/", "Atlantic/", "Australia/", "Europe/", "Indian/", "Pacific/")


@cache
def options() -> SafeString:
    """UTC, then Area/City by name, without the historic aliases; hundreds, so they are laid out once."""
    names = ["UTC", *sorted(name for name in available_timezones() if name.startswith(_AREAS))]
    return format_html_join("", '<option value="{}">', ((name,) for name in names))
