"""A stand-in for GitHub's API and its downloads, since GitHub cannot be reached by every test run."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit


class Github:
    """Pages of releases, and files by path; both may be changed while it runs."""

    def __init__(self) -> None:
        self.releases: list[dict[str, Any]] = []
        self.files: dict[str, bytes] = {}
        self.redirects: dict[str, str] = {}
        #: (status, headers) instead of any answer
        self.refusal: tuple[int, dict[str, str]] | None = None
        self.asked: list[str] = []
        self.url = ""

    def add(self, version: str, name: str, archive: bytes, *, checksum: str = "", digest: str = "") -> None:
        """A release with one file for this machine and a checksums.txt."""
        checksum = checksum or hashlib.sha256(archive).hexdigest()
        self.files[f"/files/{version}/{name}"] = archive
        self.files[f"/files/{version}/checksums.txt"] = f"{'0' * 64}  other.zip\n{checksum}  {name}\n".encode()
        assets = [
            {"name": file, "browser_download_url": f"{self.url}/files/{version}/{file}"}
            for file in (name, "checksums.txt")
        ]
        if digest:
            assets[0]["digest"] = digest
        self.releases.append(
            {"tag_name": f"v{version}", "draft": False, "published_at": "2026-01-02T03:04:05Z", "assets": assets}
        )

    def answer(self, path: str) -> tuple[int, dict[str, str], bytes]:
        """What GitHub would say."""
        self.asked.append(path)
        if self.refusal is not None:
            return *self.refusal, b"{}"
        parts = urlsplit(path)
        if parts.path in self.redirects:
            return 302, {"Location": self.redirects[parts.path]}, b""
        if parts.path == "/repos/pocketbase/pocketbase/releases":
            query = parse_qs(parts.query)
            page, size = int(query["page"][0]), int(query["per_page"][0])
            return 200, {}, json.dumps(self.releases[(page - 1) * size : page * size]).encode()
        if parts.path in self.files:
            return 200, {}, self.files[parts.path]
        return 404, {}, b"{}"


@contextmanager
def stand_in() -> Iterator[Github]:
    """It serves until the end of the block."""
    github = Github()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, headers, body = github.answer(self.path)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        github.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield github
        finally:
            server.shutdown()
            thread.join()
