"""Every page about accounts, wide and narrow, light and dark: artifacts/screenshots/, to be looked at."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from playwright.sync_api import Page, expect

from pocketfleet.actions import sign_up as invitations
from pocketfleet.actions.account_mail import write_mail
from tests.browser.camera import SCHEMES, picture
from tests.browser.conftest import OpenPage
from tests.browser.test_accounts import (
    Post,
    account,
    add_authenticator,
    config,
    confirm_by_password,
    mailbox,
    make_passkey,
    post,
    sign_in,
    sign_out,
    sign_up,
    stranger,
)
from tests.browser.test_instances import CONTRAST
from tests.integration.web.served import Served

__all__ = ["config", "mailbox", "post", "stranger"]

LINK = "http://localhost:8080/account/password/reset/3-d0p1x2-5f2c1b7a9e"


class Camera:
    """Takes pictures of pages, and looks whether they fit and can be read."""

    def __init__(self, page: Page) -> None:
        self.page = page

    def shoot(self, name: str) -> None:
        """The page as it stands."""
        for scheme in SCHEMES:
            self.page.emulate_media(color_scheme=scheme)
            assert self.page.evaluate(CONTRAST) == [], f"{name}, {scheme}"
        picture(self.page, f"account-{name}")

    def go(self, path: str, name: str) -> None:
        """Open a page and take its picture."""
        self.page.goto("/".join(self.page.url.split("/")[:3]) + path)
        self.shoot(name)


def test_screenshots_of_an_account(stranger: Callable[..., Page], post: Post) -> None:
    page = stranger(device_scale_factor=1)
    add_authenticator(page)
    camera = Camera(page)
    camera.shoot("sign-in")
    sign_in(page)
    expect(page.get_by_role("alert")).to_be_visible()
    camera.shoot("sign-in-refused")
    camera.go("/account/sign-up", "sign-up")
    page.get_by_label("Mail address").fill("ana")
    page.get_by_label("Password").fill("password")
    page.get_by_role("button", name="Make the account").click()
    expect(page.locator(".error").first).to_be_visible()
    camera.shoot("sign-up-refused")
    camera.go("/account/address/sent", "look-at-your-mail")
    camera.go("/account/address/verify/nonsense", "wrong-verification")
    camera.go("/account/password/reset", "reset")
    camera.go("/account/password/reset/sent", "reset-sent")
    camera.go("/account/password/reset/1-nonsense", "reset-wrong-link")
    camera.go("/account/sign-in", "sign-in")
    sign_up(page, post)
    account(page)
    camera.shoot("page-new")
    make_passkey(page)
    camera.shoot("recovery-codes")
    sign_out(page)
    sign_in(page)
    expect(page.get_by_role("heading", name="One more step")).to_be_visible()
    camera.shoot("second-factor")
    page.get_by_role("button", name="Use a passkey").click()
    expect(page.get_by_role("heading", name="Instances")).to_be_visible()
    camera.go("/account/recovery-codes", "confirm-by-password")
    camera.go("/account/confirm/passkey?next=/account/recovery-codes", "confirm-by-passkey")
    camera.go("/account/confirm/code?next=/account/recovery-codes", "confirm-by-code")
    camera.go("/account/confirm?next=/account/second-factor/app", "confirm-by-password")
    confirm_by_password(page)
    expect(page.get_by_role("heading", name="An app for codes")).to_be_visible()
    page.get_by_text("The app cannot scan").click()
    camera.shoot("app")
    camera.go("/account/passkeys/add", "passkey-add")
    account(page)
    page.get_by_role("link", name="Rename Laptop").click()
    camera.shoot("passkey-rename")
    account(page)
    page.get_by_role("link", name="Remove Laptop").click()
    camera.shoot("passkey-remove")
    account(page)
    camera.shoot("page")
    camera.go("/account/sessions", "sessions")
    camera.go("/account/address", "address")
    page.get_by_label("New address").fill("ana@example.net")
    page.get_by_role("button", name="Send the link").click()
    expect(page.get_by_text("is on its way to")).to_be_visible()
    camera.shoot("address-sent")
    camera.go("/account/password", "password")
    camera.go("/account/recovery-codes/new", "recovery-codes-new")
    camera.go("/account/delete", "delete")


def test_screenshots_of_an_operator(open_page: OpenPage, served: Served) -> None:
    page = open_page(device_scale_factor=1)
    camera = Camera(page)
    camera.go("/", "unfinished")
    camera.go("/account/password/set", "password-set")
    camera.go("/account/address", "address-none")
    camera.go("/operator/mail", "mail-none")
    for name in ("ana", "ben"):
        body = f"Somebody, perhaps you, wants to set a new password for the account {name}.\n\n{LINK}\n"
        write_mail(f"{name}@example.org", "Set a new password", body, keep=timedelta(hours=1))
    camera.go("/operator/mail", "mail")
    camera.go("/operator/invitations", "invitations-none")
    invitations.invite("ben@example.org", acting_user=None)
    page.get_by_label("Mail address").fill("ana@example.org")
    page.get_by_role("button", name="Invite").click()
    expect(page.locator("#link")).to_be_visible()
    link = page.locator("#link").inner_text()
    camera.shoot("invitations")
    camera.go("/account/delete", "delete-refused")
    sign_out(page)
    page.goto(link)
    expect(page.get_by_role("heading", name="Make an account")).to_be_visible()
    camera.shoot("invited")
