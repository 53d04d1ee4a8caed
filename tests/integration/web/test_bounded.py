"""How much every page and every route of the API asks of the database: as little with many rows as with few."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from django.utils import timezone

from pocketfleet.config import load
from pocketfleet.domain.states import OperationState, StepState
from pocketfleet.models import (
    AccountMail,
    Backup,
    Event,
    Favourite,
    Instance,
    Invitation,
    Membership,
    Operation,
    Probe,
    Rehearsal,
    SignUpInvitation,
    Snapshot,
    Step,
    Team,
    Token,
    Upload,
    User,
)
from pocketfleet.models.usage import Usage
from tests.integration.web.served import Served, fresh_tables, short_home, tables_of
from tests.integration.web.test_pages import queries
from tests.integration.web.test_routes import PREFIX, ask
from tests.integration.web.test_walk import SHOP, World
from tests.integration.web.walk_routes import API, PAGES, Route

#: Streams ask for as long as they live; the sign-in of a dead link is no page.
_ROUTES = [
    route
    for route in (*API, *PAGES)
    if route.method == "GET" and not route.path.endswith("/events") and route.who not in ("a stream", "a dead link")
]
#: Rows of everything that there may be many of.
_MANY = 8


def name_of(route: Route) -> str:
    """`GET /instances`, as a program or as a browser asks for it."""
    return f"{'api' if route in API else 'page'} {route.path}"


def multiply(world: World, numbers: range) -> None:
    """One for each number of everything that somebody may see in Acme, and of everything that operators see."""
    team = world.team
    shop, owner = Instance.objects.get(name=SHOP), User.objects.get(username="owner")
    now, made = timezone.now(), {"range": "~0.40.0", "release": "0.36.9", "ready": True, "team": team}
    fleet = {n: Instance.objects.create(id=f"many{n:011d}", name=f"many-{n}", number=9000 + n, **made) for n in numbers}
    for number in numbers:
        user = User.objects.create(username=f"user{number}", email=f"u{number}@example.org")
        Membership.objects.create(team=team, user=user, role="maintainer")
        Membership.objects.create(team=Team.objects.create(name=f"Team {number}"), user=owner, role="owner")
    later = {"expires_at": now + timedelta(days=1)}
    kept: list[tuple[type, Callable[[int], dict[str, object]]]] = [
        (Snapshot, lambda n: {"instance": shop, "purpose": "manual", "release": "0.40.6", "note": f"note {n}"}),
        (Backup, lambda n: {"instance": shop, "name": f"{n}.zip", "purpose": "manual", "release": "0.40.6"}),
        (Event, lambda n: {"instance": shop, "kind": "upgraded", "text": f"Event {n}"}),
        (Probe, lambda n: {"instance": shop, "path": f"/api/{n}"}),
        (Usage, lambda n: {"instance": shop, "hour": now - timedelta(hours=n), "requests": n}),
        (Favourite, lambda n: {"instance": fleet[n], "user": owner}),
        (Token, lambda n: {"user": owner, "name": f"t{n}", "digest": f"t{n}", "hint": "pf_", "team": team}),
        (Invitation, lambda n: {"team": team, "email": f"{n}@x.org", "digest": f"{n}", "invited_by": owner, **later}),
        (SignUpInvitation, lambda n: {"email": f"{n}@x.org", "digest": f"{n}", "invited_by": owner, **later}),
        (AccountMail, lambda n: {"recipient": f"{n}@x.org", "subject": "Hello", "body": "Hello", **later}),
        (Upload, lambda n: {"team": team, "size": 1, "sha256": "0" * 64}),
    ]
    for table, row in kept:
        table.objects.bulk_create(table(**row(number)) for number in numbers)  # type: ignore[attr-defined]
    for number, instance in enumerate([shop] * len(numbers) + list(fleet.values())):
        work = Operation.objects.create(
            kind="upgrade",
            instance=instance,
            state=OperationState.SUCCEEDED if instance == shop else OperationState.RUNNING,
            params={"from": "0.36.9", "release": "0.40.6"},
            actor="owner",
            finished_at=now if instance == shop else None,
        )
        Step.objects.create(operation=work, position=0, name="fetch", state=StepState.DONE, started_at=now)
        Rehearsal.objects.create(
            instance=instance,
            operation_id=work.id,
            from_release="0.36.9",
            to_release="0.40.6",
            verdict="changed",
            reasons=[f"reason {number}"],
        )


@pytest.fixture(scope="module")
def asked(template: Path) -> dict[str, tuple[list[str], list[str]]]:
    """By route, the queries with two rows of each kind and with many."""
    home = short_home()
    config = load({}, home=home, port=8099)
    for folder in (config.edge, config.logs):
        folder.mkdir(parents=True)
    with tables_of(config):
        fresh_tables(template, config)
        served = Served(config)
        try:
            world = World(served)
            multiply(world, range(2))
            few = measure(world)
            multiply(world, range(2, _MANY))
            many = measure(world)
        finally:
            served.stop()
    shutil.rmtree(home, ignore_errors=True)
    return {name: (few[name], many[name]) for name in few}


def measure(world: World) -> dict[str, list[str]]:
    """The queries of each route, for who sees most of it."""
    found = {}
    for route in _ROUTES:
        operator = "operator" in route.path or route.path in ("/audit", "/operations")
        role = "operator" if operator else "owner"
        client = world.bearers[role] if route in API else world.browsers[role].http
        path = (PREFIX if route in API else "") + world.fill(route.path)
        with queries() as seen:
            answer: httpx.Response = ask(client, "GET", path, None)
        assert answer.status_code < 500, (route, answer.text)
        found[name_of(route)] = list(seen)
    return found


@pytest.mark.parametrize("name", [name_of(route) for route in _ROUTES])
def test_many_rows_take_no_more_queries_than_few(asked: dict[str, tuple[list[str], list[str]]], name: str) -> None:
    few, many = asked[name]
    assert len(many) <= len(few), "\n".join(many)
