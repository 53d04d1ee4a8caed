"""Passkeys of other pages, names of browsers, and that no page or mail of allauth's is without our words."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import allauth.account
import allauth.mfa
import pytest
from django.core.exceptions import ValidationError
from django.template.loader import get_template
from django.test import override_settings

from pocketfleet.config import load
from pocketfleet.web.accounts.adapter import AccountAdapter
from pocketfleet.web.accounts.devices import device
from pocketfleet.web.accounts.passkeys import AddForm, AuthenticateForm, ConfirmForm, SignInForm, refuse_other_pages
from pocketfleet.web.accounts.urls import urlpatterns

SITE = "https://fleet.example.org"


@pytest.fixture(autouse=True)
def site(home: Path) -> Iterator[None]:
    """A dashboard at this address."""
    config = replace(load({}, home=home), url=SITE, domain="fleet.example.org")
    with override_settings(CONFIG=config):
        yield


def credential(**said: Any) -> dict[str, Any]:
    """What a browser sends, signature and all else left out."""
    text = base64.urlsafe_b64encode(json.dumps(said).encode()).decode().rstrip("=")
    return {"response": {"clientDataJSON": text}}


def test_our_own_page_may_ask_for_a_passkey() -> None:
    refuse_other_pages(credential(origin=SITE))
    refuse_other_pages(credential(origin=SITE, crossOrigin=False))


@pytest.mark.parametrize(
    "given",
    [
        credential(origin="https://shop.fleet.example.org"),
        credential(origin="https://fleet.example.org.evil.example"),
        credential(origin="http://fleet.example.org"),
        credential(origin="https://fleet.example.org:8443"),
        credential(origin=SITE, crossOrigin=True),
        credential(),
        {"response": {"clientDataJSON": "nonsense"}},
        {"response": {"clientDataJSON": 5}},
        {"response": {}},
        {"response": None},
        {},
        [],
        "text",
        None,
    ],
)
def test_no_other_page_may(given: object) -> None:
    with pytest.raises(ValidationError):
        refuse_other_pages(given)


@pytest.mark.parametrize("form", [AddForm, AuthenticateForm, SignInForm, ConfirmForm])
def test_every_form_that_takes_a_passkey_asks(form: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []

    def refuse(given: object) -> None:
        asked.append(given)
        raise ValidationError("no")

    monkeypatch.setattr("pocketfleet.web.accounts.passkeys.refuse_other_pages", refuse)
    made = form.__new__(form)
    made.cleaned_data = {"credential": {"a": 1}}
    with pytest.raises(ValidationError):
        made.clean() if form is AddForm else made.clean_credential()
    assert asked == [{"a": 1}]


@pytest.mark.parametrize(
    ("said", "name"),
    [
        (
            "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/143.0 Safari/537.36",
            "Chrome on Linux",
        ),
        ("Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 Chrome/143.0 Safari/537.36 Edg/143.0", "Edge on Windows"),
        ("Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) Version/18.0 Mobile Safari/604.1", "Safari on iPhone"),
        ("Mozilla/5.0 (Android 15; Mobile; rv:140.0) Gecko/140.0 Firefox/140.0", "Firefox on Android"),
        ("curl/8.5.0", "curl/8.5.0"),
        ("x" * 200, "x" * 40),
        ("", "An unknown browser"),
    ],
)
def test_browsers_have_names(said: str, name: str) -> None:
    assert device(said) == name


def test_every_page_of_allauth_that_we_serve_is_ours() -> None:
    views = [getattr(each.callback, "view_class", None) for each in urlpatterns]
    attributes = ("template_name", "template_name_signup_closed")
    names = {getattr(view, attribute, None) for view in views for attribute in attributes} - {None}
    assert len(names) > 20
    for name in names:
        get_template(str(name))


def test_every_mail_of_allauth_has_our_words() -> None:
    folders = [Path(module.__file__ or "").parent for module in (allauth.account, allauth.mfa)]
    sources = [path.read_text() for folder in folders for path in folder.rglob("*.py")]
    found = {name for text in sources for name in re.findall(r'"((?:account|mfa)/email/\w+)"', text)}
    # codes by mail, which are off
    found -= {"account/email/login_code", "account/email/password_reset_code"}
    assert len(found) > 12
    for name in found:
        get_template(f"{name}_subject.txt")
        get_template(f"{name}_message.txt")


@pytest.mark.parametrize(
    "target",
    [
        f"{SITE}/account",
        "http://fleet.example.org/account",
        "https://evil.example",
        "//evil.example",
        "///evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "/\t/evil.example",
        "http:/evil.example",
        "data:text/html,x",
        "javascript:alert(1)",
        "//fleet.example.org@evil.example/",
        "",
        None,
    ],
)
def test_next_leads_to_a_path_of_ours_and_nowhere_else(target: str | None) -> None:
    assert not AccountAdapter().is_safe_url(target)
    assert AccountAdapter().is_safe_url("/account?a=//b")
