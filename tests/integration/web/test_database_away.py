"""The database is out of reach: an honest 503 that says when to ask again, and all is well once it is back."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import httpx
import pytest

from pocketfleet.config import Config
from tests.integration.web.served import Served, make_instance

WAYS = [
    ("GET", "/api/v1/instances", {}),
    ("POST", "/api/v1/instances", {"json": {"name": "shop"}}),
    ("GET", "/api/v1/instances/shop", {}),
    ("POST", "/api/v1/uploads", {"content": b"x" * 100}),
    ("GET", "/api/v1/instances/shop/backups/nightly.zip", {}),
]


@contextlib.contextmanager
def away(config: Config) -> Iterator[None]:
    """SQLite cannot open what is there, as where a disk went or PostgreSQL is down."""
    aside = config.sqlite_file.with_suffix(".aside")
    config.sqlite_file.rename(aside)
    config.sqlite_file.mkdir()
    try:
        yield
    finally:
        config.sqlite_file.rmdir()
        aside.rename(config.sqlite_file)


def check(answer: httpx.Response) -> None:
    assert (answer.status_code, answer.headers.get("retry-after")) == (503, "5"), answer.text
    assert "unable to open" not in answer.text


@pytest.mark.parametrize(("method", "path", "sent"), WAYS)
def test_the_api_says_so(served: Served, config: Config, method: str, path: str, sent: dict[str, object]) -> None:
    make_instance("shop")
    with away(config):
        answer = served.operator.request(method, path, **sent)  # type: ignore[arg-type]
    check(answer)
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] == "database_away"
    assert served.operator.get("/api/v1/instances/shop").status_code == 200


@pytest.mark.parametrize("token", ["pf_" + "x" * 43, "pfo_" + "t" * 43])
def test_so_it_does_before_it_knows_who_asks(served: Served, config: Config, token: str) -> None:
    with away(config):
        check(served.stranger.get("/api/v1/instances", headers={"authorization": f"Bearer {token}"}))


@pytest.mark.parametrize("part", [{}, {"HX-Request": "true"}])
def test_people_get_a_page(served: Served, config: Config, part: dict[str, str]) -> None:
    with away(config):
        answer = served.stranger.get("/", headers={"cookie": "pocketfleet_session=" + "x" * 32, **part})
    check(answer)
    assert answer.headers["content-type"].startswith("text/html")
    assert "does not answer at the moment" in answer.text
