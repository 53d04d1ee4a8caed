"""Every page and every route of the API, as everybody who may knock; the table is in walk_routes.py."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
from django.urls import URLPattern, URLResolver

from pocketfleet.actions import teams
from pocketfleet.domain.roles import Role
from pocketfleet.models import Membership, Snapshot
from pocketfleet.web.assets import assets
from pocketfleet.web.urls import urlpatterns
from tests.integration.web.served import Browser, Served, make_person
from tests.integration.web.test_routes import PREFIX, REHEARSAL, SNAPSHOT, ask, make_shop
from tests.integration.web.walk_routes import API, PAGES, ROLES, WHO, Route

SHOP = "shop-of-acme"


class World:
    """Acme's people with their browsers and tokens, their instance, and everything that an address may name."""

    def __init__(self, served: Served) -> None:
        self.served = served
        people = {name: make_person(name) for name in ("viewer", "maintainer", "owner", "outsider", "bystander")}
        people["operator"] = make_person("second-operator", operator=True)
        self.team = teams.create_team("Acme", acting_user=people["owner"])
        for name in ("viewer", "maintainer", "bystander"):
            role = name if name in set(Role) else Role.VIEWER
            Membership.objects.create(team=self.team, user=people[name], role=role)
        teams.create_team("Other", acting_user=people["outsider"])
        shop = make_shop(served, SHOP, team=self.team.id, state="off")
        invitation, secret = teams.invite(self.team.id, "guest@example.org", "viewer", acting_user=people["owner"])
        self.words = {
            "ref": SHOP,
            "team": self.team.id,
            "team_id": self.team.id,
            "user_id": str(people["bystander"].pk),
            "invitation_id": invitation.id,
            "secret": secret,
            "operation_id": shop.operations.order_by("created_at")[0].id,
            "rehearsal_id": REHEARSAL,
            "snapshot_id": SNAPSHOT,
            "name": "one.zip",
            "version": "0.40.6",
            "token_id": "999999",
            "link": "x",
            "mail_id": "999999",
            "number": "999999",
            "session_id": "999999",
            "pk": "999999",
            "key": "set-password",
            "uidb36": "zz",
        }
        known = {name: people[name] for name in ROLES if name in people}
        scope = {"team": self.team, "verbs": ["view", "operate"]}
        self.bearers = {name: served.bearer(person) for name, person in known.items()}
        self.bearers |= {"stranger": served.stranger, "token": served.bearer(people["owner"], **scope)}
        self.browsers = {name: Browser(served, person) for name, person in known.items()}
        self.cookies = {name: httpx.Cookies(browser.http.cookies) for name, browser in self.browsers.items()}
        self.csrf = {name: browser.csrf() for name, browser in self.browsers.items()}
        self._changed = False
        self._kept = Path(f"{served.config.sqlite_file}.kept")
        self._copy(served.config.sqlite_file, self._kept)

    def reset(self) -> None:
        """As it was in the beginning, sessions included, however much the last request changed."""
        if self._changed:
            self._copy(self._kept, self.served.config.sqlite_file)
            for name, browser in self.browsers.items():
                browser.http.cookies = httpx.Cookies(self.cookies[name])
        self._changed = False

    def api(self, role: str, route: Route) -> httpx.Response:
        """A route of the API, as this role's token asks for it."""
        self._begin(route)
        return ask(self.bearers[role], route.method, PREFIX + self.fill(route.path), self.fill(route.body))

    def _begin(self, route: Route) -> None:
        self.reset()
        # opening an invitation, or a page about signing in, leaves a note in a session
        self._changed = route.method != "GET" or "/invitations/" in route.path or "/account" in route.path

    @staticmethod
    def _copy(source: Path, target: Path) -> None:
        with sqlite3.connect(source) as read, sqlite3.connect(target) as written:
            read.backup(written)
        read.close()
        written.close()

    def fill(self, value: Any) -> Any:
        """An address or a body with the ids of this world."""
        if isinstance(value, dict):
            return {key: self.fill(each) for key, each in value.items()}
        words = self.words | {"name": assets()["app.css"].address} if "/static/" in str(value) else self.words
        return value.format(**words) if isinstance(value, str) else value

    def page(self, role: str, route: Route) -> httpx.Response:
        """A page, or a form of one, as this role's browser sends it."""
        self._begin(route)
        browser = self.browsers.get(role)
        client = browser.http if browser else self.bearers[role]
        path = self.fill(route.path)
        if route.method == "GET":
            return ask(client, "GET", path, None)
        form = {"csrfmiddlewaretoken": self.csrf.get(role, "x" * 64), **self.fill(route.body or {})}
        return client.post(path, data=form)


@pytest.fixture
def world(served: Served) -> World:
    """Acme and its people."""
    return World(served)


def test_every_route_of_the_api_is_in_the_table(served: Served) -> None:
    paths = served.stranger.get(f"{PREFIX}/openapi.json").json()["paths"]
    found = {(method.upper(), path.removeprefix(PREFIX)) for path, methods in paths.items() for method in methods}
    # a route has two rows where it depends on the body who may use it
    assert found == {(route.method, route.path) for route in API}


def addresses(patterns: Sequence[URLPattern | URLResolver], before: str = "/") -> set[str]:
    """Every address that is served, the API's left out, as the table writes it."""
    found: set[str] = set()
    for each in patterns:
        here = before + re.sub(r"\(\?P<(\w+)>[^)]*\)", r"{\1}", str(each.pattern).strip("^$"))
        if isinstance(each, URLPattern):
            found.add(re.sub(r"<\w+:(\w+)>", r"{\1}", here))
        elif here != "/api/v1/":
            found |= addresses(each.url_patterns, here)
    return found


def test_every_page_is_in_the_table() -> None:
    rows = {re.sub(r"\{link\}", "{secret}", route.path) for route in PAGES}
    assert addresses(urlpatterns) == rows


def expected(route: Route, role: str) -> int:
    """The status that this role should see of the API."""
    outcome = WHO[route.who][ROLES.index(role)]
    return route.done if outcome == "yes" else int(outcome)


@pytest.mark.parametrize("role", ROLES)
def test_the_api_as(world: World, role: str) -> None:
    wrong = []
    for route in API:
        answer = world.api(role, route)
        if answer.status_code != expected(route, role):
            wrong.append((route.method, route.path, answer.status_code, expected(route, role)))
        elif role == "outsider" and answer.is_success and "text/event-stream" not in answer.headers["content-type"]:
            # joining by the link's secret makes a member of them
            assert "accept" in route.path or not {SHOP, "Acme"} & set(re.findall(r"[\w-]+", answer.text)), route
    assert wrong == [], wrong


def page_expected(route: Route, role: str) -> int:
    """The status that this role should see of a page. Who has no session is sent to sign in, and may send no form."""
    if role in ("stranger", "token") and route.who != "everybody":
        special = {"a stream": 401, "signed out": 302, "a dead link": 410}
        return special.get(route.who, 302 if route.method == "GET" else 403)
    special = {"a stream": 200, "signed out": 302, "a dead link": 302}
    if route.who == "a member leaves":
        return {"viewer": 303, "maintainer": 303}.get(role, 409 if role == "owner" else 404)
    return special[route.who] if route.who in special else expected(route, role)


@pytest.mark.parametrize("role", ROLES)
def test_the_pages_as(world: World, role: str) -> None:
    wrong = []
    for route in PAGES:
        answer = world.page(role, route)
        if route.who == "oneself":
            assert answer.status_code < 500, route
            assert role == "owner" or SHOP not in answer.text, route
        elif answer.status_code != page_expected(route, role):
            wrong.append((route.method, route.path, answer.status_code, page_expected(route, role)))
        elif role == "outsider" and answer.status_code == 200 and "text/html" in answer.headers["content-type"]:
            assert "/invitations/" in route.path or SHOP not in answer.text, route
    assert wrong == [], wrong


def test_a_stranger_is_sent_to_sign_in_and_nowhere_else(world: World) -> None:
    for route in PAGES:
        answer = world.page("stranger", route)
        if answer.status_code == 302 and route.who != "oneself":
            # an invitation leads to the sign-up, which leads to the sign-in as well
            wanted = "/account/sign-up" if "/invitations/" in route.path else "/account/sign-in"
            assert answer.headers["location"].partition("?")[0] == wanted, route


def test_a_token_of_one_instance_finds_no_other_and_no_team(world: World) -> None:
    owner = world.team.memberships.get(role=Role.OWNER).user
    shop = world.team.instances.get()
    fresh = make_shop(world.served, "second", team=world.team.id, ids=False)
    client = world.served.bearer(owner, instances=[shop])
    assert client.get(f"{PREFIX}/instances/{SHOP}").status_code == 200
    assert client.get(f"{PREFIX}/instances/{fresh.name}").status_code == 404
    assert client.get(f"{PREFIX}/teams/{world.team.id}").status_code == 404
    assert [each["name"] for each in client.get(f"{PREFIX}/instances").json()["items"]] == [SHOP]
    assert client.get(f"{PREFIX}/teams").json()["items"] == []
    assert Snapshot.objects.filter(instance=shop).exists()
