"""What never stands in a log or a report: tokens, and the link by which a new PocketBase is claimed."""

from __future__ import annotations

import re

HIDDEN = "[redacted]"
# Tenants decide what stands in a log: each pattern takes time in proportion to the text, however hostile. That is what
# the look-behind and the possessive quantifiers are for; bare `eyJ[...]{5,}` takes hours for a megabyte of `eyJeyJ...`.
_JWT = re.compile(
    r"(?<![A-Za-z0-9_-])((?:(?!eyJ)[A-Za-z0-9_-])*+)"
    r"eyJ[A-Za-z0-9_-]{5,}+\.[A-Za-z0-9_-]{5,}+\.[A-Za-z0-9_-]{5,}+"
)
_CLAIM = re.compile(r"(#/pbinstal/)[^\s]+")
_BEARER = re.compile(r"(?i)(authorization[\"']?:?\s*[\"']?(?:(?:bearer|basic|token)\s+)?)[^\s,;\"']{8,}")
_PARAMETER = re.compile(r"(?i)([?&](?:token|access_token|api_key|password)=)[^&\s]+")
#: our own bearer tokens
_OURS = re.compile(r"\bpf[a-z]?_[A-Za-z0-9_-]{16,}")


def redact(text: str) -> str:
    """The text with JSON web tokens, claim links (`/_/#/pbinstal/…`), bearer tokens and our own tokens hidden."""
    text = _CLAIM.sub(rf"\1{HIDDEN}", text)
    if "eyJ" in text:  # a plain search is ten times as fast as the pattern's own
        text = _JWT.sub(rf"\1{HIDDEN}", text)
    text = _OURS.sub(HIDDEN, text)
    text = _BEARER.sub(rf"\1{HIDDEN}", text)
    return _PARAMETER.sub(rf"\1{HIDDEN}", text)
