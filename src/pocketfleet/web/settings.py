"""Django's settings, out of pocketfleet's own configuration. Node uses them for its tables, too."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote, urlsplit

from pocketfleet.config import Config, load

CONFIG: Config = load()


def _database(config: Config) -> dict[str, Any]:
    if not config.database_url:
        return {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": str(config.sqlite_file),
            "OPTIONS": {
                "transaction_mode": "IMMEDIATE",
                "timeout": 20,
                "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON;",
            },
        }
    parts = urlsplit(config.database_url)
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": unquote(parts.path.lstrip("/")),
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": parts.hostname or "",
        "PORT": str(parts.port or ""),
        "CONN_MAX_AGE": 600,
        "CONN_HEALTH_CHECKS": True,
    }


DATABASES = {"default": _database(CONFIG)}
INSTALLED_APPS = [
    "django.contrib.contenttypes",
    "django.contrib.auth",
    "django.contrib.sessions",
    "django_htmx",
    "pocketfleet",
]
AUTH_USER_MODEL = "pocketfleet.User"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
TIME_ZONE = "UTC"
ALLOWED_HOSTS = [CONFIG.domain]
SECRET_KEY = ""
