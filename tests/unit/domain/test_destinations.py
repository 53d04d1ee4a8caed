"""What people write of where instances may be let to."""

from __future__ import annotations

import ipaddress

import pytest

from pocketfleet.domain.destinations import Destination, read_destination


@pytest.mark.parametrize(
    ("text", "network", "port"),
    [
        ("10.0.0.5", "10.0.0.5/32", None),
        ("10.0.0.0/24", "10.0.0.0/24", None),
        ("10.0.0.5:5432", "10.0.0.5/32", 5432),
        ("10.0.0.0/24:1", "10.0.0.0/24", 1),
        ("fd00::5", "fd00::5/128", None),
        ("fd00::/64", "fd00::/64", None),
        ("[fd00::5]", "fd00::5/128", None),
        ("[fd00::5]:5432", "fd00::5/128", 5432),
        ("[fd00::/64]:65535", "fd00::/64", 65535),
        ("2606:4700:4700::1111", "2606:4700:4700::1111/128", None),
        ("::/0", "::/0", None),
    ],
)
def test_a_destination_is_read(text: str, network: str, port: int | None) -> None:
    found = read_destination(text)
    assert found == Destination(ipaddress.ip_network(network), port)
    assert found.is_ipv6 == (":" in network)


@pytest.mark.parametrize(
    "text",
    [
        "", ":", "10.0.0.5:", "10.0.0.5:0", "10.0.0.5:65536", "10.0.0.5: 80", "10.0.0.1/24", "db.example.org",
        "fd00::5:", "[fd00::5]:", "[fd00::5]:0", "[fd00::5]5432", "fd00::5]:5432", "[10.0.0.5]:5432", "fd00::1/64",
        "fe80::1", "fe80::1%eth0", "fd00::1%eth0", "ff02::1", "::1", "::", "::ffff:10.0.0.5", "[]:80", "fd00::5 accept",
        "fd00::5\n", "1:2", "fd00::5/129",
    ],
)  # fmt: skip
def test_what_is_none_is_not(text: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        read_destination(text)
