"""Redaction: what opens a door is hidden, whatever surrounds it; hostile text costs no more than its length."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pocketfleet.domain.redaction import HIDDEN, redact, redact_all

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
        "Cookie: ",
        "Set-Cookie: a=b",
        '"password":"',
        "\\\\",
        '"',
        "'token': '",
        "PASSWORD=",
        "secret: ",
        "postgres://a:b@c",
        "://",
        "@",
        "/sign-in/abcdefghijklmnopqrst",
        "bearer ",
        "123456789",
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
        ("(!) Launch: HTTP://a/_/#/PBINSTAL/abcdefgh", "abcdefgh"),
        ("https://a/_/#%2Fpbinstal%2Fabcdefgh", "abcdefgh"),
        ("Bearer abcdefgh12345678 was refused", "abcdefgh12345678"),
        ("Cookie: theme=dark; pb_auth=opaque-value; other=1", "opaque-value"),
        ("{'set-cookie': 'session=opaque-value; Path=/'}", "opaque-value"),
        ("map[Cookie:[session=opaque-value] Host:[a]]", "opaque-value"),
        ('{"identity":"a@b.c","password":"hunter2","passwordConfirm":"hunter2"}', "hunter2"),
        ('{"password": "with \\" a quote"}', "a quote"),
        ('body: "{\\"token\\":\\"opaque\\",\\"a\\":1}"', "opaque"),
        ("{ identity: 'a', 'tokenKey': 'opaque' }", "opaque"),
        ("SMTP_PASSWORD=hunter2!", "hunter2!"),
        ("the new superuser's password: correct-horse-9", "correct-horse-9"),
        ("map[password:hunter22 name:x]", "hunter22"),
        ("GET /a?x=1&reset_token=opaque HTTP/1.1", "opaque"),
        ("GET /api/oauth2-redirect?code=opaque&state=s", "opaque"),
        ("connecting to postgres://fleet:opaque@db.example.org/fleet", "opaque"),
        ("smtps://mail%40example.org:opaque@mail.example.org", "opaque"),
        ("http://localhost:8080/sign-in/abcdefghijklmnop_-12", "abcdefghijklmnop_-12"),
        ("/account/password/reset/key/1-c0ffee-abcdef0123456789", "abcdef0123456789"),
        ("/account/address/verify/MQ:1vNbAA:abcdefghijklmnop", "abcdefghijklmnop"),
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
        "Error: failed to create new superuser account: password: Must be at least 8 character(s)",
        '{"data":{"password":{"code":"validation_required","message":"Cannot be blank."}}}',
        "SyntaxError: Unexpected token: punc",
        "invalid token: unexpected end of JSON input",
        "Bearer authentication is not supported",
        "fetched https://example.org:8443/a@b",
        "the secret is out, the cookie is eaten",
        "INFO GET /api/collections/tokens/records?filter=(a='1')",
        "",
    ],
)
def test_ordinary_lines_stay_as_they_are(line: str) -> None:
    assert redact(line) == line


@given(
    st.text(st.characters(exclude_characters="\"'\\\\\r\n"), min_size=1, max_size=30),
    st.text(max_size=10),
    st.text(max_size=10),
)
def test_whatever_a_password_is_it_is_hidden_in_json(secret: str, before: str, after: str) -> None:
    text = json.dumps({"identity": "x", "password": secret})
    shown = redact(f"{before}\n{text}\n{after}")
    assert f'"password": "{HIDDEN}"' in shown
    whole = redact_all({"said": [text], "kept": (1, None, {"deep": text})})
    assert HIDDEN in whole["said"][0]
    assert whole["kept"][:2] == [1, None]
    assert HIDDEN in whole["kept"][2]["deep"]


def test_what_follows_stays_readable() -> None:
    assert redact(f"GET /f.png?token={JWT}&thumb=1 200") == f"GET /f.png?token={HIDDEN}&thumb=1 200"


@pytest.mark.parametrize(
    "unit",
    [
        "eyJ", "eyJaaaaa.", "eyJaaaaa.bbbbb.", "a", "a.", "/_/", "/_/#/pbinstal/", "authorization", "authorization ",
        "Bearer ", "?token=", "pfo_", " ", "authorization: bearer ", "cookie", "cookie: ", "set-cookie:", "password",
        'password"', "password=", "password: ", '"token":"', '"token":"\\\\', "tokentoken", "a://", "a.b://c", "ab://c:",
        "ab://c:d", "?code=", "/sign-in/", "bearer",
    ],
)  # fmt: skip
def test_a_megabyte_of_malice_takes_no_longer_than_its_length(unit: str) -> None:
    text = unit * (1_000_000 // len(unit))
    start = time.process_time()
    redact(text)
    redact("authorization" + text)
    assert time.process_time() - start < 5
