"""Whether a PocketBase that only we can reach answers as it must, before anybody else is let in."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx

from pocketfleet.actions.upgrades import probes_of
from pocketfleet.domain.releases import Version, has_superusers_collection
from pocketfleet.errors import VerificationFailed
from pocketfleet.operations.plan import Work
from pocketfleet.operations.tools import Tools
from pocketfleet.plain_http import plain_client
from pocketfleet.rehearsal.identities import SUPERUSER, Minter
from pocketfleet.runtime import inspect

#: Seconds that one answer may take. The hold's budget ends it before others wait too long; a machine that is busy for a
#: moment must not be taken for a release that does not answer.
_PATIENCE = 10.0
#: Collections whose records are counted, the first ones by name.
_MOST_COLLECTIONS = 100


async def verify(work: Work, address: str, release: str, counts: Mapping[str, int]) -> dict[str, Any]:
    """1 health, 2 sign-in, 3 lists and their counts, 4 the admin page, 5 the owner's probes marked safe.

    Only reading requests of our own: never a logged one on live data. `counts`: rows by table that must be there at
    least. Answers how many requests were made. Raises VerificationFailed with the first that is wrong.
    """
    tools: Tools = work.tools
    folder = tools.config.instances / work.instance_id
    token = await asyncio.to_thread(_superuser_token, folder)
    async with plain_client(f"http://{address}", timeout=_PATIENCE) as client:
        examiner = Examiner(client, token)
        await examiner.expect("GET", "/api/health", 200)
        await examiner.expect("GET", "/_/", 200)
        if token:
            await _as_superuser(examiner, release, counts)
        for probe in await tools.database.call(probes_of, work.instance_id):
            if probe["safe"]:
                await examiner.probe(probe)
    return {"asked": examiner.asked, "signed_in": bool(token)}


class Examiner:
    """Asks, and takes no wrong answer."""

    def __init__(self, client: httpx.AsyncClient, token: str) -> None:
        self._client = client
        self._token = token
        self.asked = 0

    async def expect(self, method: str, path: str, status: int, *, token: str = "", body: Any = None) -> httpx.Response:
        """The answer. Raises VerificationFailed for another status, or none."""
        self.asked += 1
        headers = {"authorization": token} if token else {}
        try:
            answer = await self._client.request(method, path, headers=headers, json=body)
        except httpx.HTTPError as error:
            raise VerificationFailed(f"{method} {path} got no answer: {type(error).__name__}.") from error
        if answer.status_code != status:
            raise VerificationFailed(f"{method} {path} answered {answer.status_code}, not {status}.", path=path)
        return answer

    async def expect_as_superuser(self, method: str, path: str) -> Any:
        """The JSON of a 200."""
        return (await self.expect(method, path, 200, token=self._token)).json()

    async def probe(self, probe: Mapping[str, Any]) -> None:
        """One of the owner's: its status, and that the answer holds what it must."""
        token = self._token if probe["identity"] == "superuser" else ""
        status = probe["expect_status"] or 200
        answer = await self.expect(probe["method"], probe["path"], status, token=token, body=probe["body"])
        wanted = probe["expect_json"]
        if wanted is not None and not _holds(answer, wanted):
            raise VerificationFailed(f"{probe['method']} {probe['path']} does not answer what its probe expects.")


async def _as_superuser(examiner: Examiner, release: str, counts: Mapping[str, int]) -> None:
    new = has_superusers_collection(Version.parse(release))
    refresh = "/api/collections/_superusers/auth-refresh" if new else "/api/admins/auth-refresh"
    await examiner.expect_as_superuser("POST", refresh)
    listed = await examiner.expect_as_superuser("GET", "/api/collections?perPage=500&sort=name")
    plain = [item for item in listed["items"] if item["type"] != "view" and not item["name"].startswith("_")]
    for item in plain[:_MOST_COLLECTIONS]:
        name = item["name"]
        found = await examiner.expect_as_superuser("GET", f"/api/collections/{name}/records?perPage=1")
        if found["totalItems"] < counts.get(name, 0):
            raise VerificationFailed(
                f"The collection {name} has {found['totalItems']} records, and had {counts[name]}.", collection=name
            )


def _superuser_token(folder: Path) -> str:
    """Minted from the data, so no password is needed; "" where it has no superuser, or its settings are encrypted."""
    return Minter(folder, inspect.settings(folder, live=True), live=True).token(SUPERUSER)


def _holds(answer: httpx.Response, wanted: Any) -> bool:
    try:
        return contains(answer.json(), wanted)
    except ValueError:
        return False


def contains(found: Any, wanted: Any) -> bool:
    """Whether JSON holds what is wanted: objects may have more keys, everything else is equal."""
    if isinstance(wanted, dict):
        return isinstance(found, dict) and all(key in found and contains(found[key], wanted[key]) for key in wanted)
    return bool(found == wanted)
