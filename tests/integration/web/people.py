"""Somebody in front of the pages about accounts, without a browser."""

from __future__ import annotations

import re
from html import unescape

import httpx

from pocketfleet.actions.sealed import keyring
from pocketfleet.models import AccountMail
from tests.integration.web.served import Served

PASSWORD = "a sentence that nobody guesses"
ANA = "ana@example.org"


class Person:
    """Cookies, and an address on the network that the edge would tell."""

    def __init__(self, served: Served, ip: str = "192.0.2.1", **headers: str) -> None:
        self.site = served.config.public_url
        self.http = served.client(origin=self.site, **{"x-real-ip": ip}, **headers)

    def get(self, path: str) -> httpx.Response:
        """A page; a link out of a mail as well."""
        return self.http.get(path.removeprefix(self.site), follow_redirects=True)

    def post(self, path: str, page: str = "", **fields: str) -> httpx.Response:
        """Send the form that is on `page`, by default on the page at the same path."""
        path = path.removeprefix(self.site)
        answer = self.get(page or path)
        token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', answer.text)
        assert token is not None, answer.text
        return self.http.post(path, data={"csrfmiddlewaretoken": token[1], **fields})

    def sign_up(self, email: str = ANA, password: str = PASSWORD) -> httpx.Response:
        """Send the form."""
        return self.post("/account/sign-up", email=email, password1=password)

    def sign_in(self, login: str = ANA, password: str = PASSWORD) -> httpx.Response:
        """Send the form."""
        return self.post("/account/sign-in", login=login, password=password)

    def join(self, email: str = ANA, password: str = PASSWORD) -> Person:
        """Sign up, verify and sign in."""
        assert self.sign_up(email, password).headers["location"] == "/account/address/sent"
        link = newest_link(email)
        assert self.post(link).status_code == 302
        assert self.sign_in(email, password).headers["location"] == "/"
        return self

    def is_in(self) -> bool:
        """Whether the dashboard opens."""
        return self.http.get("/").status_code == 200


def newest_mail(email: str) -> AccountMail:
    """The last one that waits for this address."""
    found = AccountMail.objects.filter(recipient=email).order_by("-id").first()
    assert found is not None
    return found


def newest_text(email: str) -> str:
    """What it says; it lies sealed in the database."""
    return keyring().open(newest_mail(email).body)


def newest_link(email: str) -> str:
    """The link in it."""
    found = re.search(r"https?://\S+/account/\S+", newest_text(email))
    assert found is not None
    return found[0]


def words(answer: httpx.Response) -> str:
    """What a page says, without what differs from one time to the next."""
    return re.sub(r'value="[^"]{60,}"', "", unescape(answer.text))
