"""Secrets: which names and values become environment variables."""

from __future__ import annotations

import re
import subprocess
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pocketfleet.domain.secrets import MAX_SECRETS, MAX_VALUE_BYTES, check_secret_name, check_secrets
from pocketfleet.errors import WrongSecret


@given(st.text(max_size=140) | st.text("ABCXYZ_019a", max_size=20))
def test_any_name_fits_or_is_refused(name: str) -> None:
    try:
        check_secret_name(name)
    except WrongSecret:
        pass
    else:
        assert re.fullmatch(r"[A-Z][A-Z0-9_]*", name)


@pytest.mark.parametrize(
    "name",
    [
        "PATH", "HOME", "LD_PRELOAD", "LD_LIBRARY_PATH", "POCKETFLEET_HOME", "GOGC", "GOMEMLIMIT", "GODEBUG",
        "GOMAXPROCS", "GOTRACEBACK", "GORACE", "TMPDIR", "lower", "1ST", "_X", "A-B", "A B", "A\n", "Ä", "", "A" * 129,
    ],
)  # fmt: skip
def test_refused(name: str) -> None:
    with pytest.raises(WrongSecret):
        check_secret_name(name)


@pytest.mark.parametrize("name", ["A", "SMTP_PASSWORD", "GOOGLE_CLIENT_ID", "GO", "HOMEPAGE", "PATH_PREFIX", "A" * 128])
def test_taken(name: str) -> None:
    assert check_secret_name(name) == name


@pytest.mark.parametrize(
    "value", ["a\0b", "x" * (MAX_VALUE_BYTES + 1), "ä" * (MAX_VALUE_BYTES // 2 + 1), 5, None, b"x", "\ud800"]
)
def test_values_that_are_refused(value: Any) -> None:
    with pytest.raises(WrongSecret, match="KEY"):
        check_secrets({"KEY": value})


@given(st.dictionaries(st.just("KEY"), st.text(max_size=100)))
def test_any_text_without_nul_is_a_value(secrets: dict[str, str]) -> None:
    try:
        assert check_secrets(secrets) == secrets
    except WrongSecret:
        assert any("\0" in value or not value.isprintable() for value in secrets.values())


def test_a_key_of_the_settings_has_a_size_that_works() -> None:
    for size in (16, 24, 32):
        check_secrets({"PB_ENCRYPTION_KEY": "k" * size})
    for size in (0, 31, 33):
        with pytest.raises(WrongSecret, match=f"must have 32 characters .* not {size}"):
            check_secrets({"PB_ENCRYPTION_KEY": "k" * size})


def test_how_many_and_how_much() -> None:
    check_secrets({f"KEY_{number}": "x" for number in range(MAX_SECRETS)})
    with pytest.raises(WrongSecret, match="at most 200"):
        check_secrets({f"KEY_{number}": "x" for number in range(MAX_SECRETS + 1)})
    with pytest.raises(WrongSecret, match="together"):
        check_secrets({f"KEY_{number}": "x" * MAX_VALUE_BYTES for number in range(17)})


def test_the_most_that_is_taken_can_start_a_program() -> None:
    environment = check_secrets({f"KEY_{number}": "x" * MAX_VALUE_BYTES for number in range(16)})
    assert subprocess.run(["/bin/sh", "-c", "true"], env=environment, check=False).returncode == 0


def test_a_value_is_never_in_the_message() -> None:
    with pytest.raises(WrongSecret) as caught:
        check_secrets({"KEY": "hunter2\0"})
    assert "hunter2" not in str(caught.value.as_problem())
