"""Django's settings, and no tables."""

from __future__ import annotations

from pocketfleet.control import set_up_django

set_up_django()
