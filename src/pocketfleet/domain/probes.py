"""Probes: requests of an owner's own that a rehearsal makes, and what their answers must be."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from pocketfleet.errors import WrongUsage

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
IDENTITIES = ("anonymous", "superuser")
#: Of one instance.
MOST = 100
LONGEST_PATH = 2000
#: Bytes of a body, and of what an answer must hold.
LARGEST_JSON = 64 * 1024


def check_probes(probes: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """All of an instance's, as they are kept. Raises WrongUsage."""
    if len(probes) > MOST:
        raise WrongUsage(f"An instance has at most {MOST} probes, and these are {len(probes)}.", field="items")
    return [check_probe(probe) for probe in probes]


def check_probe(probe: Mapping[str, Any]) -> dict[str, Any]:
    """With `method`, `path`, `identity`, `body`, `expect_status`, `expect_json` and `safe`; all but the path may be
    left out. Raises WrongUsage."""
    method = str(probe.get("method") or "GET").upper()
    if method not in METHODS:
        raise WrongUsage(f"A probe's method is one of {', '.join(METHODS)}.", field="method")
    identity = probe.get("identity") or "anonymous"
    if identity not in IDENTITIES:
        raise WrongUsage(f"A probe is made as {' or '.join(IDENTITIES)}.", field="identity")
    return {
        "method": method,
        "path": _path(probe.get("path")),
        "identity": identity,
        "body": _json("body", probe.get("body")),
        "expect_status": _status(probe.get("expect_status")),
        "expect_json": _json("expect_json", probe.get("expect_json")),
        "safe": bool(probe.get("safe")),
    }


def _path(path: Any) -> str:
    fits = isinstance(path, str) and path.startswith("/") and not path.startswith("//") and len(path) <= LONGEST_PATH
    if not fits or not path.isascii() or not path.isprintable() or " " in path or "#" in path:
        raise WrongUsage(
            f"A probe's path begins with one slash, has at most {LONGEST_PATH} characters, and no spaces, for example "
            "/api/collections/posts/records?perPage=1.",
            field="path",
        )
    return str(path)


def _status(status: Any) -> int | None:
    if status is None:
        return None
    if isinstance(status, bool) or not isinstance(status, int) or not 200 <= status <= 599:
        raise WrongUsage("A probe expects a status from 200 to 599.", field="expect_status")
    return status


def _json(name: str, value: Any) -> Any:
    if value is not None and len(json.dumps(value)) > LARGEST_JSON:
        raise WrongUsage(f"A probe's {name} has at most {LARGEST_JSON // 1024} KiB.", field=name)
    return value
