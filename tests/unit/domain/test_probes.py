"""Which requests an owner may have probed."""

from __future__ import annotations

from typing import Any

import pytest

from pocketfleet.domain.probes import MOST, check_probe, check_probes
from pocketfleet.errors import WrongUsage


def test_what_is_left_out_is_a_plain_get() -> None:
    assert check_probe({"path": "/api/health"}) == {
        "method": "GET",
        "path": "/api/health",
        "identity": "anonymous",
        "body": None,
        "expect_status": None,
        "expect_json": None,
        "safe": False,
    }
    assert check_probe({"path": "/pay", "method": "post", "body": {"n": 1}, "safe": True})["method"] == "POST"


@pytest.mark.parametrize(
    "probe",
    [
        {},
        {"path": ""},
        {"path": "api/health"},
        {"path": "//evil.example/x"},
        {"path": "http://evil.example"},
        {"path": "/a b"},
        {"path": "/a\r\nHost: b"},
        {"path": "/ä"},
        {"path": "/" + "a" * 2000},
        {"path": "/a", "method": "CONNECT"},
        {"path": "/a", "method": "GET\r\nX: y"},
        {"path": "/a", "identity": "users"},
        {"path": "/a", "expect_status": 101},
        {"path": "/a", "expect_status": 600},
        {"path": "/a", "expect_status": True},
        {"path": "/a", "body": "x" * 70_000},
        {"path": "/a", "expect_json": ["x" * 70_000]},
    ],
)
def test_what_is_refused(probe: dict[str, Any]) -> None:
    with pytest.raises(WrongUsage):
        check_probe(probe)


def test_how_many() -> None:
    assert len(check_probes([{"path": "/a"}] * MOST)) == MOST
    with pytest.raises(WrongUsage):
        check_probes([{"path": "/a"}] * (MOST + 1))
