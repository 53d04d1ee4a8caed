"""Django's own security checks, for a server at an https address."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from pocketfleet.web import settings
from pocketfleet.web.middleware import HEADERS

PROGRAM = """
import django
django.setup()
from django.core.checks import run_checks
for message in run_checks(include_deployment_checks=True):
    if not message.is_silenced():
        print(message)
"""
#: What the silenced checks are about, and which of our headers does it.
INSTEAD = {
    "security.W001": {"X-Content-Type-Options", "Referrer-Policy", "Cross-Origin-Opener-Policy"},
    "security.W002": {"X-Frame-Options"},
}


def test_nothing_is_found(home: Path) -> None:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("POCKETFLEET_")}
    environment |= {
        "POCKETFLEET_HOME": str(home),
        "POCKETFLEET_DOMAIN": "fleet.example.org",
        "POCKETFLEET_URL": "https://fleet.example.org",
        "DJANGO_SETTINGS_MODULE": "pocketfleet.web.settings",
    }
    done = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""


def test_what_is_silenced_is_done_by_our_own_headers() -> None:
    assert set(settings.SILENCED_SYSTEM_CHECKS) == set(INSTEAD)
    assert set.union(*INSTEAD.values()) <= set(HEADERS)
