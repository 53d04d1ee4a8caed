"""What hostile clients send: never a 500, never a traceback, always a problem that says what is wrong."""

from __future__ import annotations

import json
import socket
from typing import NoReturn

import pytest
from django.db import DataError

from pocketfleet.models import Change, Instance, Operation
from pocketfleet.web import reading
from tests.integration.web.served import Served, make_instance

API = "/api/v1"
DEEP = "[" * 100_000 + "]" * 100_000

BODIES = [
    b"",
    b"{",
    b"null",
    b"[]",
    b'"text"',
    b"\xff\xfe",
    DEEP.encode(),
    b'{"name": NaN}',
    b'{"name": "\\ud800"}',
    b'{"name": "a\\u0000b"}',
    b'{"name": 7}',
    b'{"name": ["shop"]}',
    b'{"name": {"$ne": 1}}',
    b'{"name": null}',
    b'{"nme": "shop"}',
    b'{"name": "shop", "unknown": 1}',
    b'{"name": "shop", "range": 40}',
    b'{"name": "shop", "range": "what"}',
    b'{"name": "shop", "range": "' + b"1" * 400 + b'"}',
    b'{"name": "shop", "range": "99.99.99"}',
    b'{"name": "shop", "email": "nobody"}',
    b'{"name": "shop", "email": "a@b.c\\r\\nBcc: x@y.z"}',
    b'{"name": "shop", "password": "short"}',
    b'{"name": "shop", "password": "' + b"x" * 100 + b'"}',
    b'{"name": "shop", "password": "with\\u0000nul inside"}',
    b'{"name": "shop", "settings": {"idle_timeout": -1}}',
    b'{"name": "shop", "settings": {"idle_timeout": true}}',
    b'{"name": "shop", "settings": {"root": true}}',
    b'{"name": "' + b"x" * 100_000 + b'"}',
    '{"name": "ünïcode"}'.encode(),
    b'{"name": "../../etc"}',
    b'{"name": "<script>alert(1)</script>"}',
    b'{"name": "xn--80ak6aa92e"}',
    b'{"name": "api"}',
    b'{"name": "abcdefghij12345"}',
]


def test_a_body_that_does_not_fit_makes_nothing(served: Served) -> None:
    for body in BODIES:
        answer = served.operator.post(f"{API}/instances", content=body)
        assert answer.status_code in (400, 422), (body[:80], answer.text[:300])
        problem = answer.json()
        assert problem["status"] == answer.status_code
        assert problem["detail"]
        assert len(answer.content) < 5000
        assert "Traceback" not in answer.text
        assert Instance.objects.count() == 0
        assert Operation.objects.count() == 0


PATCHES = [
    {"power": "sideways"},
    {"power": None},
    {"power": 1},
    {"name": None},
    {"name": "Not A Name"},
    {"name": "other"},
    {"idle_timeout": 0},
    {"idle_timeout": 1.5},
    {"idle_timeout": "60"},
    {"idle_timeout": 10**30},
    {"dev": "yes"},
    {"dev": None},
    {"range": None},
    {"release": "0.22.27"},
    {"generation": 99},
    {"power": "off", "name": "other"},
]


def test_a_change_that_does_not_fit_changes_nothing(served: Served) -> None:
    make_instance("other")
    shop = make_instance("shop")
    last = Change.objects.count()
    for changes in PATCHES:
        answer = served.operator.patch(f"{API}/instances/shop", json=changes)
        assert answer.status_code in (409, 422), (changes, answer.text)
        shop.refresh_from_db()
        assert (shop.name, shop.power, shop.generation) == ("shop", "on", shop.observed_generation), changes
        assert Change.objects.count() == last


SECRETS: list[object] = [
    {"lower": "x"},
    {"PATH": "/tmp"},
    {"LD_PRELOAD": "/tmp/x.so"},
    {"GODEBUG": "1"},
    {"KEY": 5},
    {"KEY": "a\0b"},
    {"KEY": "x" * 40_000},
    {f"KEY_{number}": "x" for number in range(300)},
    {"": "x"},
    [],
    None,
]


def test_secrets_that_do_not_fit_are_refused(served: Served) -> None:
    shop = make_instance("shop")
    for secrets in SECRETS:
        answer = served.operator.patch(f"{API}/instances/shop/secrets", content=json.dumps(secrets))
        assert answer.status_code == 422, answer.text
        assert "x" * 100 not in answer.text, "a value must not come back"
        shop.refresh_from_db()
        assert shop.secrets == {}


QUERIES = [
    "limit=0",
    "limit=9999999999999999999999",
    "limit=x",
    "offset=-1",
    "offset=99999999999999999999999",
    "search=" + "x" * 200,
]


def test_queries_that_do_not_fit_are_refused(served: Served) -> None:
    for query in QUERIES:
        assert served.operator.get(f"{API}/instances?{query}").status_code == 422, query


def test_odd_references_are_simply_not_found(served: Served) -> None:
    make_instance("shop")
    for reference in ("%00", "a%00b", "%F0%9F%90%B3", "x" * 3000, "..", "%2e%2e", "' OR 1=1--", "%25"):
        for path in (f"/instances/{reference}", f"/instances/{reference}/logs", f"/operations/{reference}"):
            assert served.operator.get(API + path).status_code == 404, path
        found = served.operator.get(f"{API}/instances?search={reference[:90]}").json()
        assert found == {"items": [], "total": 0}, reference
    assert served.operator.delete(f"{API}/tokens/{10**40}").status_code == 404


def test_a_body_too_large_is_refused_before_it_is_read(served: Served) -> None:
    answer = served.operator.post(f"{API}/instances", content=b"x" * (3 * 1024 * 1024))
    assert answer.status_code == 413
    assert answer.json()["code"] == "too_large"

    def endless() -> object:
        for _ in range(3 * 1024):
            yield b"x" * 1024

    assert served.stranger.post(f"{API}/instances", content=endless()).status_code == 413  # type: ignore[arg-type]


def test_a_client_that_says_nonsense_harms_nobody(served: Served) -> None:
    for nonsense in (b"\x16\x03\x01\x02\x00", b"GET\r\n\r\n", b"POST / HTTP/1.1\r\nContent-Length: -5\r\n\r\n"):
        with socket.socket(socket.AF_UNIX) as raw:
            raw.settimeout(5)
            raw.connect(str(served.config.control_socket))
            raw.sendall(nonsense)
            raw.recv(1000)
    assert served.operator.get(f"{API}/me").status_code == 200


def test_secrets_and_passwords_never_come_out(served: Served) -> None:
    made = served.operator.post(
        f"{API}/instances", json={"name": "shop", "email": "ana@example.org", "password": "correct horse battery"}
    )
    assert made.status_code == 202
    assert made.json()["superuser"] == {"email": "ana@example.org", "password": None}
    served.operator.patch(f"{API}/instances/shop/secrets", json={"SMTP_PASSWORD": "hunter2hunter2"})
    texts = [
        served.operator.get(API + path).text
        for path in (
            "/instances",
            "/instances/shop",
            "/instances/shop/secrets",
            "/operations",
            "/instances/shop/operations",
        )
    ]
    texts += [made.text, served.browser().http.get("/").text]
    for text in texts:
        assert "hunter2" not in text
        assert "$2b$" not in text
        assert "correct horse" not in text
    assert "SMTP_PASSWORD" in texts[1]


def test_what_postgresql_alone_refuses_is_no_fault_of_the_server(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object, **kwargs: object) -> NoReturn:
        raise DataError("PostgreSQL text fields cannot contain NUL (0x00) bytes")

    browser = served.browser()
    monkeypatch.setattr(reading, "releases", refuse)
    answer = served.operator.get(f"{API}/releases?line=%00")
    assert (answer.status_code, answer.json()["code"]) == (422, "wrong_usage")
    assert browser.http.get("/releases").status_code == 422
