"""Which secrets an instance may have: they become environment variables of its PocketBase."""

from __future__ import annotations

import re

from pocketfleet.errors import WrongSecret

_NAME = re.compile(r"[A-Z][A-Z0-9_]{0,127}", re.ASCII)
_REFUSED_PREFIXES = ("LD_", "POCKETFLEET_", "DYLD_", "GLIBC_", "MALLOC_")
#: What Go's runtime reads (pkg.go.dev/runtime, "Environment Variables"), and what the program loader and shell read.
_REFUSED = frozenset(
    [
        "PATH",
        "HOME",
        "USER",
        "SHELL",
        "IFS",
        "ENV",
        "BASH_ENV",
        "TMPDIR",
        "LOCPATH",
        "NLSPATH",
        "GCONV_PATH",
        "RES_OPTIONS",
        "HOSTALIASES",
        "GOGC",
        "GOMEMLIMIT",
        "GODEBUG",
        "GOMAXPROCS",
        "GORACE",
        "GOTRACEBACK",
        "GOROOT",
        "GOCOVERDIR",
        "GOFIPS140",
        "TZDIR",
        "ZONEINFO",
    ]
)
#: The one secret that PocketBase itself is pointed to, as its own documentation names it: the key of its settings.
ENCRYPTION_KEY = "PB_ENCRYPTION_KEY"
#: Bytes that AES takes as a key; PocketBase's documentation asks for 32.
_KEY_SIZES = (16, 24, 32)
MAX_SECRETS = 200
MAX_VALUE_BYTES = 32 * 1024
#: Linux takes a quarter of the stack's limit, by default 2 MiB, for all arguments and variables of a program.
MAX_TOTAL_BYTES = 512 * 1024


def check_secret_name(name: str) -> str:
    """The name, if a secret may have it: `^[A-Z][A-Z0-9_]*$`, at most 128 characters, not refused.

    Raises WrongSecret.
    """
    if not isinstance(name, str) or _NAME.fullmatch(name) is None:
        raise WrongSecret(
            f"“{str(name)[:70]}” does not fit: a secret's name has capital letters, digits and underscores, "
            "and begins with a letter, for example SMTP_PASSWORD.",
            name=str(name)[:70],
        )
    if name in _REFUSED or name.startswith(_REFUSED_PREFIXES):
        raise WrongSecret(f"“{name}” is refused: it would change how PocketBase itself runs.", name=name)
    return name


def check_secrets(secrets: dict[str, str]) -> dict[str, str]:
    """All secrets of one instance: at most 200 and 512 KiB, each value at most 32 KiB of text without NUL.

    A key of the settings has a size that PocketBase can use: with another it would not start.     Raises WrongSecret.
    """
    if len(secrets) > MAX_SECRETS:
        raise WrongSecret(f"An instance has at most {MAX_SECRETS} secrets; remove some first.")
    total = 0
    for name, value in secrets.items():
        check_secret_name(name)
        try:
            size = len(value.encode())
        except (AttributeError, UnicodeEncodeError):
            raise WrongSecret(f"The value of {name} is not text.", name=name) from None
        if size > MAX_VALUE_BYTES:
            raise WrongSecret(f"The value of {name} is longer than {MAX_VALUE_BYTES // 1024} KiB.", name=name)
        if "\0" in value:
            raise WrongSecret(f"The value of {name} holds a NUL character.", name=name)
        if name == ENCRYPTION_KEY and size not in _KEY_SIZES:
            raise WrongSecret(
                f"{name} encrypts PocketBase's settings and must have 32 characters (16 and 24 work, too), not {size}.",
                name=name,
            )
        total += size
    if total > MAX_TOTAL_BYTES:
        raise WrongSecret(f"All secrets of an instance together may have {MAX_TOTAL_BYTES // 1024} KiB at most.")
    return secrets
