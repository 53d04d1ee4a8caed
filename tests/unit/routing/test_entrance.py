"""What the entrance writes and reads: origins, forms, and data that cannot end its own block."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re

import pytest

from pocketfleet.domain.admin_pages import AdminSession
from pocketfleet.errors import WrongRequest
from pocketfleet.routing import entrance


@pytest.mark.parametrize(
    "url, origin",
    [
        ("http://localhost:8080", "http://localhost:8080"),
        ("http://localhost:80", "http://localhost"),
        ("https://Fleet.Example.org:443/", "https://fleet.example.org"),
        ("https://fleet.example.org:8443/dashboard", "https://fleet.example.org:8443"),
        ("http://fleet.example.org:443", "http://fleet.example.org:443"),
    ],
)
def test_origins_as_browsers_write_them(url: str, origin: str) -> None:
    assert entrance.origin_of(url) == origin


def test_nothing_in_a_session_ends_its_block() -> None:
    value = {"token": "t", "record": {"email": "</script><script>alert(1)</script><!--{{script}}"}}
    page = entrance._signed_in(AdminSession("key", value)).decode()
    assert page.count("</script>") == 2
    assert "<!--" not in page
    found = re.search(r'id="session">(.*?)</script>', page, flags=re.S)
    assert found is not None
    kept = json.loads(found[1])
    assert (kept["key"], json.loads(kept["value"]), kept["path"]) == ("key", value, "/_/")


def test_the_policy_names_the_very_script_that_is_in_the_page() -> None:
    page = entrance._signed_in(AdminSession("key", {})).decode()
    [script] = re.findall(r"<script>(.*?)</script>", page, flags=re.S)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in entrance._POLICY
    assert "unsafe" not in entrance._POLICY.replace("style-src 'unsafe-inline'", "")


def test_words_of_an_error_are_text() -> None:
    words = {"status": "403", "title": "<b>{{detail}}", "detail": "a & b", "dashboard": "http://localhost/"}
    page = entrance._refused(words).decode()
    assert "<b>" not in page
    assert html.unescape(page).count("{{detail}}") == 2
    assert "a &amp; b" in page


@pytest.mark.parametrize("form", [b"", b"ticket", b"ticket=a&ticket=b", b"x=1", b"ticket=%C3%A4", b"\xff=1"])
def test_a_form_without_one_ticket_is_none(form: bytes) -> None:
    with pytest.raises(WrongRequest):
        entrance._ticket(form)


def test_a_form_with_one() -> None:
    assert entrance._ticket(b"ticket=a-_9&csrf=x") == "a-_9"
