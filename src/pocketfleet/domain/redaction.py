"""What never stands in a log or a report: tokens, and the link by which a new PocketBase is claimed."""

from __future__ import annotations

import re

HIDDEN = "[redacted]"
_JWT = re.compile(r"eyJ[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]{5,}")
_CLAIM = re.compile(r"(/_/[^\s]*#/pbinstal/)[^\s]+")
_BEARER = re.compile(r"(?i)(authorization:?\s+(?:bearer\s+)?)[^\s,;]{8,}")
_PARAMETER = re.compile(r"(?i)([?&](?:token|access_token|api_key)=)[^&\s]+")


def redact(text: str) -> str:
    """The text with JSON web tokens, claim links (`/_/#/pbinstal/…`) and bearer tokens hidden."""
    text = _CLAIM.sub(rf"\1{HIDDEN}", text)
    text = _JWT.sub(HIDDEN, text)
    text = _BEARER.sub(rf"\1{HIDDEN}", text)
    return _PARAMETER.sub(rf"\1{HIDDEN}", text)
