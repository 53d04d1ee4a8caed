"""Ids that follow from an operation's, so that a step done twice after a crash makes one thing and not two."""

from __future__ import annotations

import hashlib

_ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789"
_LENGTH = 15


def derived_id(operation_id: str, what: str) -> str:
    """15 characters of [a-z0-9], the same for the same operation and word."""
    number = int.from_bytes(hashlib.sha256(f"{operation_id} {what}".encode()).digest())
    letters = []
    for _ in range(_LENGTH):
        number, rest = divmod(number, len(_ALPHABET))
        letters.append(_ALPHABET[rest])
    return "".join(letters)
