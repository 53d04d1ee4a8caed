"""Large files beside Django: uploads into `incoming/`, downloads of finished backups.

POST      /api/v1/uploads                              the file as the whole body -> 201 {upload, size, sha256};
                                                       ?instance= or ?team= says what it is for
GET, HEAD /api/v1/instances/{ref}/backups/{name}/file  a backup; ranges are served

Whoever asks is known before the first byte is taken; nothing is ever held in memory whole.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import io
import json
import os
import re
import shutil
from collections.abc import AsyncIterator, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import parse_qs

from asgiref.sync import sync_to_async
from django.conf import settings
from django.core.handlers.asgi import ASGIRequest
from django.db import connection
from django.http import HttpResponse
from ninja.utils import check_csrf

from pocketfleet.actions import copies, uploads
from pocketfleet.actions.records import Whence, whence
from pocketfleet.config import Config
from pocketfleet.domain.roles import Verb
from pocketfleet.errors import (
    BackupNotFound,
    DiskTrouble,
    MethodNotAllowed,
    NotFromHere,
    NotSignedIn,
    PocketfleetError,
    RangeNotServed,
    TooLarge,
)
from pocketfleet.models import Backup
from pocketfleet.web import problems
from pocketfleet.web.access import instance_of, team_to_upload_to
from pocketfleet.web.asgi import Message, Receive, Scope, Send, announced
from pocketfleet.web.callers import Caller, Via, identify
from pocketfleet.web.middleware import address_of, guards, refusal

UPLOADS = "/api/v1/uploads"
_DOWNLOAD = re.compile(r"/api/v1/instances/([a-z0-9-]{1,63})/backups/([A-Za-z0-9._-]{1,150})/file")
_ZIP: dict[str, Any] = {"application/zip": {"schema": {"type": "string", "format": "binary"}}}
_SECURITY: list[dict[str, list[str]]] = [{"SignedIn": []}]
#: What OpenAPI says of the two; django-ninja does not know them.
OPENAPI: dict[str, dict[str, Any]] = {
    UPLOADS: {
        "post": {
            "operationId": "upload_file",
            "summary": "Upload a backup",
            "description": "The zip itself is the body. It belongs to a team: that of the instance that it is for, the"
            " given one, else your own. It counts in that team's storage, its members may use it, and it is removed"
            " after a day if nothing does.",
            "tags": ["transfers"],
            "security": _SECURITY,
            "parameters": [
                {"in": "query", "name": name, "required": False, "schema": {"type": "string"}}
                for name in ("instance", "team")
            ],
            "requestBody": {"required": True, "content": _ZIP},
            "responses": {
                "201": {
                    "description": "It is there.",
                    "content": {
                        "application/json": {
                            "schema": {
                                "type": "object",
                                "required": ["upload", "size", "sha256"],
                                "properties": {
                                    "upload": {"type": "string"},
                                    "size": {"type": "integer"},
                                    "sha256": {"type": "string"},
                                },
                            }
                        }
                    },
                }
            },
        }
    },
    "/api/v1/instances/{ref}/backups/{name}/file": {
        "get": {
            "operationId": "download_backup",
            "summary": "Download a backup",
            "description": "Ranges are served, so that a download can be resumed; the ETag is the file's SHA-256.",
            "tags": ["backups"],
            "security": _SECURITY,
            "parameters": [
                {"in": "path", "name": name, "required": True, "schema": {"type": "string"}} for name in ("ref", "name")
            ],
            "responses": {
                "200": {"description": "All of it.", "content": _ZIP},
                "206": {"description": "The part that was asked for.", "content": _ZIP},
            },
        }
    },
}
#: Bytes that are written or read at a time, in a thread.
_CHUNK = 1 << 20
#: Bytes that an upload leaves free on the disk.
_RESERVE = 100_000_000
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")


def takes(scope: Scope) -> bool:
    """Whether a request is for here."""
    return scope["path"] == UPLOADS or _DOWNLOAD.fullmatch(scope["path"]) is not None


async def serve(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer one request."""
    begun = False

    async def send_on(message: Message) -> None:
        nonlocal begun
        begun = True
        await send(message)

    try:
        caller, address = await sync_to_async(_caller)(scope)
        whence.set(Whence(address=address, via=str(caller.via)))
        if scope["path"] == UPLOADS:
            await _upload(scope, receive, send_on, caller)
        else:
            await _download(scope, receive, send_on, caller)
    except _Gone:
        pass
    except Exception as error:
        if begun:
            raise  # cut short: the client sees that by the length
        await _refuse(send, problems.of_exception(error))
    finally:
        # looked up in the request's thread: elsewhere `connection` is another one
        await sync_to_async(lambda: connection.close())()


class _Gone(Exception):
    """The client has left."""


# Who is asking


def _caller(scope: Scope) -> tuple[Caller, str]:
    """The caller and their address, as Django's middleware finds them out.

    Raises NotSignedIn, NotFromHere, WrongRequest.
    """
    request = ASGIRequest(scope, io.BytesIO())
    if (refused := refusal(request)) is not None:
        raise refused
    store = import_module(settings.SESSION_ENGINE).SessionStore
    request.session = store(request.COOKIES.get(settings.SESSION_COOKIE_NAME))
    caller = identify(request, settings.CONFIG)
    if caller is None:
        raise NotSignedIn("You are not signed in. Send `Authorization: Bearer <token>`.")
    if caller.via is Via.SESSION and scope["method"] not in ("GET", "HEAD") and check_csrf(request) is not None:
        raise NotFromHere("With a session, X-CSRFToken and Origin must be the dashboard's own.")
    return caller, address_of(request)


# Uploads


async def _upload(scope: Scope, receive: Receive, send: Send, caller: Caller) -> None:
    """1 room enough, 2 a row that says whose it is, 3 into a `.part`, 4 flushed, 5 renamed. What breaks off leaves
    nothing."""
    if scope["method"] != "POST":
        raise MethodNotAllowed("Send a file with POST.", allow="POST")
    config: Config = settings.CONFIG
    _check_size(announced(scope), config)
    _check_room(announced(scope), config)
    upload_id = await sync_to_async(_begin)(scope, caller)
    try:
        size, sha256 = await _take(receive, upload_id, caller)
    except BaseException:
        await asyncio.shield(sync_to_async(uploads.forget_upload)(upload_id))
        raise
    await _answer(send, 201, {"upload": upload_id, "size": size, "sha256": sha256})


def _begin(scope: Scope, caller: Caller) -> str:
    asked = parse_qs(scope["query_string"].decode("ascii", "replace"))
    team = team_to_upload_to(caller, *(asked.get(name, [""])[0][:100] for name in ("team", "instance")))
    return uploads.begin_upload(team.id, announced(scope), token=caller.token, acting_user=caller.user)


async def _take(receive: Receive, upload_id: str, caller: Caller) -> tuple[int, str]:
    config: Config = settings.CONFIG
    with _part(config.upload(upload_id)) as opened:
        size, digest = await _write_all(receive, opened, config)
        sha256 = digest.hexdigest()
        await sync_to_async(uploads.finish_upload)(upload_id, size, sha256, acting_user=caller.user)
        await asyncio.to_thread(_finish, opened, config.upload(upload_id))
    return size, sha256


@contextlib.contextmanager
def _part(target: Path) -> Iterator[BinaryIO]:
    path = target.with_suffix(".part")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with path.open("xb") as opened:
            path.chmod(0o600)
            yield opened
    except OSError as error:
        raise DiskTrouble(f"The upload could not be written: {error.strerror}. Check that disk.") from error
    finally:
        path.unlink(missing_ok=True)


async def _write_all(receive: Receive, opened: BinaryIO, config: Config) -> tuple[int, Any]:
    digest, size, pending = hashlib.sha256(), 0, bytearray()

    def write(content: bytes) -> None:
        digest.update(content)
        opened.write(content)

    async for content in _body(receive):
        pending += content
        if len(pending) >= _CHUNK:
            size += len(pending)
            _check_size(size, config)
            _check_room(0, config)
            await asyncio.to_thread(write, bytes(pending))
            pending.clear()
    await asyncio.to_thread(write, bytes(pending))
    return size + len(pending), digest


async def _body(receive: Receive) -> AsyncIterator[bytes]:
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _Gone
        yield message.get("body", b"")
        if not message.get("more_body", False):
            return


def _check_size(size: int, config: Config) -> None:
    if size > config.upload_bytes:
        raise TooLarge(f"An upload may have {config.upload_bytes} bytes at most.", limit=config.upload_bytes)


def _check_room(needed: int, config: Config) -> None:
    free = shutil.disk_usage(config.home).free
    if free - needed < _RESERVE:
        raise DiskTrouble("The disk is nearly full. Make room on it, then upload again.", free=free)


def _finish(opened: BinaryIO, target: Path) -> None:
    opened.flush()
    os.fsync(opened.fileno())
    Path(opened.name).rename(target)


# Downloads


async def _download(scope: Scope, receive: Receive, send: Send, caller: Caller) -> None:
    if scope["method"] not in ("GET", "HEAD"):
        raise MethodNotAllowed("Read a file with GET.", allow="GET, HEAD")
    match = _DOWNLOAD.fullmatch(scope["path"])
    backup = await sync_to_async(_find)(caller, match[1] if match else "", match[2] if match else "")
    headers = {name.lower(): value.decode("latin-1") for name, value in scope["headers"]}
    path = settings.CONFIG.backups / backup.instance_id / backup.name
    try:
        opened = path.open("rb")
    except OSError:
        raise BackupNotFound(f"The file of {backup.name} is gone.") from None
    with opened:
        size = os.fstat(opened.fileno()).st_size
        tag = f'"{backup.sha256}"'
        start, end = _wanted(headers, size, tag)
        if start == 0 and scope["method"] == "GET":
            await sync_to_async(copies.note_download)(backup, acting_user=caller.user)
        await send(_head(backup, size, start, end, tag))
        if scope["method"] == "GET":
            opened.seek(start)
            await _send_all(opened, end - start, receive, send)
        else:
            await send({"type": "http.response.body", "body": b""})


def _find(caller: Caller, reference: str, name: str) -> Backup:
    return copies.find_backup(instance_of(caller, reference, Verb.DATA).id, name)


def _wanted(headers: dict[bytes, str], size: int, tag: str) -> tuple[int, int]:
    """First byte and the one past the last. One range is understood; more, or of another file: all of it."""
    match = _RANGE.fullmatch(headers.get(b"range", "").strip())
    if match is None or match[0] == "bytes=-" or headers.get(b"if-range", tag) != tag:
        return 0, size
    if match[1]:
        start, end = int(match[1]), min(int(match[2]) + 1 if match[2] else size, size)
    else:
        start, end = max(0, size - int(match[2])), size
    if start >= end:
        raise RangeNotServed(f"The file has {size} bytes.", size=size)
    return start, end


def _head(backup: Backup, size: int, start: int, end: int, tag: str) -> Message:
    headers = {
        "Content-Type": "application/zip",
        "Content-Length": str(end - start),
        "Content-Disposition": f'attachment; filename="{backup.name}"',
        "Accept-Ranges": "bytes",
        "ETag": tag,
    }
    partly = end - start < size
    if partly:
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
    return _start(206 if partly else 200, headers)


async def _send_all(opened: BinaryIO, left: int, receive: Receive, send: Send) -> None:
    gone = asyncio.ensure_future(_disconnected(receive))
    try:
        while left:
            content = await asyncio.to_thread(opened.read, min(_CHUNK, left))
            if not content or gone.done():
                return  # cut short: the client sees that by the length, and resumes
            left -= len(content)
            await send({"type": "http.response.body", "body": content, "more_body": left > 0})
    finally:
        gone.cancel()


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


# Answers


async def _answer(send: Send, status: int, content: Any) -> None:
    body = json.dumps(content).encode()
    await send(_start(status, {"Content-Type": "application/json", "Content-Length": str(len(body))}))
    await send({"type": "http.response.body", "body": body})


async def _refuse(send: Send, error: PocketfleetError) -> None:
    response: HttpResponse = problems.problem(error)
    headers = {name: str(value) for name, value in response.headers.items()}
    if "allow" in error.facts:
        headers["Allow"] = str(error.facts["allow"])
    if error.status == 416:
        headers["Content-Range"] = f"bytes */{error.facts['size']}"
    # what is still to come of a body is not read
    headers |= {"Content-Length": str(len(response.content)), "Connection": "close"}
    await send(_start(error.status, headers))
    await send({"type": "http.response.body", "body": response.content})


def _start(status: int, headers: dict[str, str]) -> Message:
    pairs = [(name.lower().encode(), value.encode("latin-1")) for name, value in (guards() | headers).items()]
    return {"type": "http.response.start", "status": status, "headers": pairs}
