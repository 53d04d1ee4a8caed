"""What is done before control serves: a copy of the database, its tables, the operator, a link to sign in."""

from __future__ import annotations

import contextlib
import json
import logging
import secrets
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pocketfleet import sealing
from pocketfleet.config import Config
from pocketfleet.errors import DiskTrouble, WrongConfiguration

log = logging.getLogger("pocketfleet.prepare")

COPIES_KEPT = 3
#: From this one on nothing lies in clear in the tables that a copy of them must not give away.
_SEALED = "0011_sealed_secrets"


@dataclass(frozen=True, slots=True)
class Prepared:
    """`link` signs the operator in once; `first_run`: the operator did not exist before."""

    link: str
    first_run: bool


def prepare(config: Config) -> Prepared:
    """1 the key, 2 a copy, 3 the tables, 4 the sealing key, 5 the operator, 6 a link. Needs Django set up after step 1.

    Raises DiskTrouble, SecretsSealed, and WrongConfiguration where the database was written by a newer pocketfleet.
    """
    from pocketfleet.actions import sign_in

    with _disk(config):
        migrate(config)
        find_key(config)
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


def find_key(config: Config) -> None:
    """The key that secrets are sealed with: made where nothing is sealed yet, tried where something is.

    Raises SecretsSealed with the next step, and then nothing has changed.
    """
    from pocketfleet.actions import sealed

    if not config.sealing_key_path.exists() and not sealed.any_sealed():
        sealing.make(config.sealing_key_path)
    sealed.check_key()


def rotate_key(config: Config, *, forget_old: bool = False, lost: bool = False) -> dict[str, Any]:
    """A new key, with which everything is sealed anew; what an older one sealed elsewhere it still opens.

    1 the new key in front of the others, 2 everything sealed with it, in one transaction. Killed in between, nothing
    is lost: every key is there. `lost`: what no key opens is deleted. `forget_old`: instead of a new key, the older
    ones go, after everything was opened with the first alone. Answers {"sealed", "lost", "forgotten"}.
    Raises SecretsSealed, DiskTrouble.
    """
    from pocketfleet.actions import sealed

    with _disk(config):
        if forget_old:
            return {"sealed": 0, "lost": [], "forgotten": _forget_old(config)}
        if not lost:
            sealed.check_key()
        sealing.add(config.sealing_key_path)
        done = sealed.seal_anew(sealed.keyring(), forget_lost=lost)
    return {"sealed": done.sealed, "lost": done.lost, "forgotten": 0}


def _forget_old(config: Config) -> int:
    from pocketfleet.actions import sealed

    alone = sealing.only_first(config.sealing_key_path)
    try:
        sealed.seal_anew(sealing.Keyring(alone), verb="forget_keys")
    finally:
        alone.unlink()
    return sealing.keep_first(config.sealing_key_path)


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
    plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    if not plan:
        return
    if applied and not config.database_url:
        log.info("copied the database to %s before changing its tables", copy_aside(config))
    call_command("migrate", verbosity=0, interactive=False)
    if applied and any(migration.name == _SEALED for migration, _ in plan):
        _forget_clear_text(config)


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


def _forget_clear_text(config: Config) -> None:
    """What was overwritten is still in free pages and in older copies, until this."""
    from django.db import connection

    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("VACUUM FULL pocketfleet_instance")
            return
        cursor.execute("VACUUM")
        cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    keys = sealing.Keyring(config.sealing_key_path)
    for path in config.database_copies.glob("control-*.sqlite3"):
        _seal_copy(path, keys)


def _seal_copy(path: Path, keys: sealing.Keyring) -> None:
    """Its migration leaves alone what is sealed, should it ever be put back."""
    with contextlib.closing(sqlite3.connect(path)) as copy:
        found = copy.execute("SELECT id, secrets FROM pocketfleet_instance WHERE secrets <> '{}'").fetchall()
        for instance_id, text in found:
            values = json.loads(text)
            sealed = {name: value if keys.opens(value) else keys.seal(value) for name, value in values.items()}
            copy.execute("UPDATE pocketfleet_instance SET secrets = ? WHERE id = ?", [json.dumps(sealed), instance_id])
        copy.commit()
        if found:
            copy.execute("VACUUM")


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
