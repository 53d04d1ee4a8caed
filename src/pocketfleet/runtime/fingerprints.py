"""SHA-256 of what a tenant's folder holds, told the same of the folder and of its copy in a snapshot."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from contextlib import suppress
from pathlib import Path, PurePosixPath

from pocketfleet.runtime.beneath import Entry, walk_below
from pocketfleet.runtime.copying import stays_inside


def folder_fingerprint(folder: Path) -> str:
    """SHA-256 over names and contents below a folder of an instance or of a copy: the same files give the same in both.

    What a copy leaves out does not count: links that lead outside, files that have a name outside, and what is special.
    Nothing leads anywhere else, whatever the tenant renames meanwhile.
    """
    names = Counter(entry.identity for entry in walk_below(folder.parent, folder.name) if not entry.is_single)
    found: dict[PurePosixPath, bytes] = {}
    for entry in walk_below(folder.parent, folder.name):
        if entry.is_link or entry.is_single or (entry.is_file and names[entry.identity] >= entry.known.st_nlink):
            with suppress(OSError):  # went away, or became something else, meanwhile
                if (content := _content_digest(entry, folder.name)) is not None:
                    found[entry.path] = content
    digest = hashlib.sha256()
    for path in sorted(found):
        digest.update(os.fsencode(path) + b"\0" + found[path] + b"\0")
    return digest.hexdigest()


def _content_digest(entry: Entry, top: str) -> bytes | None:
    if entry.is_link:
        target = entry.target()
        return os.fsencode(target) if stays_inside(PurePosixPath(top) / entry.path, target) else None
    with entry.open() as opened:
        return hashlib.file_digest(opened, "sha256").digest()
