"""A double of the API at the HTTP layer, and a way to run one command line against it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from pocketfleet.cli import client as client_module
from pocketfleet.cli.app import run

TOKEN = "pfo_operators-own-token-of-this-start"
Answer = httpx.Response | dict[str, Any] | Callable[[httpx.Request], Any]


@dataclass
class Double:
    """Answers by `METHOD /path`; a list is answered one after the other, its last one for ever."""

    answers: dict[str, Any] = field(default_factory=dict)
    requests: list[httpx.Request] = field(default_factory=list)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        key = f"{request.method} {request.url.path.removeprefix('/api/v1')}"
        if key not in self.answers:
            return problem(404, "not_found", f"There is no {key}.")
        answer = self.answers[key]
        if isinstance(answer, list):
            answer = answer.pop(0) if len(answer) > 1 else answer[0]
        if callable(answer):
            answer = answer(request)
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, httpx.Response) else httpx.Response(200, json=answer)

    def bodies(self, method: str) -> list[Any]:
        """What was sent with this method, in order."""
        return [json.loads(request.content) for request in self.requests if request.method == method]

    def paths(self) -> list[str]:
        """What was asked for, in order."""
        return [f"{request.method} {request.url.path.removeprefix('/api/v1')}" for request in self.requests]


@dataclass
class Ran:
    """How one command line went."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Its stdout as JSON."""
        return json.loads(self.out)


Cli = Callable[..., Ran]


@pytest.fixture
def double(monkeypatch: pytest.MonkeyPatch) -> Double:
    """The API's double, in place of the network."""
    made = Double()
    monkeypatch.setattr(client_module, "_Near", lambda addresses: httpx.MockTransport(made))
    return made


@pytest.fixture
def operator_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home on which a server runs, and a configuration folder of one's own."""
    home = tmp_path / "home"
    home.mkdir()
    (home / "operator.json").write_text(json.dumps({"url": "http://localhost:8080", "token": TOKEN}))
    monkeypatch.setenv("POCKETFLEET_HOME", str(home))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return home


@pytest.fixture
def cli(operator_home: Path, capsys: pytest.CaptureFixture[str]) -> Cli:
    """Run one command line; answers its exit code and what it printed."""

    def go(*words: str) -> Ran:
        code = run(list(words))
        printed = capsys.readouterr()
        return Ran(code, printed.out, printed.err)

    return go


def instance(**changes: Any) -> dict[str, Any]:
    """An instance as the API shows it."""
    return {
        "id": "abcdefghij12345",
        "name": "shop",
        "url": "http://shop.localhost:8080",
        "host_id": "http://abcdefghij12345.localhost:8080",
        "state": "asleep",
        "reason": "",
        "retry_at": None,
        "range": "~0.40.6",
        "release": "0.40.6",
        "power": "on",
        "dev": False,
        "always_awake": False,
        "admin_sync": False,
        "policy": "ask",
        "window": {},
        "backup_plan": {},
        "retention": {},
        "traffic_limits": {},
        "idle_timeout": 60,
        "idle_timeout_own": None,
        "superuser_email": "admin@shop.localhost",
        "secrets": [],
        "ready": True,
        "awake_since": None,
        "last_request_at": None,
        "size": None,
        "created_at": "2026-01-02T03:04:05Z",
        "generation": 3,
        "observed_generation": 3,
        "operation": None,
    } | changes


def usage(**changes: Any) -> dict[str, Any]:
    """What an instance was used for, as the API shows it."""
    nothing = {"requests": 0, "client_errors": 0, "server_errors": 0, "bytes_in": 0, "bytes_out": 0}
    return {
        "period": "month",
        "items": [],
        "last_day": nothing,
        "last_month": nothing,
        "last_request_at": None,
        "size": None,
        "snapshots_size": 0,
        "backups_size": 0,
    } | changes


def operation(state: str = "succeeded", **changes: Any) -> dict[str, Any]:
    """An operation as the API shows it."""
    step = {
        "name": "folders",
        "state": "done",
        "progress": None,
        "message": "",
        "started_at": None,
        "finished_at": None,
    }
    return {
        "id": "operation123456",
        "kind": "create",
        "instance": "shop",
        "instance_id": "abcdefghij12345",
        "state": state,
        "steps": [step],
        "from": None,
        "to": None,
        "verdict": None,
        "reasons": [],
        "held_ms": None,
        "error": {},
        "result": {},
        "actor": "operator",
        "created_at": "2026-01-02T03:04:05Z",
        "started_at": "2026-01-02T03:04:05Z",
        "finished_at": "2026-01-02T03:04:06Z",
    } | changes


def problem(status: int, code: str, detail: str, **facts: Any) -> httpx.Response:
    """A refusal as the API makes it."""
    content = {
        "type": f"/docs/errors#{code}",
        "title": "Title.",
        "status": status,
        "code": code,
        "detail": detail,
        **facts,
    }
    return httpx.Response(status, content=json.dumps(content), headers={"content-type": "application/problem+json"})


def stream(*events: tuple[str, Any]) -> httpx.Response:
    """An event stream that ends after these."""
    text = ": hello\n\n" + "".join(f"event: {name}\ndata: {json.dumps(data)}\n\n" for name, data in events)
    return httpx.Response(200, content=text, headers={"content-type": "text/event-stream; charset=utf-8"})
