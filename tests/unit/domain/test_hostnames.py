"""Names and hosts: any text is either a usable DNS label or refused in plain words."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pocketfleet.domain import hostnames
from pocketfleet.errors import WrongName

#: RFC 1123's label, written down a second time on purpose.
DNS_LABEL = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)\Z")
LABEL_LIKE = st.text("abcxyz0189-", min_size=1, max_size=70)


@given(st.text(max_size=80) | LABEL_LIKE)
@example("shop")
@example("shop\n")
@example("ﬁsh")
@example("a" * 63)
@example("a" * 64)
@example("٣")
@example("abcdefghij12345")
@example("xn--bcher-kva")
@example("\ud800")
def test_any_text_is_a_dns_label_or_refused(text: str) -> None:
    try:
        name = hostnames.check_name(text)
    except WrongName as error:
        detail = error.detail
    else:
        detail = ""
        assert name == text
        assert DNS_LABEL.match(name)
        assert not re.fullmatch("[a-z0-9]{15}", name)
        assert "--" not in name
        assert name not in hostnames.RESERVED_NAMES
    assert len(detail) < 300


@given(LABEL_LIKE.filter(lambda text: bool(DNS_LABEL.match(text)) and "--" not in text and len(text) != 15))
def test_good_labels_are_taken(text: str) -> None:
    assert hostnames.check_name(text) == text


@pytest.mark.parametrize(
    "name",
    [
        "",
        "-a",
        "a-",
        "a--b",
        "A",
        "a.b",
        "a_b",
        " a",
        "a ",
        "a\n",
        "ä",
        "a" * 64,
        "abcdefghij12345",
        "www",
        "localhost",
    ],
)
def test_refused(name: str) -> None:
    with pytest.raises(WrongName):
        hostnames.check_name(name)


@pytest.mark.parametrize("name", ["a", "0", "a1", "my-shop", "a" * 63, "a" * 14, "a" * 16, "abcdefg-j12345a", "127"])
def test_taken(name: str) -> None:
    assert hostnames.check_name(name) == name


def test_reserved_names_are_labels_or_they_would_be_useless() -> None:
    assert all(DNS_LABEL.match(name) and name == name.lower() for name in hostnames.RESERVED_NAMES)


def test_ids_never_collide_with_names_and_hardly_with_each_other() -> None:
    ids = {hostnames.new_id() for _ in range(2000)}
    assert len(ids) == 2000
    for identifier in ids:
        assert hostnames.is_id(identifier)
        with pytest.raises(WrongName):
            hostnames.check_name(identifier)


def test_hosts_are_the_permanent_one_and_the_name() -> None:
    assert hostnames.hosts("abcdefghij12345", "shop", "example.org") == [
        "abcdefghij12345.example.org",
        "shop.example.org",
    ]
    assert hostnames.hosts("abcdefghij12345", None, "localhost") == ["abcdefghij12345.localhost"]
