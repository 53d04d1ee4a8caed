"""Clients of processes on this machine: plain HTTP, past the proxies of our environment, and made in no time."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import httpx


def plain_client(
    base_url: str, *, timeout: float, socket: Path | None = None, headers: Mapping[str, str] | None = None
) -> httpx.AsyncClient:
    """`timeout`: seconds. `socket`: of a process that listens at one, whatever the URL's host is."""
    # nothing is encrypted, and reading the certificates of the world takes 18 ms in which nothing else is done
    transport = httpx.AsyncHTTPTransport(uds=str(socket) if socket else None, verify=False)
    return httpx.AsyncClient(
        transport=transport, base_url=base_url, timeout=timeout, headers=dict(headers or {}), trust_env=False
    )
