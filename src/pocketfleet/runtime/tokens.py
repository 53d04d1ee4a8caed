"""Tokens minted for a PocketBase from its own data: HS256 over the record's key and its collection's secret."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from typing import Any

#: Seconds that a token is good for where nothing else is asked for: longer than any rehearsal.
_LIFE = 24 * 3600


def admin_token(admin_id: str, token_key: str, settings: dict[str, Any], *, life: int = _LIFE) -> str:
    """A superuser's token before 0.23; `settings` in clear. Raises KeyError where they hold no secret."""
    return _sign({"id": admin_id, "type": "admin"}, token_key + settings["adminAuthToken"]["secret"], life)


def old_record_token(record_id: str, collection_id: str, token_key: str, settings: dict[str, Any]) -> str:
    """An auth record's token before 0.23; `settings` in clear. Raises KeyError where they hold no secret."""
    claims = {"id": record_id, "type": "authRecord", "collectionId": collection_id}
    return _sign(claims, token_key + settings["recordAuthToken"]["secret"], _LIFE)


def record_token(
    record_id: str, collection: dict[str, Any], token_key: str, *, life: int = _LIFE, refreshable: bool = True
) -> str:
    """An auth record's token from 0.23 on, superusers' too. Raises KeyError where the collection holds no secret.

    One that is not `refreshable` ends when its life does: PocketBase's pages ask for a new one at each visit.
    """
    claims = {"id": record_id, "type": "auth", "collectionId": collection["id"], "refreshable": refreshable}
    return _sign(claims, token_key + collection["options"]["authToken"]["secret"], life)


def _sign(claims: dict[str, Any], key: str, life: int) -> str:
    parts = [{"alg": "HS256", "typ": "JWT"}, {**claims, "exp": int(time.time()) + life}]
    signed = ".".join(_encode(json.dumps(part, separators=(",", ":")).encode()) for part in parts)
    return f"{signed}.{_encode(hmac.digest(key.encode(), signed.encode(), hashlib.sha256))}"


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
