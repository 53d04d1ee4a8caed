"""Every route of the API, as whoever may knock: strangers, tokens, sessions with and without CSRF."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any, cast

import httpx
import pytest
from django.utils import timezone

from pocketfleet.actions.tokens import digest
from pocketfleet.domain.states import OperationState
from pocketfleet.models import (
    Backup,
    Instance,
    Invitation,
    Membership,
    Operation,
    Rehearsal,
    Snapshot,
    Team,
    Upload,
    User,
)
from pocketfleet.web.urls import urlpatterns
from tests.integration.web.served import Served, make_instance

PREFIX = "/api/v1"
PROBLEM = "application/problem+json"
#: (method, path with a name in it, body) of every route; a test below says that none is missing.
ROUTES: list[tuple[str, str, Any]] = [
    ("GET", "/server", None),
    ("GET", "/me", None),
    ("POST", "/sign-in-links", {}),
    ("GET", "/instances", None),
    ("POST", "/instances", {"name": "fresh"}),
    ("GET", "/instances/{ref}", None),
    ("PATCH", "/instances/{ref}", {"power": "on"}),
    ("DELETE", "/instances/{ref}", None),
    ("POST", "/instances/{ref}/sleep", {}),
    ("GET", "/instances/{ref}/usage", None),
    ("POST", "/instances/{ref}/upgrade", {"rehearse_only": True}),
    ("POST", "/instances/{ref}/rollback", {}),
    ("GET", "/instances/{ref}/rehearsals", None),
    ("GET", "/rehearsals/{rehearsal_id}", None),
    ("GET", "/instances/{ref}/probes", None),
    ("PUT", "/instances/{ref}/probes", {"items": [{"path": "/api/health"}]}),
    ("GET", "/instances/{ref}/snapshots", None),
    ("POST", "/instances/{ref}/snapshots", {"note": "before the sale"}),
    ("DELETE", "/instances/{ref}/snapshots/{snapshot_id}", None),
    ("GET", "/instances/{ref}/backups", None),
    ("POST", "/instances/{ref}/backups", {"full": True}),
    ("POST", "/instances/{ref}/backups/{name}/verify", {}),
    ("DELETE", "/instances/{ref}/backups/{name}", None),
    ("GET", "/instances/{ref}/backups/{name}/file", None),
    ("POST", "/uploads", {}),
    ("POST", "/instances/{ref}/restore", {"backup": "one.zip"}),
    ("POST", "/instances/{ref}/clone", {"name": "copy"}),
    ("POST", "/imports", {"name": "imported", "upload": "uploaded1234567"}),
    ("GET", "/instances/{ref}/events", None),
    ("GET", "/instances/{ref}/secrets", None),
    ("PATCH", "/instances/{ref}/secrets", {"KEY": "value"}),
    ("GET", "/instances/{ref}/logs", None),
    ("GET", "/instances/{ref}/logs/events", None),
    ("GET", "/instances/{ref}/operations", None),
    ("POST", "/instances/{ref}/move", {"team": "team12345678901"}),
    ("GET", "/addresses", None),
    ("PUT", "/addresses", {"network": "203.0.113.7", "listing": "deny"}),
    ("DELETE", "/addresses", None),
    ("GET", "/teams", None),
    ("POST", "/teams", {"name": "Bakery"}),
    ("GET", "/teams/{team_id}", None),
    ("PATCH", "/teams/{team_id}", {"name": "Renamed", "awake_limit": 3}),
    ("DELETE", "/teams/{team_id}", None),
    ("PATCH", "/teams/{team_id}/members/{user_id}", {"role": "maintainer"}),
    ("DELETE", "/teams/{team_id}/members/{user_id}", None),
    ("GET", "/teams/{team_id}/invitations", None),
    ("POST", "/teams/{team_id}/invitations", {"email": "guest@example.org"}),
    ("DELETE", "/teams/{team_id}/invitations/{invitation_id}", None),
    ("POST", "/invitations/accept", {"secret": "open sesame"}),
    ("GET", "/teams/{team_id}/audit", None),
    ("GET", "/audit", None),
    ("GET", "/operations", None),
    ("GET", "/operations/{operation_id}", None),
    ("GET", "/operations/{operation_id}/events", None),
    ("GET", "/releases", None),
    ("POST", "/releases/refresh", {}),
    ("POST", "/releases/{version}/fetch", {}),
    ("GET", "/ranges", None),
    ("GET", "/tokens", None),
    ("POST", "/tokens", {"name": "laptop"}),
    ("DELETE", "/tokens/{token_id}", None),
    ("GET", "/events", None),
]
REHEARSAL = "rehearsed123456"
SNAPSHOT = "snapshot1234567"
TEAM = "team12345678901"
UNSAFE = [route for route in ROUTES if route[0] != "GET"]


def filled(path: str, operation_id: str = "nothing", token_id: str = "1") -> str:
    """The address of a route."""
    ids = {"operation_id": operation_id, "token_id": token_id, "rehearsal_id": REHEARSAL}
    ids |= {"team_id": TEAM, "user_id": "2", "invitation_id": "invited12345678"}
    ids |= {"snapshot_id": SNAPSHOT, "name": "one.zip"}
    return PREFIX + path.format(ref="shop", version="0.40.6", **ids)


def make_shop(served: Served, name: str = "shop", *, ids: bool = True, **fields: Any) -> Instance:
    """An instance that was upgraded once, and that nobody works on; `ids`: with the ids that the routes name."""
    shop = make_instance(name, **fields)
    if not ids:
        return shop
    Snapshot.objects.create(id=SNAPSHOT, instance=shop, purpose="checkpoint", release="0.36.9")
    Backup.objects.create(instance=shop, name="one.zip", purpose="manual", release="0.36.9", sha256="0" * 64)
    if shop.team is not None:
        Upload.objects.create(id="uploaded1234567", team=shop.team, size=3, sha256="0" * 64)
    path = served.config.backups / shop.id / "one.zip"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"zip")
    Rehearsal.objects.create(
        id=REHEARSAL, instance=shop, operation_id="x", from_release="0.36.9", to_release="0.40.6", verdict="safe"
    )
    return shop


def make_members() -> None:
    """A team with somebody in it, and an open invitation."""
    team = Team.objects.create(id=TEAM, name="Acme")
    somebody = User.objects.create(id=2, username="somebody")
    Membership.objects.create(team=team, user=somebody)
    later = timezone.now() + timedelta(days=1)
    Invitation.objects.create(team=team, email="a@example.org", digest=digest("open sesame"), expires_at=later)


def ask(client: httpx.Client, method: str, path: str, body: Any, **headers: str | bytes) -> httpx.Response:
    """The answer, without the rest of a stream."""
    content = None if body is None else json.dumps(body)
    with client.stream(method, path, content=content, headers=cast(dict[str, str], headers)) as answer:
        if not answer.headers.get("content-type", "").startswith("text/event-stream"):
            answer.read()
        return answer


def is_problem(answer: httpx.Response, status: int) -> bool:
    """Whether it is a problem as RFC 9457 has it, with our own code and a sentence."""
    content = answer.json()
    right_type = answer.headers["content-type"] == PROBLEM
    return (
        right_type and answer.status_code == status == content["status"] and bool(content["code"] and content["detail"])
    )


def test_every_route_is_in_openapi_and_in_this_list(served: Served) -> None:
    schema = served.stranger.get(f"{PREFIX}/openapi.json").json()
    described = {
        (method.upper(), path.removeprefix(PREFIX)) for path, methods in schema["paths"].items() for method in methods
    }
    assert described == {(method, path) for method, path, _ in ROUTES}
    names = [operation["operationId"] for methods in schema["paths"].values() for operation in methods.values()]
    assert len(names) == len(set(names)) == len(ROUTES)
    for methods in schema["paths"].values():
        for operation in methods.values():
            assert operation["summary"]
            assert operation["security"]
            assert PROBLEM in operation["responses"]["401"]["content"]
    served_paths = [str(pattern.pattern) for pattern in urlpatterns]
    assert "api/v1/" in served_paths


def test_strangers_are_told_to_sign_in(served: Served) -> None:
    make_instance("shop")
    wrong = ("Bearer", "Bearer pf_wrong", "Bearer pfo_wrong", "Basic b3A6b3A=", "pf_x", b"Bearer \xff")
    for method, path, body in ROUTES:
        answer = ask(served.stranger, method, filled(path), body)
        assert is_problem(answer, 401), (method, path)
        assert answer.headers["www-authenticate"].startswith("Bearer")
        for header in wrong:
            refused = ask(served.stranger, method, filled(path), body, authorization=header)
            assert is_problem(refused, 401), (method, path, header)


def test_a_token_opens_every_route(served: Served) -> None:
    made = served.operator.post(f"{PREFIX}/tokens", json={"name": "laptop", "expires_in_days": 1}).json()
    assert made["token"].startswith("pf_")
    client = served.client(authorization=f"Bearer {made['token']}")
    make_shop(served)
    make_members()
    operation_id = served.operator.get(f"{PREFIX}/operations").json()["items"][0]["id"]
    for method, path, body in ROUTES:
        if method == "DELETE":
            continue
        Operation.objects.update(state=OperationState.SUCCEEDED)
        answer = ask(client, method, filled(path, operation_id), body)
        assert answer.is_success, (method, path, answer.status_code)
    assert ask(client, "DELETE", filled("/instances/{ref}"), None).status_code == 409
    assert ask(client, "DELETE", filled("/tokens/{token_id}", token_id=str(made["id"])), None).status_code == 204
    assert ask(client, "GET", f"{PREFIX}/me", None).status_code == 401


def test_a_session_needs_its_csrf_token_to_change_anything(served: Served) -> None:
    make_instance("shop")
    browser = served.browser()
    tenant = {"origin": "http://shop.localhost:8099"}
    for method, path, body in UNSAFE:
        assert is_problem(ask(browser.http, method, filled(path), body), 403), (method, path)
        assert is_problem(ask(browser.http, method, filled(path), body, **{"x-csrftoken": "x" * 64}), 403)
        token = {"x-csrftoken": browser.csrf()}
        # an instance's page is of the same site, and must not pass for the dashboard
        assert is_problem(ask(browser.http, method, filled(path), body, **token, **tenant), 403), (method, path)
        answer = ask(browser.http, method, filled(path), body, **token)
        assert answer.status_code not in (401, 403), (method, path)


def test_a_session_reads_without_more_ado(served: Served) -> None:
    make_instance("shop")
    browser = served.browser()
    assert ask(browser.http, "GET", f"{PREFIX}/instances/shop", None).json()["name"] == "shop"
    me = {"name": "operator", "operator": True, "token": None}
    assert ask(browser.http, "GET", f"{PREFIX}/me", None).json() == me


@pytest.mark.parametrize("path", ["/nothing", "/instances/shop/nothing", "/tokens/abc", "", "/"])
def test_what_is_not_there_is_a_problem_too(served: Served, path: str) -> None:
    assert is_problem(served.operator.get(PREFIX + path), 404)


@pytest.mark.parametrize(("method", "path"), [("PUT", "/instances"), ("DELETE", "/me"), ("POST", "/instances/shop")])
def test_a_wrong_method_is_a_problem_that_names_the_right_ones(served: Served, method: str, path: str) -> None:
    answer = served.operator.request(method, PREFIX + path)
    assert is_problem(answer, 405)
    assert "GET" in answer.headers["allow"]


def test_another_host_is_refused(served: Served) -> None:
    for host in ("evil.example", "shop.localhost", "localhost.evil.example", "", "localhost:8099/../x"):
        answer = ask(served.operator, "GET", f"{PREFIX}/me", None, host=host)
        assert is_problem(answer, 400), host
    assert ask(served.operator, "GET", f"{PREFIX}/me", None, host="localhost").status_code == 200


def test_every_answer_guards_the_page(served: Served) -> None:
    for path in ("/", "/sign-in", "/nothing", f"{PREFIX}/me", f"{PREFIX}/openapi.json", "/static/nothing.js"):
        headers = served.stranger.get(path).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-frame-options"] == "DENY"
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "same-origin"
        assert headers["cache-control"] == "no-store"
        assert "access-control-allow-origin" not in headers
