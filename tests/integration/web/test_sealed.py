"""Secrets in a real database: sealed wherever they lie, opened for a start, and a key that is changed or lost."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pocketfleet.config import load
from tests.integration.web.test_bell import postgresql as postgresql

VALUE = "not to be read by anybody"
#: An instance with two secrets, a clone of its row, a mail with a link; everything through the actions.
WRITE = f"""
from pocketfleet import control
control.set_up_django()
from datetime import timedelta
from pocketfleet.actions import account_mail, instances
from pocketfleet.models import Instance
for number, name in enumerate(("shop", "blog")):
    Instance.objects.create(id=name.ljust(15, "a"), name=name, number=number + 1, range="0.40.6", release="0.40.6")
    instances.change_secrets(name.ljust(15, "a"), {{"ONE": "{VALUE} 1", "TWO": "{VALUE} 2"}}, acting_user=None)
instances.change_secrets("shop".ljust(15, "a"), {{"ONE": None, "THREE": "{VALUE} 3"}}, acting_user=None)
account_mail.write_mail("a@example.org", "A link", "https://example.org/{VALUE}", keep=timedelta(hours=1))
"""
#: What node, the API, and who reads the journal see.
READ = """
import json
from pocketfleet import control
control.set_up_django()
from django.conf import settings
from pocketfleet.actions import account_mail, observations, sealed
from pocketfleet.errors import SecretsSealed
from pocketfleet.models import Audit, Change, Instance
from pocketfleet.web import reading
def opened(facts):
    try:
        return sealed.opened(facts.secrets)
    except SecretsSealed as error:
        return error.detail
print(json.dumps({
    "opened": {facts.name: opened(facts) for facts in observations.facts()},
    "mail": [mail.body for mail in account_mail.waiting_mail()],
    "shown": [reading.instance(settings.CONFIG, name)["secrets"] for name in ("shop", "blog")],
    "kept": [str(list(table.objects.values_list())) for table in (Audit, Change, Instance)],
}))
"""


class Server:
    """A home and its database, used by processes as a server's are."""

    def __init__(self, home: Path, url: str) -> None:
        self.home = home
        self.key = home / "sealing.key"
        self.environment = {**os.environ, **load({}, home=home, database_url=url).environment()}

    def run(self, *program: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, *program]
        return subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=90)

    def read(self) -> dict[str, Any]:
        done = self.run("-c", READ)
        assert done.returncode == 0, done.stderr
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def rotate(self, *options: str) -> Any:
        done = self.run("-m", "pocketfleet", "rekey", "--json", *options)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


@pytest.fixture(params=["sqlite", "postgresql"])
def server(request: pytest.FixtureRequest, home: Path) -> Server:
    made = Server(home, request.getfixturevalue("postgresql") if request.param == "postgresql" else "")
    for program in (["-m", "pocketfleet.control", "prepare"], ["-c", WRITE]):
        assert made.run(*program).returncode == 0
    return made


def test_sealed_at_rest_and_through_every_change_of_keys(server: Server) -> None:
    whole = {
        "shop": {"TWO": f"{VALUE} 2", "THREE": f"{VALUE} 3"},
        "blog": {"ONE": f"{VALUE} 1", "TWO": f"{VALUE} 2"},
    }
    seen = server.read()
    assert seen["opened"] == whole
    assert seen["mail"] == [f"https://example.org/{VALUE}"]
    assert seen["shown"] == [["THREE", "TWO"], ["ONE", "TWO"]]
    assert VALUE not in str(seen["kept"]), "no audit row, no Change row, no column"
    files = [path for path in server.home.rglob("*") if path.is_file()]
    assert [path for path in files if VALUE.encode() in path.read_bytes()] == []
    assert server.key.stat().st_mode & 0o777 == 0o600

    before = server.key.read_text()
    assert server.rotate() == {"sealed": 4, "lost": [], "forgotten": 0}
    assert server.key.read_text().endswith(before)
    assert server.rotate("--forget-old")["forgotten"] == 1
    assert before not in server.key.read_text()
    again = server.read()
    assert (again["opened"], again["mail"]) == (whole, seen["mail"])


@pytest.mark.parametrize("server", ["sqlite"], indirect=True)
def test_a_lost_key_stops_the_start_with_the_next_step_and_loses_nothing(server: Server) -> None:
    kept = server.key.read_text()
    for content, word in ((None, "Put it back"), ("A" * 43 + "=\n", "one more line")):
        server.key.unlink()
        if content:
            server.key.write_text(content)
        refused = server.run("-m", "pocketfleet.control", "prepare")
        assert refused.returncode == 1
        assert word in refused.stderr
        assert "rekey --lost" in refused.stderr
        if content is None:
            assert server.run("-m", "pocketfleet", "rekey").returncode == 1
            assert not server.key.exists(), "no other key takes its place by itself"
            server.key.touch()
    # back as one more line, it opens everything again
    server.key.write_text("A" * 43 + "=\n" + kept)
    assert server.read()["opened"]["blog"]["ONE"] == f"{VALUE} 1"
    # or it is given up, and what it sealed is named
    server.key.unlink()
    lost = ["blog ONE", "blog TWO", "shop THREE", "shop TWO"]
    assert sorted(server.rotate("--lost")["lost"]) == lost
    assert server.run("-m", "pocketfleet.control", "prepare").returncode == 0
    assert server.read()["opened"] == {"shop": {}, "blog": {}}
