"""Redaction: what opens a door is hidden, whatever surrounds it; hostile text costs no more than its length."""

from __future__ import annotations

import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pocketfleet.domain.redaction import HIDDEN, redact

JWT = "eyJhbGciOiJIUzI1NiJ9.eyJpZCI6ImFiYyIsInR5cGUiOiJhdXRoIn0.T3zZ6Kf1o-_XyW8jv0m1"
URL_SAFE = st.text("abcXYZ019_-", min_size=5, max_size=30)
PIECES = st.sampled_from(
    [
        "eyJ",
        ".",
        JWT,
        "/_/",
        "#/pbinstal/",
        "Authorization: ",
        "Bearer ",
        "?token=",
        "&",
        " ",
        "\n",
        "pfo_",
        HIDDEN,
        "é",
    ]
)


@given(URL_SAFE, URL_SAFE, URL_SAFE, st.text(max_size=20), st.text(max_size=20))
@example("hbGci", "eyJpZCI", "sig--", "%3D", "%26")
@example("hbGci", "eyJpZCI", "sig--", "\\n", "\\n")
@example("hbGci", "eyJpZCI", "sig--", "token", ".more")
def test_a_token_is_hidden_wherever_it_stands(head: str, body: str, signature: str, before: str, after: str) -> None:
    shown = redact(f"{before}eyJ{head}.{body}.{signature}{after}")
    assert f"{body}.{signature}" not in shown
    assert HIDDEN in shown


@given(st.lists(PIECES | st.text(max_size=10), max_size=12).map("".join))
@example("eyJaaaaa.bbbbb.eyJccccc.ddddd.eeeee")
@example("\ud800")
def test_it_never_throws_and_once_is_enough(text: str) -> None:
    once = redact(text)
    assert JWT not in once
    assert redact(once) == once


@pytest.mark.parametrize(
    ("line", "secret"),
    [
        (f"http://127.1.0.1:8090/_/#/pbinstal/{JWT}", JWT),
        ("(!) http://0.0.0.0:8090/_/#/pbinstal/opaque-token-of-another-form", "opaque-token-of-another-form"),
        ("GET /api/files/a/b/c.png?token=s3cr3t-file-token&thumb=1", "s3cr3t-file-token"),
        ("GET /x?a=1&access_token=abcdefgh", "abcdefgh"),
        ("authorization: Bearer abcdefgh12345678", "abcdefgh12345678"),
        ("Authorization abcdefgh12345678", "abcdefgh12345678"),
        ("Authorization: Basic dXNlcjpwYXNz", "dXNlcjpwYXNz"),
        ('{"Authorization":"Bearer abcdefgh12345678"}', "abcdefgh12345678"),
        ("{'authorization': 'abcdefgh12345678'}", "abcdefgh12345678"),
        ("our own pfo_abcdefghijklmnop-_123 here", "pfo_abcdefghijklmnop"),
    ],
)
def test_known_forms(line: str, secret: str) -> None:
    assert secret in line
    assert secret not in redact(line)


@pytest.mark.parametrize(
    "line",
    [
        "2026/01/01 00:00:00 Server started at http://127.1.0.1:8090",
        "├─ REST API:  http://127.1.0.1:8090/api/",
        "GET /api/collections/posts/records?page=1&perPage=30",
        "TypeError: undefined is not a function at pb_hooks/main.pb.js:12:5",
        "eyJ is how tokens begin",
        "the authorization failed",
        "",
    ],
)
def test_ordinary_lines_stay_as_they_are(line: str) -> None:
    assert redact(line) == line


def test_what_follows_stays_readable() -> None:
    assert redact(f"GET /f.png?token={JWT}&thumb=1 200") == f"GET /f.png?token={HIDDEN}&thumb=1 200"


@pytest.mark.parametrize(
    "unit",
    [
        "eyJ", "eyJaaaaa.", "eyJaaaaa.bbbbb.", "a", "a.", "/_/", "/_/#/pbinstal/", "authorization", "authorization ",
        "Bearer ", "?token=", "pfo_", " ", "authorization: bearer ",
    ],
)  # fmt: skip
def test_a_megabyte_of_malice_takes_no_longer_than_its_length(unit: str) -> None:
    text = unit * (1_000_000 // len(unit))
    start = time.process_time()
    redact(text)
    redact("authorization" + text)
    assert time.process_time() - start < 5
