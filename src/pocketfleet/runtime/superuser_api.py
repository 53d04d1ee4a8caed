"""Making and taking away superusers of an awake PocketBase, through its own API: nobody else may write to its data."""

from __future__ import annotations

import httpx

from pocketfleet.plain_http import plain_client
from pocketfleet.runtime.guest import Guest

#: Seconds that PocketBase may take: it hashes a password, and hooks may run.
_PATIENCE = 5.0


async def create(guest: Guest, token: str, record_id: str, email: str, password: str) -> bool:
    """Whether PocketBase made it; it may refuse: hooks, an address list of superusers, rules of its own."""
    body: dict[str, object] = {"id": record_id, "email": email, "password": password, "passwordConfirm": password}
    if guest.has_superusers:
        body["verified"] = True
    return await _ask(guest, token, "POST", _path(guest), body)


async def readdress(guest: Guest, token: str, record_id: str, email: str) -> bool:
    """Whether PocketBase gave it this address."""
    return await _ask(guest, token, "PATCH", f"{_path(guest)}/{record_id}", {"email": email})


async def delete(guest: Guest, token: str, record_id: str) -> bool:
    """Whether PocketBase took it away; it refuses to take the last one."""
    return await _ask(guest, token, "DELETE", f"{_path(guest)}/{record_id}")


def _path(guest: Guest) -> str:
    return "/api/collections/_superusers/records" if guest.has_superusers else "/api/admins"


async def _ask(guest: Guest, token: str, method: str, path: str, body: object = None) -> bool:
    base = f"http://{guest.listens_at}"
    try:
        async with plain_client(base, timeout=_PATIENCE) as client:
            answer = await client.request(method, path, json=body, headers={"authorization": token})
    except httpx.HTTPError:
        return False
    return answer.is_success
