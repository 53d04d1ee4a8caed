"""What never stands in a log or a report: tokens, passwords, cookies, and the links by which something is claimed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

HIDDEN = "[redacted]"
# Tenants decide what stands in a log: each pattern takes time in proportion to the text, however hostile. That is what
# the look-behind and the possessive and bounded quantifiers are for; bare `eyJ[...]{5,}` takes hours for a megabyte of
# `eyJeyJ...`.
_JWT = re.compile(
    r"(?<![A-Za-z0-9_-])((?:(?!eyJ)[A-Za-z0-9_-])*+)"
    r"eyJ[A-Za-z0-9_-]{5,}+\.[A-Za-z0-9_-]{5,}+\.[A-Za-z0-9_-]{5,}+"
)
#: `/_/#/pbinstal/...` of PocketBase; written `pbinstall` by whoever copies it
_CLAIM = re.compile(r"(pbinstall?(?:/|%2F))[^\s]+", re.IGNORECASE)
_BEARER = re.compile(r"(?i)(authorization[\"']?:?\s*[\"']?(?:(?:bearer|basic|token)\s+)?)[^\s,;\"']{8,}")
#: without its header's name in front: a word of a sentence has no digit in it
_BARE_BEARER = re.compile(r"(?i)(\bbearer\s{1,5}+)(?=[^\s\d]{0,100}\d)[A-Za-z0-9._~+/=-]{8,}")
_COOKIE = re.compile(r"(?i)(\b(?:set-)?cookie[\"']?\s{0,5}+:\s{0,5}+[\"']?)[^\r\n\"']{3,}")
_NAMES = r"(?:pass(?:word|wd|phrase)|secret|token|api[_-]?key|otp|credential|signature)"
#: of a query or a form
_PARAMETER = re.compile(rf"(?i)([?&;](?:[a-z0-9_.-]{{0,30}}{_NAMES}[a-z0-9_-]{{0,20}}|code|sig)=)[^&\s;\"']+")
#: `"password": "..."`, `'tokenKey': '...'`, and JSON within JSON
_DOUBLE = re.compile(rf"(?i)({_NAMES}\w{{0,20}}+[\"']\s{{0,5}}+[:=]\s{{0,5}}+\")(?:[^\"\\\r\n]|\\.)++")
_SINGLE = re.compile(rf"(?i)({_NAMES}\w{{0,20}}+[\"']\s{{0,5}}+[:=]\s{{0,5}}+')(?:[^'\\\r\n]|\\.)++")
_NESTED = re.compile(rf"(?i)({_NAMES}\w{{0,20}}+\\{{1,3}}[\"']\s{{0,5}}+:\s{{0,5}}+\\{{1,3}}[\"'])[^\"'\\\r\n]+")
#: `PASSWORD=...`, and `password: ...` where that is no sentence
_ASSIGNED = re.compile(
    rf"(?i)({_NAMES}\w{{0,20}}+\s{{0,5}}+(?:=\s{{0,5}}+|:\s{{0,5}}+(?=[^\s\d]{{0,100}}\d)))[^\s\"',;&]{{6,}}"
)
#: what stands between a name and a host: `postgres://name:password@host`
_ADDRESS = re.compile(r"(?i)(\b[a-z][a-z0-9+.-]{1,20}://[^\s/:@\"']{0,200}:)[^\s/@\"']{1,200}(?=@)")
#: our own bearer tokens
_OURS = re.compile(r"\bpf[a-z]?_[A-Za-z0-9_-]{16,}")
#: our own links that sign somebody in, invite, or confirm
_LINK = re.compile(r"(/(?:sign-in|invitations|invited|verify|reset/key)/)[A-Za-z0-9_:~-]{16,}")
_WORDS = (
    (re.compile(r"(?i)pbinstal"), (_CLAIM,)),
    (re.compile("eyJ"), (_JWT,)),
    (re.compile("pf[a-z]?_"), (_OURS,)),
    (re.compile(r"(?i)authorization|bearer"), (_BEARER, _BARE_BEARER)),
    (re.compile(r"(?i)cookie"), (_COOKIE,)),
    (re.compile(rf"(?i){_NAMES}|[?&;](?:code|sig)="), (_PARAMETER, _DOUBLE, _SINGLE, _NESTED, _ASSIGNED)),
    (re.compile("://"), (_ADDRESS,)),
    (re.compile("/(?:sign-in|invit|verify|reset)"), (_LINK,)),
)


def redact(text: str) -> str:
    """The text with hidden: JSON web tokens, claim links (`/_/#/pbinstal/…`), bearer tokens, cookies, values of what is
    called a password, token or secret, passwords in addresses, and our own tokens and links. Done twice it is the same.
    """
    for word, patterns in _WORDS:
        # a plain search is many times as fast as the pattern's own, and most lines hold none of these
        if word.search(text):
            for pattern in patterns:
                text = pattern.sub(_hide, text)
    return text


def redact_all(value: Any) -> Any:
    """The same of every text in a value that is to become JSON; names stay."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, Mapping):
        return {name: redact_all(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [redact_all(inner) for inner in value]
    return value


def _hide(found: re.Match[str]) -> str:
    """What tells what it was stays."""
    return (found[1] if found.re.groups else "") + HIDDEN
