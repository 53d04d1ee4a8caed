"""PocketBase's settings as it stores them: JSON, or encrypted with the owner's key."""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any

from pocketfleet.domain.secrets import ENCRYPTION_KEY
from pocketfleet.errors import SettingsEncrypted

#: Bytes before the ciphertext that no two encryptions share (PocketBase's tools/security/encrypt.go).
_NONCE = 12


def unsealed(raw: str, key: str) -> dict[str, Any]:
    """The settings in clear, {} where none were saved yet; `raw` as it stands in the table, `key` "" where the owner
    gave none.

    Raises SettingsEncrypted with what to do.
    """
    found = _loaded(raw or "{}")
    if isinstance(found, dict):
        return found
    if not key:
        raise SettingsEncrypted(
            f"PocketBase's settings are encrypted, and pocketfleet does not have their key. Set the secret "
            f"{ENCRYPTION_KEY} to it (`pocketfleet secrets NAME set {ENCRYPTION_KEY}=-`), then try again."
        )
    opened = _loaded(_decrypted(found if isinstance(found, str) else raw, key))
    if not isinstance(opened, dict):
        raise SettingsEncrypted(
            f"PocketBase's settings are encrypted with another key than the secret {ENCRYPTION_KEY}. Set it to the key "
            "that they were saved with, then try again."
        )
    return opened


def _decrypted(text: str, key: str) -> str:
    """Nothing where the key is another one, or the text is none of PocketBase's."""
    # 7 MB in node, which few ever need
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    try:
        data = base64.b64decode(text, validate=True)
        return AESGCM(key.encode()).decrypt(data[:_NONCE], data[_NONCE:], None).decode()
    except (binascii.Error, InvalidTag, ValueError):
        return ""


def _loaded(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None
