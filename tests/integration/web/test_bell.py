"""The bell rings for what others commit: SQLite with and without the kernel's help, PostgreSQL by NOTIFY."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from pocketfleet import bell
from pocketfleet.bell import Bell
from pocketfleet.config import Config, load
from tests.conftest import free_port


@pytest.fixture
def config(home: Path) -> Config:
    """A home without a database."""
    return load({}, home=home)


def database(config: Config) -> sqlite3.Connection:
    """A writer."""
    connection = sqlite3.connect(config.sqlite_file, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("CREATE TABLE IF NOT EXISTS things (name)")
    return connection


async def rung(rings: AsyncIterator[None], seconds: float) -> bool:
    """Whether it rings within so many seconds. The iterator is not to be used after a False."""
    try:
        async with asyncio.timeout(seconds):
            await anext(rings)
    except TimeoutError:
        return False
    return True


@pytest.fixture(params=["told by the kernel", "looking by itself"])
def any_kernel(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways of watching a SQLite file."""
    if request.param == "looking by itself":
        monkeypatch.setattr(bell, "_inotify", lambda folder: None)


async def test_it_rings_at_first_and_for_every_commit(any_kernel: None, config: Config) -> None:
    writer = database(config)
    rings = Bell(config).rings()
    assert await rung(rings, 5)
    for _ in range(20):
        writer.execute("INSERT INTO things VALUES ('x')")
        assert await rung(rings, 5)


async def test_it_is_silent_at_rest_and_for_what_is_rolled_back(any_kernel: None, config: Config) -> None:
    writer = database(config)
    rings = Bell(config).rings()
    assert await rung(rings, 5)
    writer.execute("BEGIN IMMEDIATE")
    writer.execute("INSERT INTO things VALUES ('x')")
    writer.execute("ROLLBACK")
    (config.home / "other-file").write_text("not the database")
    assert not await rung(rings, 0.5)


async def test_a_commit_that_is_seen_late_still_rings(config: Config) -> None:
    """The WAL is written long before the commit: a transaction larger than the cache spills."""
    writer = database(config)
    rings = Bell(config).rings()
    assert await rung(rings, 5)
    writer.execute("PRAGMA cache_size=2")
    writer.execute("BEGIN IMMEDIATE")
    for _ in range(200):
        writer.execute("INSERT INTO things VALUES (?)", ["x" * 2000])
    await asyncio.sleep(0.3)
    writer.execute("COMMIT")
    assert await rung(rings, 5)


async def test_many_listeners_share_one_watcher(config: Config) -> None:
    writer = database(config)
    shared = Bell(config)
    listeners = [shared.rings() for _ in range(10)]
    for rings in listeners:
        assert await rung(rings, 5)
    assert [task.get_name() for task in asyncio.all_tasks()].count("bell") == 1
    writer.execute("INSERT INTO things VALUES ('x')")
    for rings in listeners:
        assert await rung(rings, 5)
        await rings.aclose()
    writer.close()
    await asyncio.sleep(0.05)
    assert "bell" not in [task.get_name() for task in asyncio.all_tasks() if not task.cancelled()]
    assert not [link for link in Path("/proc/self/fd").iterdir() if _points_to(link, str(config.sqlite_file))]


def _points_to(link: Path, path: str) -> bool:
    with contextlib.suppress(OSError):
        return str(link.readlink()).startswith(path)
    return False


async def test_it_waits_for_a_database_that_is_not_there_yet(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bell, "RETRY", 0.05)
    rings = Bell(config).rings()
    waiting = asyncio.ensure_future(anext(rings))
    await asyncio.sleep(0.15)
    assert not waiting.done()
    writer = database(config)
    await asyncio.wait_for(waiting, 5)
    writer.execute("INSERT INTO things VALUES ('x')")
    assert await rung(rings, 5)


async def test_rest_costs_next_to_nothing(config: Config) -> None:
    """With the kernel's help there is one look a second; the figure itself is left to the bench."""
    database(config)
    looks = 0
    original = bell._data_version

    def counted(reader: sqlite3.Connection) -> int:
        nonlocal looks
        looks += 1
        return original(reader)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bell, "_data_version", counted)
        rings = Bell(config).rings()
        assert await rung(rings, 5)
        assert not await rung(rings, 2.5)
    assert looks <= 5


# --- PostgreSQL ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def postgresql() -> Iterator[str]:
    """The address of an empty PostgreSQL of one's own."""
    programs = [shutil.which(name) for name in ("initdb", "pg_ctl", "postgres")]
    if not all(programs):
        pytest.skip("NO POSTGRESQL: the bell's LISTEN is not tested; apt-get install postgresql, programs on PATH")
    pytest.importorskip("psycopg")
    folder = Path("/tmp") / f"pf-pg-{os.getpid()}"
    folder.mkdir(mode=0o700)
    # PostgreSQL refuses to run as root
    user = "nobody" if os.geteuid() == 0 else None
    if user:
        shutil.chown(folder, user)
    port = free_port()

    def run(*command: str) -> None:
        subprocess.run(command, user=user, cwd=folder, check=True, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL)

    options = f"-c listen_addresses=127.0.0.1 -c unix_socket_directories= -c fsync=off -p {port}"
    run("initdb", "-D", str(folder / "data"), "-A", "trust", "-U", "fleet", "--no-sync")
    run("pg_ctl", "-D", str(folder / "data"), "-l", str(folder / "log"), "-o", options, "-w", "start")
    try:
        yield f"postgres://fleet@127.0.0.1:{port}/postgres"
    finally:
        run("pg_ctl", "-D", str(folder / "data"), "-m", "immediate", "-w", "stop")
        shutil.rmtree(folder)


async def test_postgresql_rings_when_an_action_commits(
    postgresql: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bell, "RETRY", 0.2)
    config = load({}, home=home, database_url=postgresql)
    environment = {**os.environ, **config.environment()}
    prepared = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "pocketfleet.control", "prepare", env=environment, stdout=subprocess.PIPE
    )
    output, _ = await prepared.communicate()
    assert b"sign-in" in output, "control prepares a PostgreSQL as it does SQLite"
    rings = Bell(config).rings()
    assert await rung(rings, 10)
    act = "from pocketfleet import control; control.set_up_django(); from django.db import transaction; "
    act += "from pocketfleet.actions.releases import record_source_down as down; "
    await _python(environment, act + "down('github', 'down')")
    assert await rung(rings, 10)
    await _python(environment, act + "transaction.set_autocommit(False); down('pypi', 'down'); transaction.rollback()")
    assert not await rung(rings, 0.5)
    await _python(environment, ACCOUNTS)


#: Whatever of accounts could mean something else to PostgreSQL than to SQLite.
ACCOUNTS = """
from datetime import timedelta
from pocketfleet import control
control.set_up_django()
from allauth.account.models import EmailAddress
from pocketfleet.actions import account_mail, accounts, sign_up
from pocketfleet.models import AccountMail, User
secret = sign_up.invite("ana@example.org", acting_user=None)
ana = User(username="ana", email="ana@example.org")
accounts.sign_up(ana, invitation_id=sign_up.find_invitation(secret).pk)
for address in ("ana@example.org", "ana@example.net"):
    EmailAddress.objects.create(user=ana, email=address)
account_mail.write_mail("ana@example.org", "Hello", "there", keep=timedelta(0))
assert account_mail.forget_stale_mail() == 1
assert accounts.forget_unverified(timedelta(0)) == 1
assert not User.objects.filter(username="ana").exists()
"""


async def _python(environment: dict[str, str], program: str) -> None:
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", program, env=environment)
    assert await process.wait() == 0
