"""Why a guest ended, in words for its owner: the lines that say it, and what to do about them."""

from __future__ import annotations

import re
import signal

from pocketfleet.domain.redaction import redact
from pocketfleet.domain.secrets import ENCRYPTION_KEY
from pocketfleet.runtime.runner import ExitCode

_LINES = 4
_LENGTH = 1000

#: What PocketBase prints (FACTS.md), matched without regard to case, and the next step. The first that fits is said.
_HINTS = (
    (r"disk is full|no space left on device", "The disk is full: free some space."),
    (r"readonly database|read-only file system", "The data directory cannot be written: check the disk it is on."),
    (r"permission denied", "Something may not be read or written: check the owner and mode of the instance's files."),
    (
        r"invalid settings db data|failed to decrypt|encryption",
        f"The settings are encrypted: set the secret {ENCRYPTION_KEY} to their key.",
    ),
    (
        r"failed to apply migration \S+\.go\b",
        "PocketBase's own migration cannot take this data along: correct what it names, with the present release.",
    ),
    (r"failed to apply migration", "A migration fails: correct or remove its file in pb_migrations."),
    (
        r"failed to execute .*\.js|\.pb\.js|ReferenceError|SyntaxError|TypeError",
        "A hook or a migration fails: correct the file it names.",
    ),
    (
        r"file is not a database|malformed|database corruption",
        "A database is damaged: restore the instance from a backup.",
    ),
    (r"address already in use", "Another program listens at its address: end that one."),
    (r"too many open files", "This machine's limit of open files is used up: raise it."),
    (r"out of memory|cannot allocate memory", "There was not enough memory."),
)
_BEGINS_A_CRASH = re.compile(r"^(panic:|fatal error:|unexpected fault)")


def why_it_ended(code: ExitCode, output: str, *, answered: bool, cause: str = "") -> str:
    """One text of at most about 1,000 characters: how it ended, its own words (redacted), the next step.

    `cause`: what the runner knows better than any code.
    """
    said = redact("\n".join(_telling(output.splitlines())))[-_LENGTH:]
    how = f"was ended: {cause}" if cause else _how(code)
    words = [f"PocketBase {how}{'' if answered else ' before it answered'}."]
    # what one that worked printed last is about its death only where it ended itself
    if said and (not answered or (code or 0) > 0 or _BEGINS_A_CRASH.match(said)):
        words.append(f"It said: {said}")
        words += [hint for pattern, hint in _HINTS if re.search(pattern, said, re.IGNORECASE)][:1]
    return "\n".join(words)


def _telling(lines: list[str]) -> list[str]:
    for number, line in enumerate(lines):
        if _BEGINS_A_CRASH.match(line):
            return lines[number : number + 2]
    return lines[-_LINES:]


def _how(code: ExitCode) -> str:
    if code is None:
        return "ended"
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    return f"was ended by {name}" + (" (by hand, or for lack of memory)" if code == -signal.SIGKILL else "")
