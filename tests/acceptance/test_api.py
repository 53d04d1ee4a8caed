"""The REST API as another program uses it: OpenAPI offline, problems, tokens, an operation's progress."""

from __future__ import annotations

import json
import re
from typing import Any

import httpx
import pytest

from tests.server import Server


@pytest.fixture
def stranger(server: Server) -> httpx.Client:
    """Somebody who is not signed in."""
    client = server.api
    del client.headers["authorization"]
    return client


def test_openapi_is_served_offline_and_lists_the_routes(server: Server, stranger: httpx.Client) -> None:
    answer = stranger.get("/openapi.json")
    assert answer.status_code == 200
    document = answer.json()
    assert document["openapi"].startswith("3.")
    paths = set(document["paths"])
    for path in ("/instances", "/releases", "/operations", "/tokens"):
        assert any(known.endswith(path) for known in paths), paths
    assert re.findall(r"https?://(?!localhost|127\.)[^\s\"']*(?:cdn|unpkg|jsdelivr)", answer.text) == []


@pytest.mark.parametrize(
    "path", ["/instances", "/instances/shop", "/releases", "/operations", "/tokens", "/me", "/server", "/events"]
)
def test_nothing_is_told_to_strangers(stranger: httpx.Client, path: str) -> None:
    answer = stranger.get(path)
    assert answer.status_code == 401, answer.text
    assert answer.headers["content-type"].startswith("application/problem+json")
    assert answer.json()["code"] == "not_signed_in"


@pytest.mark.parametrize("token", ["pfo_", "pfo_" + "x" * 43, "pft_" + "x" * 43, "é", "x" * 5000])
def test_a_wrong_token_is_refused(stranger: httpx.Client, token: str) -> None:
    headers = {"authorization": f"Bearer {token}".encode()}
    answer = stranger.get("/instances", headers=headers)  # type: ignore[arg-type]  # bytes are what is sent
    assert answer.status_code == 401, answer.text


@pytest.mark.parametrize("method, path", [("GET", "/nonsense"), ("GET", "/instances/nosuch"), ("PUT", "/instances")])
def test_an_error_is_a_problem_with_a_plain_sentence(server: Server, method: str, path: str) -> None:
    answer = server.api.request(method, path)
    assert answer.status_code in (404, 405)
    assert answer.headers["content-type"].startswith("application/problem+json"), answer.text
    problem = answer.json()
    assert problem["status"] == answer.status_code
    assert problem["title"]
    assert problem["code"]


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b'{"name": "a", "name": 3}', b"\xff\xfe", b"x" * 100_000])
def test_a_broken_body_is_refused(server: Server, body: bytes) -> None:
    answer = server.api.post("/instances", content=body, headers={"content-type": "application/json"})
    assert 400 <= answer.status_code < 500, answer.text
    assert answer.headers["content-type"].startswith("application/problem+json")


def test_an_operations_progress_is_a_stream_that_ends(server: Server) -> None:
    operation = server.api.post("/instances", json={"name": "streamed"}).json()["operation"]
    states: list[dict[str, Any]] = []
    with server.api.stream("GET", f"/operations/{operation['id']}/events", timeout=30) as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        for line in stream.iter_lines():
            if line.startswith("data:"):
                states.append(json.loads(line[5:]))
    assert states[-1]["state"] == "succeeded"
    assert states[-1]["finished_at"]
    assert [step["state"] for step in states[-1]["steps"]] == ["done"] * len(states[-1]["steps"])


def test_a_change_is_told_to_whoever_listens(server: Server) -> None:
    server.create("watched")
    with server.api.stream("GET", "/events", timeout=30) as stream:
        lines = stream.iter_lines()
        server.api.patch("/instances/watched", json={"idle_timeout": 20}).raise_for_status()
        for line in lines:
            if line.startswith("data:") and server.show("watched")["id"] in line:
                break


def test_an_intent_can_be_waited_for(server: Server) -> None:
    server.create("intended")
    answer = server.api.patch("/instances/intended", params={"wait": 20}, json={"power": "off"}).json()
    assert answer["observed_generation"] >= answer["generation"]
    assert answer["state"] == "off"


def test_one_operation_at_a_time(server: Server) -> None:
    made = server.create("busy")
    answers = [server.api.post("/instances/busy/sleep") for _ in range(2)]
    assert answers[0].status_code == 202
    if answers[1].status_code == 409:
        assert answers[1].json()["code"] == "operation_open"
    else:
        assert answers[1].status_code == 202, answers[1].text
    for answer in answers:
        if answer.status_code == 202:
            server.finished(answer.json()["operation"]["id"])
    listed = server.api.get(f"/instances/{made['id']}/operations").json()["items"]
    assert {"create", "sleep"} <= {item["kind"] for item in listed}


def test_listing_is_paged_and_searched(server: Server) -> None:
    for number in range(3):
        server.create(f"paged-{number}")
    page = server.api.get("/instances", params={"search": "paged-", "limit": 2, "offset": 0}).json()
    assert (page["total"], len(page["items"])) == (3, 2)
    rest = server.api.get("/instances", params={"search": "paged-", "limit": 2, "offset": 2}).json()["items"]
    assert {item["name"] for item in page["items"] + rest} == {"paged-0", "paged-1", "paged-2"}


def test_the_operators_page_needs_a_sign_in_and_asks_nobody_else(server: Server) -> None:
    with httpx.Client(
        base_url=f"http://127.0.0.1:{server.port}", headers={"host": f"localhost:{server.port}"}, trust_env=False
    ) as browser:
        first = browser.get("/", headers={"accept": "text/html"})
        assert first.status_code in (302, 303), first.text[:500]
        link = next(word for word in server.said().split() if word.startswith("http") and "sign" in word)
        path = link.split(f":{server.port}", 1)[1]
        inside = browser.get(path, headers={"accept": "text/html"}, follow_redirects=True)
        assert inside.status_code == 200, inside.text[:500]
        page = browser.get("/", headers={"accept": "text/html"})
        assert page.status_code == 200
        assert re.findall(r"(?:src|href)=[\"'](?:https?:)?//(?!(?:[a-z0-9-]+\.)?localhost)[^\"']*", page.text) == []
        browser.cookies.clear()
        again = browser.get(path, headers={"accept": "text/html"}, follow_redirects=True)
        assert "sessionid" not in browser.cookies, "the link works twice"
        assert again.status_code in (200, 400, 403, 404, 410)
