"""Where each release's admin page looks for its session."""

from __future__ import annotations

import pytest

from pocketfleet.domain.admin_pages import ENTRANCE, PAGE, RESERVED, admin_session, must_renew


@pytest.mark.parametrize(
    "release, key, member",
    [
        ("0.22.0", "pb_admin_auth", "model"),
        ("0.22.27", "pb_admin_auth", "model"),
        ("0.23.0-rc1", "__pb_superuser_auth__", "record"),
        ("0.23.0", "__pb_superuser_auth__", "record"),
        ("0.36.9", "__pb_superuser_auth__", "record"),
        ("0.37.0", "__pb_superusers__/_", "record"),
        ("0.40.6", "__pb_superusers__/_", "record"),
        ("1.0.0", "__pb_superusers__/_", "record"),
    ],
)
def test_the_key_and_the_form_of_each_age(release: str, key: str, member: str) -> None:
    session = admin_session(release, "token", {"id": "a"})
    assert (session.key, session.path) == (key, PAGE)
    assert session.value == {"token": "token", member: {"id": "a"}}


def test_which_releases_need_a_token_that_can_be_renewed() -> None:
    wanted = {"0.22.27": False, "0.23.0": True, "0.28.4": True, "0.29.0": False, "0.40.6": False}
    assert {release: must_renew(release) for release in wanted} == wanted


def test_no_token_in_what_is_logged() -> None:
    assert "secret-token" not in repr(admin_session("0.40.6", "secret-token", {}))


def test_the_entrance_is_reserved() -> None:
    assert ENTRANCE.startswith(RESERVED)
