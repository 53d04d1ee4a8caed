"""A map file of HAProxy: one `key value` a line, replaced by rename, added to by appending."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

_WORD = re.compile(r"[A-Za-z0-9._:/-]{1,255}", re.ASCII)


class MapFile:
    """What HAProxy reads when it starts or reloads. Never half written; at worst a last line is cut short."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> dict[str, str]:
        """The entries; nothing where there is no file yet."""
        try:
            text = self._path.read_text(errors="replace")
        except FileNotFoundError:
            return {}
        pairs = (line.split() for line in text.splitlines())
        return {pair[0]: pair[1] for pair in pairs if len(pair) == 2}

    def write(self, entries: Mapping[str, str]) -> None:
        """Put these in place of what was there."""
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # one writer: what a killed one has left is written over
        fresh = self._path.with_name(f"{self._path.name}.new")
        fresh.touch(mode=0o600)
        fresh.write_text(lines(entries))
        fresh.rename(self._path)

    def append(self, entries: Mapping[str, str]) -> None:
        """Add keys that are not there yet. A disk that is full leaves the file as it was."""
        self._path.touch(mode=0o600)
        left = lines(entries).encode()
        with self._path.open("ab", buffering=0) as file:
            before = file.tell()
            try:
                while left:
                    left = left[file.write(left) :]
            except OSError:
                # what comes next must not go on in the middle of a line
                file.truncate(before)
                raise


def lines(entries: Mapping[str, str]) -> str:
    """The entries as HAProxy reads them, in a file and on its command line."""
    return "".join(f"{key} {value}\n" for key, value in entries.items())


def check_word(text: str) -> str:
    """The text, if it may stand in a map and in a command. Raises ValueError: a blank or `;` would be a command."""
    if not _WORD.fullmatch(text):
        raise ValueError(f"this cannot stand in a map of HAProxy: {text!r}")
    return text
