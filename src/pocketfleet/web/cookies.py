"""The one cookie that control takes: its own session's, written exactly so, and once.

Instances are subdomains, and a page there may set cookies for the whole domain. A browser keeps a `__Host-` cookie from
them by its name; Django takes white space off a name before it compares, bytes 0x85 and 0xA0 among it, so that a cookie
of which the browser sees no such prefix would be taken for ours. Values are not unquoted either: a key has no quotes.
"""

from __future__ import annotations

import re

from django.http import HttpRequest

#: As Django's sessions make them (SessionBase._get_new_session_key).
_KEY = re.compile(r"[a-z0-9]{32}", re.ASCII)


def take_own_cookie(request: HttpRequest, name: str) -> None:
    """From now on the request has no cookie but this one; not that either, where two keys came under its name."""
    keys = session_keys(request.META.get("HTTP_COOKIE", ""), name)
    request.COOKIES = {name: keys.pop()} if len(keys) == 1 else {}


def session_keys(header: str, name: str) -> set[str]:
    """The different keys that a Cookie header has under exactly this name. Of two, nobody can tell whose is whose: the
    order says nothing, since whoever plants one chooses its path."""
    pairs = (each.strip(" \t").partition("=") for each in header.split(";"))
    return {value for key, _, value in pairs if key == name and _KEY.fullmatch(value)}
