"""What is done before control serves: a copy of the database, its tables, the operator, a link to sign in."""

from __future__ import annotations

import contextlib
import logging
import secrets
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pocketfleet.config import Config
from pocketfleet.errors import DiskTrouble, WrongConfiguration

log = logging.getLogger("pocketfleet.prepare")

COPIES_KEPT = 3


@dataclass(frozen=True, slots=True)
class Prepared:
    """`link` signs the operator in once; `first_run`: the operator did not exist before."""

    link: str
    first_run: bool


def prepare(config: Config) -> Prepared:
    """1 the key, 2 a copy, 3 the tables, 4 the operator, 5 a link. Needs Django set up after step 1.

    Raises DiskTrouble, and WrongConfiguration where the database was written by a newer pocketfleet.
    """
    from pocketfleet.actions import sign_in

    with _disk(config):
        migrate(config)
        sign_in.forget_old_sessions()
        operator, first_run = sign_in.make_operator()
        secret = sign_in.make_link(operator, acting_user=None)
        if not config.database_url:
            config.sqlite_file.chmod(0o600)
    return Prepared(link=f"{config.public_url}/sign-in/{secret}", first_run=first_run)


def make_secret_key(config: Config) -> None:
    """Write the file that Django signs with, where there is none. To be called before Django is set up."""
    with _disk(config):
        config.home.mkdir(parents=True, exist_ok=True, mode=0o700)
        if config.secret_key_file.exists():
            return
        fresh = config.secret_key_file.with_suffix(".new")
        fresh.unlink(missing_ok=True)
        fresh.touch(mode=0o600, exist_ok=False)
        fresh.write_text(secrets.token_urlsafe(48))
        fresh.rename(config.secret_key_file)


def migrate(config: Config) -> None:
    """Bring the tables up to date, with a copy made first where they hold data. Cheap where there is nothing to do."""
    from django.core.management import call_command
    from django.db import connection
    from django.db.migrations.executor import MigrationExecutor

    executor = MigrationExecutor(connection)
    applied, known = executor.loader.applied_migrations, executor.loader.disk_migrations
    newer = sorted(name for app, name in set(applied) - set(known) if app == "pocketfleet")
    if newer:
        raise WrongConfiguration(
            f"The database was written by a newer pocketfleet ({newer[-1]}). Use that one again, or put the last "
            f"copy from {config.database_copies} in the database's place."
        )
    if not executor.migration_plan(executor.loader.graph.leaf_nodes()):
        return
    if applied and not config.database_url:
        log.info("copied the database to %s before changing its tables", copy_aside(config))
    call_command("migrate", verbosity=0, interactive=False)


def copy_aside(config: Config) -> Path:
    """A sound copy of the SQLite database in `<home>/copies`; of these copies the last three are kept."""
    from django.utils import timezone

    config.database_copies.mkdir(exist_ok=True, mode=0o700)
    path = config.database_copies / f"control-{timezone.now():%Y%m%dT%H%M%S%f}.sqlite3"
    unfinished = path.with_suffix(".new")
    source = sqlite3.connect(f"{config.sqlite_file.as_uri()}?mode=ro", uri=True)
    target = sqlite3.connect(unfinished)
    with contextlib.closing(source), contextlib.closing(target):
        source.backup(target)
        # one file, whoever opens it
        target.execute("PRAGMA journal_mode=DELETE")
    unfinished.chmod(0o600)
    unfinished.rename(path)
    for old in sorted(config.database_copies.glob("control-*.sqlite3"))[:-COPIES_KEPT]:
        old.unlink()
    return path


@contextlib.contextmanager
def _disk(config: Config) -> Iterator[None]:
    from django.db import DatabaseError

    try:
        yield
    except (OSError, sqlite3.Error, DatabaseError) as error:
        if config.database_url:
            raise DiskTrouble(
                f"The database of POCKETFLEET_DATABASE_URL does not answer as it should: {error}"
            ) from error
        raise DiskTrouble(
            f"{config.home} cannot be written as it must: {error}. Check free space, owner and permissions there."
        ) from error
