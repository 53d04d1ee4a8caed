"""Accounts as people use them: signing up by mail, passwords, codes, passkeys, sessions, and the end."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from allauth.mfa.totp.internal.auth import format_hotp_value, hotp_value
from playwright.sync_api import Browser, BrowserContext, Page, expect

from pocketfleet.config import Config
from pocketfleet.models import AccountMail, Audit, User
from tests.browser.conftest import NO_FAULT_OF_PAGES, OpenPage
from tests.integration.web.served import Served
from tests.mailbox import Mailbox, link_in, send_waiting
from tests.ports import free_port

PASSWORD = "a sentence that nobody guesses"
ANOTHER = "quite another sentence by now"
ANA = "ana@example.org"


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    """A mail server."""
    box = Mailbox(free_port())
    yield box
    box.stop()


@pytest.fixture
def config(config: Config, mailbox: Mailbox) -> Config:
    """Everybody may sign up, and there is a mail server."""
    return replace(config, sign_up="open", smtp_url=mailbox.url, mail_from="fleet@example.org")


@pytest.fixture
def stranger(browser: Browser, served: Served) -> Iterator[Callable[..., Page]]:
    """A browser of its own at the sign-in; whatever its pages complain about fails the test."""
    contexts: list[BrowserContext] = []
    complaints: list[str] = []

    def opener(**options: object) -> Page:
        context = browser.new_context(**options)  # type: ignore[arg-type]
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
        page.goto(f"{served.config.public_url}/account/sign-in")
        return page

    yield opener
    for context in contexts:
        context.close()
    assert not [text for text in complaints if not any(part in text for part in NO_FAULT_OF_PAGES)]


class Post:
    """The mail of this test, as it arrives."""

    def __init__(self, config: Config, mailbox: Mailbox) -> None:
        self._config = config
        self._mailbox = mailbox

    def link(self, subject: str) -> str:
        """The link in the newest mail, which must have this subject."""
        self.deliver()
        mail = self._mailbox.mails[-1]
        assert mail["Subject"] == subject
        return link_in(mail, self._config.public_url)

    def deliver(self) -> list[str]:
        """Node sends; answers the subjects of all mail so far."""
        send_waiting_in_a_thread(self._config)
        return [str(mail["Subject"]) for mail in self._mailbox.mails]


def send_waiting_in_a_thread(config: Config) -> None:
    """Beside Playwright's own event loop no other can run in a thread."""
    thread = threading.Thread(target=send_waiting, args=(config,))
    thread.start()
    thread.join(30)
    assert not thread.is_alive()


@pytest.fixture
def post(config: Config, mailbox: Mailbox) -> Post:
    """The mail."""
    return Post(config, mailbox)


def sign_up(page: Page, post: Post, email: str = ANA) -> None:
    """From the sign-in page to being signed in."""
    page.get_by_role("link", name="Make an account").click()
    page.get_by_label("Mail address").fill(email)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Make the account").click()
    expect(page.get_by_role("heading", name="Look at your mail")).to_be_visible()
    page.goto(post.link("Is this your address?"))
    page.get_by_role("button", name="Yes, it is mine").click()
    sign_in(page, email)


def sign_in(page: Page, login: str = ANA, password: str = PASSWORD) -> None:
    """With a password, from the sign-in page."""
    page.get_by_label("Mail address").fill(login)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in", exact=True).click()


def sign_out(page: Page) -> None:
    """From any page."""
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()


def account(page: Page) -> None:
    """The page about the account."""
    page.goto(re.sub(r"(https?://[^/]+).*", r"\1/account", page.url))
    expect(page.get_by_role("heading", name="Account", exact=True)).to_be_visible()


def confirm_by_password(page: Page, password: str = PASSWORD) -> None:
    """Before something that matters."""
    expect(page.get_by_role("heading", name="Is it you?")).to_be_visible()
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Go on").click()


def code_of(secret: str, ahead: int = 0) -> str:
    """What the app shows, or shows in so many half minutes."""
    return format_hotp_value(hotp_value(secret, int(time.time()) // 30 + ahead))


def set_up_app(page: Page) -> tuple[str, list[str]]:
    """Its secret, and the recovery codes that come with it."""
    account(page)
    page.get_by_role("link", name="Set up the app for codes").click()
    confirm_by_password(page)
    page.get_by_text("The app cannot scan").click()
    secret = page.locator("#secret").inner_text()
    page.get_by_label("The code that it shows").fill(code_of(secret))
    page.get_by_role("button", name="Switch it on").click()
    expect(page.get_by_role("heading", name="Recovery codes")).to_be_visible()
    return secret, page.locator("#codes li").all_inner_texts()


def add_authenticator(page: Page) -> None:
    """A device that keeps passkeys and knows its owner."""
    devices = page.context.new_cdp_session(page)
    devices.send("WebAuthn.enable")
    options = {
        "protocol": "ctap2",
        "transport": "internal",
        "hasResidentKey": True,
        "hasUserVerification": True,
        "isUserVerified": True,
        "automaticPresenceSimulation": True,
    }
    devices.send("WebAuthn.addVirtualAuthenticator", {"options": options})


def make_passkey(page: Page) -> None:
    """On the device of this page, with a name."""
    account(page)
    page.get_by_role("link", name="Add a passkey").click()
    confirm_by_password(page)
    page.get_by_label("What you call it").fill("Laptop")
    page.get_by_role("button", name="Make the passkey").click()
    expect(page.get_by_role("heading", name="Recovery codes")).to_be_visible()


def test_sign_up_verify_sign_in_and_out(stranger: Callable[..., Page], post: Post) -> None:
    page = stranger()
    sign_up(page, post)
    expect(page.get_by_role("heading", name="Instances")).to_be_visible()
    account(page)
    expect(page.get_by_text(ANA)).to_be_visible()
    sign_out(page)
    sign_in(page, password="not the right one")
    expect(page.get_by_role("alert")).to_contain_text("do not belong together")
    sign_in(page)
    expect(page.get_by_role("heading", name="Instances")).to_be_visible()
    verbs = [row.verb for row in Audit.objects.filter(actor="ana")]
    assert verbs == ["sign_up", "verify_address", "sign_in", "sign_out", "sign_in"]
    assert AccountMail.objects.count() == 0, "what was sent is forgotten"


def test_a_forgotten_password(stranger: Callable[..., Page], post: Post) -> None:
    page, elsewhere = stranger(), stranger()
    sign_up(page, post)
    account(page)
    elsewhere.get_by_role("link", name="I do not know my password").click()
    elsewhere.get_by_label("Mail address").fill(ANA)
    elsewhere.get_by_role("button", name="Send the link").click()
    expect(elsewhere.get_by_text("If there is an account with this address")).to_be_visible()
    link = post.link("Set a new password")
    elsewhere.goto(link)
    elsewhere.get_by_label("New password", exact=True).fill(ANOTHER)
    elsewhere.get_by_label("New password, again").fill(ANOTHER)
    elsewhere.get_by_role("button", name="Set it").click()
    expect(elsewhere.get_by_role("heading", name="The new password is set")).to_be_visible()
    assert post.deliver()[-1] == "Your password was changed"
    page.reload()
    expect(page.get_by_role("heading", name="Sign in"), "every session ends by that").to_be_visible()
    sign_in(page, password=ANOTHER)
    expect(page.get_by_role("heading", name="Account", exact=True), "where one wanted to go").to_be_visible()
    elsewhere.goto(link)
    expect(elsewhere.get_by_role("heading", name="This link does not work any more")).to_be_visible()


def test_a_new_address_counts_once_it_is_verified(stranger: Callable[..., Page], post: Post) -> None:
    page = stranger()
    sign_up(page, post)
    account(page)
    page.get_by_role("link", name="Change the mail address").click()
    page.get_by_label("New address").fill("ana@example.net")
    page.get_by_role("button", name="Send the link").click()
    confirm_by_password(page)
    expect(page.get_by_text("A link is on its way to ana@example.net")).to_be_visible()
    assert User.objects.get(username="ana").email == ANA
    page.goto(post.link("Is this your address?"))
    page.get_by_role("button", name="Yes, it is mine").click()
    expect(page.get_by_role("status")).to_contain_text("ana@example.net is your address now")
    assert User.objects.get(username="ana").email == "ana@example.net"
    assert post.deliver()[-1] == "Your address was changed"
    sign_out(page)
    sign_in(page, "ana@example.net")
    expect(page.get_by_role("heading", name="Instances")).to_be_visible()


def test_codes_of_an_app_and_recovery_codes(stranger: Callable[..., Page], post: Post) -> None:
    page = stranger()
    sign_up(page, post)
    secret, codes = set_up_app(page)
    assert len(codes) == 10
    sign_out(page)
    sign_in(page)
    expect(page.get_by_role("heading", name="One more step")).to_be_visible()
    page.goto(re.sub(r"/account.*", "/", page.url))
    expect(page.get_by_role("heading", name="One more step"), "the password alone opens nothing").to_be_visible()
    code = page.get_by_label("Code of your app, or a recovery code")
    code.fill("000000")
    page.get_by_role("button", name="Sign in", exact=True).click()
    expect(page.get_by_text("This code is not right")).to_be_visible()
    code.fill(code_of(secret, 1))
    page.get_by_role("button", name="Sign in", exact=True).click()
    expect(page.get_by_role("heading", name="Instances")).to_be_visible()
    for right in (True, False):
        sign_out(page)
        sign_in(page)
        code.fill(codes[0])
        page.get_by_role("button", name="Sign in", exact=True).click()
        if right:
            expect(page.get_by_role("heading", name="Instances")).to_be_visible()
        else:
            expect(page.get_by_text("This code is not right"), "each works once").to_be_visible()
            page.get_by_role("button", name="Not now").click()
            expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
            break
    assert Audit.objects.filter(verb="fail_second_factor").count() == 2
    assert "An app for codes was added" in post.deliver()


def test_a_passkey_signs_in_by_itself_and_confirms(stranger: Callable[..., Page], post: Post) -> None:
    page = stranger()
    add_authenticator(page)
    sign_up(page, post)
    make_passkey(page)
    sign_out(page)
    page.get_by_role("button", name="Sign in with a passkey").click()
    expect(page.get_by_role("heading", name="Instances")).to_be_visible()
    account(page)
    expect(page.get_by_text("Laptop")).to_have_count(3)
    page.get_by_role("link", name="Show the recovery codes").click()
    page.get_by_role("link", name="Use a passkey").click()
    page.get_by_role("button", name="Use the passkey").click()
    expect(page.locator("#codes li")).to_have_count(10)
    sign_out(page)
    sign_in(page)
    page.get_by_role("button", name="Use a passkey").click()
    expect(page.get_by_role("heading", name="Instances"), "after a password it is the second factor").to_be_visible()
    account(page)
    page.get_by_role("link", name="Remove Laptop").click()
    confirm_by_password(page)
    page.get_by_role("button", name="Remove it").click()
    expect(page.get_by_role("status").first).to_contain_text("removed")
    expect(page.get_by_text("You get them together with")).to_be_visible()
    ways = list(Audit.objects.filter(actor="ana", verb="sign_in").values_list("detail__by", flat=True))
    assert ways == ["password", "passkey", "password + passkey"]


def test_a_session_elsewhere_is_ended(stranger: Callable[..., Page], post: Post) -> None:
    here, there = stranger(), stranger()
    sign_up(here, post)
    sign_in(there)
    expect(there.get_by_role("heading", name="Instances")).to_be_visible()
    # the list of instances would leave for the sign-in by itself
    account(there)
    account(here)
    here.get_by_role("link", name="Show the sessions").click()
    expect(here.locator("tbody tr")).to_have_count(2)
    here.get_by_role("button", name="End the session").click()
    expect(here.locator("tbody tr")).to_have_count(1)
    there.reload()
    expect(there.get_by_role("heading", name="Sign in")).to_be_visible()
    expect(here.get_by_text("this one")).to_be_visible()


def test_the_account_is_deleted_once_its_name_is_typed(stranger: Callable[..., Page], post: Post) -> None:
    page = stranger()
    sign_up(page, post)
    account(page)
    page.get_by_role("link", name="Delete the account").click()
    confirm_by_password(page)
    page.get_by_label("to delete it").fill("anna")
    page.get_by_role("button", name="Delete the account").click()
    expect(page.get_by_text("This is not the name of your account")).to_be_visible()
    page.get_by_label("to delete it").fill("ana")
    page.get_by_role("button", name="Delete the account").click()
    expect(page.get_by_role("heading", name="The account is deleted")).to_be_visible()
    assert not User.objects.filter(username="ana").exists()
    page.get_by_role("link", name="Back to the sign-in").click()
    sign_in(page)
    expect(page.get_by_role("alert")).to_contain_text("do not belong together")


def test_the_operator_sets_an_address_and_a_password(open_page: OpenPage, served: Served, post: Post) -> None:
    page = open_page()
    expect(page.locator(".unfinished")).to_contain_text("no mail address")
    page.locator(".unfinished").get_by_role("link").click()
    page.get_by_role("link", name="Set a password").click()
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_label("Password, again").fill(PASSWORD)
    page.get_by_role("button", name="Set it").click()
    page.get_by_role("link", name="Say your address").click()
    page.get_by_label("New address").fill("operator@example.org")
    page.get_by_role("button", name="Send the link").click()
    page.goto(post.link("Is this your address?"))
    page.get_by_role("button", name="Yes, it is mine").click()
    page.goto(served.config.public_url)
    expect(page.locator(".unfinished")).to_have_count(0)
    sign_out(page)
    sign_in(page, "operator")
    expect(page.get_by_role("heading", name="Instances")).to_be_visible()
