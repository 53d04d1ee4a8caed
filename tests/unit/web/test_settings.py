"""Django's settings as they follow from ours, each in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

PROGRAM = """
import json, sys
from pocketfleet.web import settings
names = [name for name in vars(settings) if name.isupper() and name not in ("CONFIG", "TEMPLATES")]
heavy = [name for name in ("ninja", "pydantic", "uvicorn", "pocketfleet.web.urls") if name in sys.modules]
print(json.dumps({"heavy": heavy} | {name: getattr(settings, name) for name in names}))
"""


def settings(home: Path, **ours: str) -> dict[str, Any]:
    """What Django is told."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("POCKETFLEET_")}
    environment |= {"POCKETFLEET_HOME": str(home)} | {
        f"POCKETFLEET_{key.upper()}": value for key, value in ours.items()
    }
    done = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_over_https_no_subdomain_can_plant_a_cookie_of_ours(home: Path) -> None:
    found = settings(home, domain="example.org", url="https://fleet.example.org")
    assert found["SESSION_COOKIE_NAME"].startswith("__Host-")
    assert found["SESSION_COOKIE_SECURE"] is True
    assert "SESSION_COOKIE_DOMAIN" not in found
    assert found["CSRF_TRUSTED_ORIGINS"] == ["https://fleet.example.org"]
    assert found["ALLOWED_HOSTS"] == ["example.org", "fleet.example.org"]


def test_by_default_it_is_localhost_over_http(home: Path) -> None:
    found = settings(home)
    assert found["SESSION_COOKIE_NAME"] == "pocketfleet_session"
    assert found["SESSION_COOKIE_HTTPONLY"] is True
    assert found["CSRF_USE_SESSIONS"] is True
    assert found["ALLOWED_HOSTS"] == ["localhost"]
    assert found["DEBUG"] is False


def test_the_key_is_that_of_the_file_or_a_new_one_each_time(home: Path) -> None:
    first, second = settings(home)["SECRET_KEY"], settings(home)["SECRET_KEY"]
    assert len(first) > 50
    assert first != second
    (home / "secret.key").write_text("x" * 64 + "\n")
    assert settings(home)["SECRET_KEY"] == "x" * 64


def test_node_which_needs_the_tables_alone_loads_nothing_of_the_web(home: Path) -> None:
    assert settings(home)["heavy"] == []


def test_what_libpq_should_know_is_passed_on(home: Path) -> None:
    url = "postgresql://fleet:p%40ss@db.example.org:5433/main?sslmode=verify-full&connect_timeout=5"
    database = settings(home, database_url=url)["DATABASES"]["default"]
    assert database["OPTIONS"] == {"sslmode": "verify-full", "connect_timeout": "5"}
    given = [database[name] for name in ("HOST", "PORT", "NAME", "USER", "PASSWORD")]
    assert given == ["db.example.org", "5433", "main", "fleet", "p@ss"]
