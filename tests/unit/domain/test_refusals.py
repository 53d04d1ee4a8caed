"""Why a release is not tried again: kept, read back, and read where an earlier pocketfleet wrote it."""

from __future__ import annotations

from typing import Any

import pytest

from pocketfleet.domain.refusals import Refusal, Why, refusals


@pytest.mark.parametrize(
    "kept, fingerprint, said",
    [
        (Refusal("f", Why.FAILED).as_json(), "f", "failed"),
        (Refusal("f", Why.TAKEN_BACK).as_json(), "f", "was taken back"),
        ("f", "f", "failed, or was taken back"),
        ({"fingerprint": "f", "why": "of a later pocketfleet", "version": 9}, "f", "failed, or was taken back"),
        ({}, "", "failed, or was taken back"),
    ],
)
def test_what_is_kept_is_read(kept: Any, fingerprint: str, said: str) -> None:
    found = refusals({"0.40.6": kept})["0.40.6"]
    assert (found.fingerprint, found.said) == (fingerprint, said)
