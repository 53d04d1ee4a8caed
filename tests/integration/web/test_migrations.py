"""Data of an earlier pocketfleet in today's tables: nothing is lost, and it belongs to somebody."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pocketfleet.config import load
from tests.integration.web.test_bell import postgresql as postgresql

#: The tables of before there were teams, with a person, an instance, a token and a backup plan in them.
BEFORE = """
from pocketfleet import control
control.set_up_django()
from django.core.management import call_command
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
call_command("migrate", "pocketfleet", "0002", verbosity=0)
apps = MigrationExecutor(connection).loader.project_state([("pocketfleet", "0002_upgrades")]).apps
user = apps.get_model("pocketfleet", "User").objects.create(username="operator", is_superuser=True)
apps.get_model("pocketfleet", "Token").objects.create(user=user, name="laptop", digest="d" * 64, hint="pf_abc")
plan = {"cron": "0 3 * * *", "zone": "UTC", "keep": 7, "full": False}
made = dict(range="0.40.6", release="0.40.6", ready=True)
apps.get_model("pocketfleet", "Instance").objects.create(
    id="a" * 15, name="shop", number=1, secrets={"KEY": "in clear until today"}, backup_plan=plan, **made
)
apps.get_model("pocketfleet", "Instance").objects.create(id="b" * 15, name=None, number=2, **made)
"""
#: And what is to be found afterwards.
AFTER = """
from pocketfleet import control
control.set_up_django()
from pocketfleet.domain.roles import ALL_VERBS
from pocketfleet.models import Instance, Membership, Token, User
operator = User.objects.get(username="operator")
shop = Instance.objects.get(name="shop")
from pocketfleet.actions import sealed
assert list(shop.secrets) == ["KEY"] and "clear" not in shop.secrets["KEY"]
assert sealed.opened(shop.secrets) == {"KEY": "in clear until today"}
assert shop.team is not None and shop.team.own_of == operator
assert Membership.objects.get(team=shop.team, user=operator).role == "owner"
assert shop.next_backup_at is not None
token = Token.objects.get(name="laptop")
assert (token.team, token.instances, token.verbs) == (None, [], [str(verb) for verb in ALL_VERBS])
"""


@pytest.fixture(params=["sqlite", "postgresql"])
def environment(request: pytest.FixtureRequest, home: Path) -> dict[str, str]:
    """What processes on an empty database are given."""
    url = request.getfixturevalue("postgresql") if request.param == "postgresql" else ""
    if url:
        psycopg = pytest.importorskip("psycopg")
        with psycopg.connect(url, autocommit=True) as connection:
            # the server is there for all tests of this file
            connection.execute("DROP SCHEMA public CASCADE")
            connection.execute("CREATE SCHEMA public")
    return {**os.environ, **load({}, home=home, database_url=url).environment()}


def test_what_was_there_before_teams_belongs_to_the_operators(environment: dict[str, str]) -> None:
    for program in (["-c", BEFORE], ["-m", "pocketfleet.control", "prepare"], ["-c", AFTER]):
        subprocess.run([sys.executable, *program], env=environment, check=True, stdout=subprocess.DEVNULL, timeout=90)
    home = Path(environment["POCKETFLEET_HOME"])
    left = [path for path in home.rglob("*") if path.is_file() and b"in clear until today" in path.read_bytes()]
    assert left == [], "neither a free page nor the copy that was made before has it"
    assert len(list(home.glob("copies/*"))) == (0 if environment["POCKETFLEET_DATABASE_URL"] else 1)


#: The tables of before superusers knew their accounts: by address, without one, of nobody, and long gone.
BY_ADDRESS = """
from pocketfleet import control
control.set_up_django()
from django.core.management import call_command
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
call_command("migrate", "pocketfleet", "0008", verbosity=0)
apps = MigrationExecutor(connection).loader.project_state([("pocketfleet", "0008_accounts")]).apps
def model(name): return apps.get_model("pocketfleet", name).objects
ana = model("User").create(username="ana", email="Ana@Example.org")
ben = model("User").create(username="ben")
shop = model("Instance").create(id="a" * 15, name="shop", number=1, range="0.40.6", release="0.40.6", ready=True)
for email, more in (
    ("ana@example.org", {}),
    (f"ben+{ben.pk}@pocketfleet.invalid", {"ours": False}),
    (f"ana+{ana.pk}@pocketfleet.invalid", {}),
    ("left@example.org", {}),
    ("gone@example.org", {"revoked_at": "2026-01-01T00:00:00Z", "gone_at": "2026-01-01T00:00:00Z"}),
):
    model("MadeSuperuser").create(instance=shop, email=email, record_id="r" * 15, **more)
for verb, team in (("invite", "t" * 15), ("invite", ""), ("withdraw_invitation", "")):
    model("Audit").create(actor="ana", verb=verb, subject="1", team=team)
"""
BY_ACCOUNT = """
from pocketfleet import control
control.set_up_django()
from pocketfleet.actions.superusers import superusers_of
from pocketfleet.models import Audit, MadeSuperuser
rows = {row.email: row.user and row.user.username for row in MadeSuperuser.objects.all()}
assert rows["ana@example.org"] == "ana", rows
assert [name for email, name in rows.items() if email.startswith("ben+")] == ["ben"], rows
wanted = superusers_of("a" * 15)
assert sorted(each.email for each in wanted if not each.revoked)[0] == "ana@example.org"
# whose address nobody has, or who has another one there already, must go
assert [each.email[:4] for each in wanted if each.revoked] == ["ana+", "left"], wanted
verbs = list(Audit.objects.order_by("id").values_list("verb", flat=True))
assert verbs[:3] == ["invite", "invite_to_sign_up", "withdraw_sign_up_invitation"], verbs
"""


def test_superusers_known_by_address_are_their_peoples(environment: dict[str, str]) -> None:
    for program in (["-c", BY_ADDRESS], ["-m", "pocketfleet.control", "prepare"], ["-c", BY_ACCOUNT]):
        subprocess.run([sys.executable, *program], env=environment, check=True, stdout=subprocess.DEVNULL, timeout=90)
