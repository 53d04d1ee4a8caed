"""Control in a thread of the test's process, on a home of its own, and the database for the test to act on."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import socket
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
from django.test import override_settings

from pocketfleet import control, sealing
from pocketfleet.config import Config, load

control.set_up_django()

from django.core.cache import cache  # noqa: E402
from django.db import connection  # noqa: E402
from django.db.models import Max  # noqa: E402
from django.utils import timezone  # noqa: E402

from pocketfleet.actions import instances, observations, releases, sign_in, teams, tokens  # noqa: E402
from pocketfleet.actions.operations import move_operation  # noqa: E402
from pocketfleet.actions.releases import Offered  # noqa: E402
from pocketfleet.domain.states import OperationState, Process  # noqa: E402
from pocketfleet.models import Instance, Operation, User  # noqa: E402
from pocketfleet.web import preparation  # noqa: E402

OPERATOR_TOKEN = "pfo_" + "t" * 43
RELEASES = ("0.22.27", "0.23.12", "0.30.4", "0.36.9", "0.40.5", "0.40.6")


def make_template(folder: Path) -> Path:
    """A database with nothing but the operator and a small catalogue, to be copied for each test."""
    with tables_of(load({}, home=folder)) as config:
        preparation.migrate(config)
        sign_in.make_operator()
        releases.record_offers("pypi", [Offered(version) for version in RELEASES])
        connection.close()
        return config.sqlite_file


@contextlib.contextmanager
def tables_of(config: Config) -> Iterator[Config]:
    """Django's default database is that of this configuration, in every thread."""
    settings, before = connection.settings_dict, dict(connection.settings_dict)
    connection.close()
    settings["NAME"] = str(config.sqlite_file)
    # nobody pulls the plug in the middle of a test
    command = settings["OPTIONS"]["init_command"].replace("synchronous=FULL", "synchronous=OFF")
    settings["OPTIONS"] = settings["OPTIONS"] | {"init_command": command}
    with override_settings(CONFIG=config):
        try:
            yield config
        finally:
            connection.close()
            settings.update(before)


def fresh_tables(template: Path, config: Config) -> None:
    """A copy of the template in this home, and the operator's token of this start; nobody has tried anything yet."""
    cache.clear()
    shutil.copyfile(template, config.sqlite_file)
    sealing.make(config.sealing_key_path)
    config.operator_file.write_text(json.dumps({"url": config.public_url, "token": OPERATOR_TOKEN}))


class Served:
    """A running control: `operator` is a client with the operator's token, `stranger` one without any."""

    def __init__(self, config: Config, listening: socket.socket | None = None) -> None:
        self.config = config
        self._listening = listening or control.bound_socket(config.control_socket)
        self.server = control.make_server(config)
        self.thread = threading.Thread(target=self._run, name="control")
        self.thread.start()
        self.operator = self.client(authorization=f"Bearer {OPERATOR_TOKEN}")
        self.stranger = self.client()

    def _run(self) -> None:
        asyncio.run(self.server.serve(sockets=[self._listening]))

    def client(self, **headers: str) -> httpx.Client:
        """A client of its own, through the socket."""
        transport = httpx.HTTPTransport(uds=str(self.config.control_socket), verify=False)
        return httpx.Client(transport=transport, base_url=self.config.public_url, headers=headers, timeout=20)

    def operator_user(self) -> User:
        """The operator."""
        operator = sign_in.find_operator()
        assert operator is not None
        return operator

    def link(self, seconds: int = 3600, user: User | None = None) -> str:
        """The path of a fresh sign-in link; of the operator's, where nobody is named."""
        user = user or self.operator_user()
        return f"/sign-in/{sign_in.make_link(user, seconds=seconds, acting_user=None)}"

    def browser(self, user: User | None = None) -> Browser:
        """A client that has signed in by a link: the operator, where nobody is named."""
        return Browser(self, user)

    def bearer(self, user: User, **scope: Any) -> httpx.Client:
        """A client with a token of this person, of that scope."""
        _, secret = tokens.create_token("test", acting_user=user, **scope)
        return self.client(authorization=f"Bearer {secret}")

    def stop(self) -> None:
        """End, as SIGTERM would."""
        self.server.leave()
        self.thread.join(20)
        assert not self.thread.is_alive(), "control did not end"
        self._listening.close()


class Browser:
    """A session: cookies, and the CSRF token of the last page."""

    def __init__(self, served: Served, user: User | None = None) -> None:
        self.http = served.client(origin=served.config.public_url)
        answer = self.http.get(served.link(user=user))
        assert answer.status_code == 302, answer.text

    def csrf(self) -> str:
        """The token that the forms of the page carry."""
        return self.http.get("/").text.partition('name="csrfmiddlewaretoken" value="')[2].partition('"')[0]

    def post(self, path: str, **fields: str) -> httpx.Response:
        """Send a form as the page would."""
        return self.http.post(path, data={"csrfmiddlewaretoken": self.csrf(), **fields})


def make_person(name: str, *, operator: bool = False) -> User:
    """Somebody with an account, an address and a team of their own."""
    person = User.objects.create(username=name, email=f"{name}@example.org", is_superuser=operator)
    teams.own_team(person)
    return person


def make_instance(
    name: str, *, state: str = "asleep", reason: str = "", release: str = "0.40.6", team: str | None = None
) -> Instance:
    """An instance that node has made, in this state."""
    made, operation = instances.create_instance(
        name,
        email="owner@example.org",
        password="correct horse",
        version_range=f"~{release}",
        team=team,
        acting_user=None,
    )
    if state == "creating":
        return made
    finish(operation)
    observations.mark_ready(made.id)
    if state == "off":
        instances.set_power(made.id, "off", acting_user=None)
    elif state not in ("asleep", "suspended"):
        show_process(made.id, state, reason)
    if state == "suspended":
        Instance.objects.filter(id=made.id).update(suspended=reason or "it sent mail to strangers")
    made.refresh_from_db()
    observations.record_observed({made.id: made.generation})
    made.refresh_from_db()
    return made


def make_many(count: int) -> None:
    """Many sleeping instances, quickly."""
    first = (Instance.objects.aggregate(last=Max("number"))["last"] or 0) + 1
    Instance.objects.bulk_create(
        Instance(
            id=f"many{number:011d}",
            name=f"many-{number:04d}",
            number=first + number,
            range="~0.40.6",
            release="0.40.6",
            ready=True,
            observed_generation=1,
        )
        for number in range(count)
    )


def show_process(instance_id: str, process: str, reason: str = "") -> None:
    """What node would write down."""
    awake_since = timezone.now() if process == Process.AWAKE else None
    seen = observations.Seen(instance_id, Process(process), reason=reason, awake_since=awake_since)
    observations.record_processes([seen])


def finish(operation: Operation, state: OperationState = OperationState.SUCCEEDED, **fields: Any) -> None:
    """What node would write down when it has done its work."""
    move_operation(operation.id, OperationState.RUNNING)
    move_operation(operation.id, state, **fields)


def short_home() -> Path:
    """A folder whose path is short enough for unix sockets."""
    return Path(tempfile.mkdtemp(prefix="pf-", dir="/tmp"))
