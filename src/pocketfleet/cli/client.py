"""The way to the API: requests, problems, and streams of events that are taken up again when they break."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any

# httpx brings a command line of its own, whose imports take as long as all the rest; it can do without
sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type]

import httpx  # noqa: E402

from pocketfleet import __version__  # noqa: E402
from pocketfleet.cli.credentials import Server  # noqa: E402
from pocketfleet.errors import NotAnswering, PocketfleetError  # noqa: E402

#: Seconds during which a server that is being restarted gets another chance.
PATIENCE = 20.0
_RETRY_AFTER = 0.3
#: A stream that says nothing for this many seconds is opened again; the server sends comments in between.
_SILENCE = 60.0


class Problem(PocketfleetError):
    """The server refused, for a reason of its own."""

    def __init__(self, problem: dict[str, Any]) -> None:
        super().__init__(str(problem.get("detail") or problem.get("title") or "The server refused."))
        self._problem = problem

    def as_problem(self) -> dict[str, Any]:
        """The problem as the server sent it."""
        return {"status": 500, "code": "error", "detail": self.detail, **self._problem}


class Client:
    """One server's API. Raises Problem for what it refuses, NotAnswering where nobody answers."""

    def __init__(self, server: Server, *, timeout: float = 30.0, transport: httpx.BaseTransport | None = None) -> None:
        self.server = server
        self.timeout = timeout
        if transport is None and server.near:
            transport = _Near(server.near)
        self._http = httpx.Client(
            base_url=f"{server.url}/api/v1",
            headers={"authorization": f"Bearer {server.token}", "user-agent": f"pocketfleet/{__version__}"},
            timeout=httpx.Timeout(timeout, connect=min(5.0, timeout)),
            transport=transport,
            # a proxy of the environment is for the world, not for this machine
            trust_env=not server.near,
        )

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def get(self, path: str, **query: Any) -> Any:
        """The JSON at this path; a server that is being restarted gets some seconds."""
        return self.patiently(lambda: self._ask("GET", path, query=query))

    def all(self, path: str, **query: Any) -> list[dict[str, Any]]:
        """All items of a list that comes in pages."""
        items: list[dict[str, Any]] = []
        while True:
            page = self.get(path, offset=len(items), limit=1000, **query)
            items += page["items"]
            if not page["items"] or len(items) >= page.get("total", 0):
                return items

    def post(self, path: str, body: dict[str, Any] | None = None) -> Any:
        """POST; asked once only."""
        return self._ask("POST", path, body=body or {})

    def patch(self, path: str, body: dict[str, Any], *, wait: float = 0) -> Any:
        """PATCH; `wait`: seconds until what it asks for is in effect."""
        return self._ask("PATCH", path, body=body, query={"wait": wait} if wait else {}, extra=wait)

    def put(self, path: str, body: dict[str, Any]) -> Any:
        """PUT; asked once only."""
        return self._ask("PUT", path, body=body)

    def delete(self, path: str, **query: Any) -> Any:
        """DELETE; answers the JSON, None where there is none."""
        return self._ask("DELETE", path, query=query)

    def events(self, path: str, **query: Any) -> Iterator[tuple[str, Any]]:
        """Server-sent events as (name, JSON), until the server ends the stream."""
        timeout = httpx.Timeout(_SILENCE, connect=5.0)
        try:
            with self._http.stream("GET", path, params=query, timeout=timeout) as answer:
                if answer.status_code != 200 or not _is(answer, "text/event-stream"):
                    answer.read()
                    raise self._problem(answer)
                yield from parse_events(answer.iter_lines())
        except httpx.TransportError as error:
            raise self._unreachable(error) from error

    def upload(self, path: str, content: Iterator[bytes], size: int, **query: str) -> Any:
        """POST a large body; the answer's JSON, which may take a while after the last byte."""
        asked = {name: value for name, value in query.items() if value}
        headers = {"content-type": "application/zip", "content-length": str(size)}
        timeout = httpx.Timeout(_SILENCE, connect=5.0, read=600.0)
        try:
            answer = self._http.post(path, content=content, headers=headers, params=asked, timeout=timeout)
        except httpx.TransportError as error:
            raise self._unreachable(error) from error
        if answer.is_success and _is(answer, "application/json"):
            return answer.json()
        raise self._problem(answer)

    @contextmanager
    def download(self, path: str, headers: dict[str, str]) -> Iterator[httpx.Response]:
        """A large answer, to be read piece by piece."""
        timeout = httpx.Timeout(_SILENCE, connect=5.0)
        try:
            with self._http.stream("GET", path, headers=headers, timeout=timeout) as answer:
                if answer.status_code not in (200, 206):
                    answer.read()
                    raise self._problem(answer)
                yield answer
        except httpx.TransportError as error:
            raise self._unreachable(error) from error

    def patiently(self, ask: Callable[[], Any]) -> Any:
        """Ask again while the server is being restarted; never after it has refused."""
        deadline = time.monotonic() + min(PATIENCE, self.timeout)
        while True:
            try:
                return ask()
            except Restarting:
                if time.monotonic() >= deadline:
                    raise
                time.sleep(_RETRY_AFTER)

    def _ask(
        self, method: str, path: str, *, body: Any = None, query: dict[str, Any] | None = None, extra: float = 0
    ) -> Any:
        known = {name: value for name, value in (query or {}).items() if value is not None}
        try:
            answer = self._http.request(
                method,
                path,
                json=body,
                params=known,
                timeout=httpx.Timeout(self.timeout + extra, connect=min(5.0, self.timeout)),
            )
        except httpx.TransportError as error:
            raise self._unreachable(error) from error
        if answer.is_success and answer.status_code == 204:
            return None
        if answer.is_success and _is(answer, "application/json"):
            return answer.json()
        raise self._problem(answer)

    def _problem(self, answer: httpx.Response) -> PocketfleetError:
        if _is(answer, "application/problem+json") or (answer.is_error and _is(answer, "application/json")):
            try:
                problem = answer.json()
            except ValueError:
                problem = None
            if isinstance(problem, dict):
                return Problem(_with_next_step({"status": answer.status_code, **problem}, self.server))
        if answer.status_code in (502, 503, 504):
            return Restarting(f"pocketfleet at {self.server.url} is being restarted; try again in a moment.")
        return NotAnswering(
            f"{self.server.url} answers with status {answer.status_code}, and not as pocketfleet does. "
            "Is the address right?"
        )

    def _unreachable(self, error: httpx.TransportError) -> PocketfleetError:
        if isinstance(error, httpx.ConnectError):
            start = " Start it with `make serve` or `pocketfleet serve`." if self.server.near else ""
            return NotAnswering(f"Nothing answers at {self.server.url}.{start}")
        if isinstance(error, httpx.TimeoutException):
            return NotAnswering(f"{self.server.url} did not answer in time.")
        return Restarting(f"The connection to {self.server.url} broke; try again in a moment.")


class Patience:
    """How long a server that was there may be away: PATIENCE seconds from the first failure in a row."""

    def __init__(self) -> None:
        self._since: float | None = None

    def answered(self) -> None:
        """It is there."""
        self._since = None

    def is_over(self) -> bool:
        """To be asked after each failure."""
        now = time.monotonic()
        self._since = self._since or now
        return now - self._since >= PATIENCE


class Restarting(NotAnswering):
    """pocketfleet is being restarted."""


def parse_events(lines: Iterator[str]) -> Iterator[tuple[str, Any]]:
    """Events as the HTML standard defines them, with JSON as their data; comments and foreign data are left out."""
    name = "message"
    data: list[str] = []
    for line in lines:
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if not line and data:
            try:
                yield name, json.loads("\n".join(data))
            except ValueError:
                pass
        if not line:
            name, data = "message", []
        elif field == "event":
            name = value
        elif field == "data":
            data.append(value)


class _Near(httpx.BaseTransport):
    """Connects to the first of some addresses that listens, whatever the URL's host resolves to."""

    def __init__(self, addresses: tuple[str, ...]) -> None:
        self._addresses = addresses
        # plain HTTP only: reading the certificates of the world would take longer than the request
        self._inner = httpx.HTTPTransport(verify=False)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        for address in self._addresses[:-1]:
            try:
                return self._ask(address, request)
            except httpx.ConnectError:
                continue
        return self._ask(self._addresses[-1], request)

    def _ask(self, address: str, request: httpx.Request) -> httpx.Response:
        return self._inner.handle_request(
            httpx.Request(
                request.method,
                request.url.copy_with(host=address),
                headers=request.headers,
                stream=request.stream,
                extensions=request.extensions,
            )
        )

    def close(self) -> None:
        self._inner.close()


def _with_next_step(problem: dict[str, Any], server: Server) -> dict[str, Any]:
    if problem["status"] == 401:
        step = "Restart `pocketfleet serve`." if server.own else f"Sign in again: `pocketfleet login {server.url}`."
        problem["detail"] = f"{server.url} does not accept the token. {step}"
    return problem


def _is(answer: httpx.Response, kind: str) -> bool:
    return str(answer.headers.get("content-type", "")).split(";")[0].strip() == kind
