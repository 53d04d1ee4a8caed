"""Names and hosts of instances: what a name may be, which are reserved, and the two hosts each instance has."""

from __future__ import annotations

import re
import secrets
import string

from pocketfleet.errors import WrongName

_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)
_ID = re.compile(r"[a-z0-9]{15}", re.ASCII)
_ID_ALPHABET = string.ascii_lowercase + string.digits

#: Names that would be mistaken for a part of the service, or that browsers and mail servers look up by themselves.
RESERVED_NAMES = frozenset(
    [
        "about",
        "account",
        "accounts",
        "acme",
        "admin",
        "administrator",
        "api",
        "app",
        "apps",
        "assets",
        "auth",
        "autoconfig",
        "autodiscover",
        "backup",
        "billing",
        "cdn",
        "control",
        "cname",
        "console",
        "dashboard",
        "dns",
        "edge",
        "email",
        "ftp",
        "gate",
        "health",
        "help",
        "host",
        "hostmaster",
        "imap",
        "info",
        "instance",
        "instances",
        "internal",
        "invalid",
        "isatap",
        "local",
        "localhost",
        "login",
        "mail",
        "mta-sts",
        "mx",
        "node",
        "ns",
        "ns1",
        "ns2",
        "operator",
        "owner",
        "pocketbase",
        "pocketfleet",
        "pop",
        "pop3",
        "postmaster",
        "proxy",
        "public",
        "root",
        "security",
        "server",
        "settings",
        "sftp",
        "sign-in",
        "signin",
        "signup",
        "smtp",
        "sso",
        "static",
        "status",
        "support",
        "system",
        "tls",
        "tokens",
        "undefined",
        "user",
        "users",
        "usenet",
        "webmaster",
        "webmail",
        "wpad",
        "www",
    ]
)


def new_id() -> str:
    """15 random characters of [a-z0-9] (77 bits), PocketBase's own form of an id."""
    return "".join(secrets.choice(_ID_ALPHABET) for _ in range(15))


def is_id(text: str) -> bool:
    """Whether the text has the form of an instance's id."""
    return _ID.fullmatch(text) is not None


def check_name(name: str) -> str:
    """The name as given, if it may be an instance's name.

    A DNS label of 1 to 63 characters [a-z0-9-], neither beginning nor ending with a hyphen, without `--`
    (which IDNA uses), not of the form of an id, and not reserved.

    Raises WrongName with what to change.
    """
    if not isinstance(name, str) or not name:
        raise WrongName("A name is needed, for `shop`.", name=str(name)[:100])
    shown = name if len(name) <= 70 else name[:70] + "…"
    if len(name) > 63:
        raise WrongName(f"“{shown}” has {len(name)} characters; a name has at most 63.", name=shown)
    if _LABEL.fullmatch(name) is None:
        raise WrongName(
            f"“{shown!s}” does not fit: use small letters a to z, digits and hyphens, "
            "and begin and end with a letter or digit.",
            name=shown,
        )
    if "--" in name:
        raise WrongName(f"“{name}” does not fit: two hyphens in a row are reserved.", name=name)
    if is_id(name):
        raise WrongName(
            f"“{name}” does not fit: 15 letters and digits are the form of a permanent id. Make it shorter or longer.",
            name=name,
        )
    if name in RESERVED_NAMES:
        raise WrongName(f"“{name}” is reserved; choose another name.", name=name)
    return name


def hosts(instance_id: str, name: str | None, domain: str) -> list[str]:
    """The hosts of an instance: its permanent one, then the one by name where it has a name."""
    permanent = f"{instance_id}.{domain}"
    return [permanent, f"{name}.{domain}"] if name else [permanent]
