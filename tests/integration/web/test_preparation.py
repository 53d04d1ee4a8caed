"""`control prepare`: the key, copies before migrations, the operator, a link; run as the process that serve runs."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from django.db import connection

from pocketfleet.config import Config, load
from pocketfleet.errors import WrongConfiguration
from pocketfleet.models import Audit, Instance, User
from pocketfleet.web import preparation
from tests.integration.web.served import make_instance, tables_of


def prepare(home: Path, **extra: str) -> subprocess.CompletedProcess[str]:
    """Run it as serve does."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("POCKETFLEET_")}
    environment |= {"POCKETFLEET_HOME": str(home)} | extra
    command = [sys.executable, "-m", "pocketfleet.control", "prepare"]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)


def test_the_first_run_makes_everything_and_the_second_a_new_link_only(home: Path) -> None:
    new = home / "new"
    first = prepare(new)
    assert first.returncode == 0, first.stderr
    lines = first.stdout.splitlines()
    assert len(lines) == 1
    answer = json.loads(lines[0])
    assert answer["first_run"] is True
    assert answer["link"].startswith("http://localhost:8080/sign-in/")
    assert new.stat().st_mode & 0o777 == 0o700
    key = new / "secret.key"
    assert key.stat().st_mode & 0o777 == 0o600
    assert len(key.read_text()) >= 50
    assert (new / "control.sqlite3").stat().st_mode & 0o777 == 0o600
    kept = key.read_text()
    again = json.loads(prepare(new, POCKETFLEET_URL="https://fleet.example.org").stdout)
    assert again["first_run"] is False
    assert again["link"].startswith("https://fleet.example.org/sign-in/")
    assert key.read_text() == kept
    assert not (new / "copies").exists(), "nothing was migrated, so nothing needed a copy"
    with tables_of(load({}, home=new)):
        operator = User.objects.get()
        assert (operator.username, operator.is_superuser, operator.has_usable_password()) == ("operator", True, False)
        assert Audit.objects.filter(verb="make_operator").count() == 1


def test_a_home_that_cannot_be_written_is_said_in_one_line(home: Path) -> None:
    (home / "file").write_text("in the way")
    answer = prepare(home / "file" / "home")
    assert answer.returncode == 1
    assert "cannot be written" in answer.stderr
    assert "Traceback" not in answer.stderr
    (home / "control.sqlite3").write_text("this is no database, and longer than a header of one hundred bytes" * 20)
    answer = prepare(home)
    assert answer.returncode == 1
    assert "not a database" in answer.stderr
    assert "Traceback" not in answer.stderr


def test_data_is_copied_before_its_tables_change(tables: None, config: Config) -> None:
    make_instance("shop")
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM django_migrations WHERE app = 'sessions'")
        cursor.execute("DROP TABLE django_session")
    preparation.migrate(config)
    copies = list(config.database_copies.iterdir())
    assert len(copies) == 1
    assert copies[0].stat().st_mode & 0o777 == 0o600
    with contextlib.closing(sqlite3.connect(copies[0])) as copy:
        assert copy.execute("SELECT name FROM pocketfleet_instance").fetchall() == [("shop",)]
        assert copy.execute("SELECT count(*) FROM sqlite_master WHERE name = 'django_session'").fetchone() == (0,)
        assert copy.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert "django_session" in connection.introspection.table_names()
    preparation.migrate(config)
    assert len(list(config.database_copies.iterdir())) == 1


def test_a_copy_holds_what_only_the_wal_has_and_the_last_three_are_kept(tables: None, config: Config) -> None:
    for number in range(5):
        make_instance(f"shop-{number}")
        last = preparation.copy_aside(config)
    kept = sorted(config.database_copies.iterdir())
    assert len(kept) == 3
    assert kept[-1] == last
    with contextlib.closing(sqlite3.connect(last)) as copy:
        assert copy.execute("SELECT count(*) FROM pocketfleet_instance").fetchone() == (5,)


def test_a_database_of_a_newer_pocketfleet_is_not_touched(tables: None, config: Config) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO django_migrations (app, name, applied) VALUES ('pocketfleet', '9999_later', '2030-01-01')"
        )
    with pytest.raises(WrongConfiguration, match="newer pocketfleet"):
        preparation.migrate(config)
    assert Instance.objects.count() == 0
