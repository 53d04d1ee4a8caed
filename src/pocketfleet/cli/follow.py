"""Waiting for an operation, with its steps live on a terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import typer

from pocketfleet.cli import output
from pocketfleet.cli.client import Client, Patience, Problem
from pocketfleet.errors import NotAnswering

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

OPEN = ("pending", "running")
_NO_STREAM = ("too_many_streams", "too_many_own_streams")
#: Seconds between two looks at an operation that no stream tells of.
_SELDOM = 2.0


def ask(
    client: Client, method: str, path: str, body: dict[str, Any] | None = None, *, wait: bool = True, quiet: bool
) -> dict[str, Any]:
    """Ask for an operation; answers its JSON, the last one where it is waited for."""
    answer = client.delete(path) if method == "DELETE" else client.post(path, body)
    operation: dict[str, Any] = answer["operation"]
    return follow(client, operation, quiet=quiet) if wait else operation


def follow(client: Client, operation: dict[str, Any], *, quiet: bool) -> dict[str, Any]:
    """Wait until the operation ends; answers its last JSON. `quiet`, or without a terminal, nothing is shown."""
    show = _Steps() if sys.stderr.isatty() and not quiet else None
    try:
        for latest in changes(client, operation):
            operation = latest
            if show is not None:
                show.update(operation)
    except KeyboardInterrupt:
        if not quiet:
            of = operation.get("instance") or ""
            output.say(f"\nIt goes on without you; see `pocketfleet operations {of}`.".replace(" `.", "`."))
        raise
    finally:
        if show is not None:
            show.close()
    return operation


def changes(client: Client, operation: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Every state of the operation from the server's event stream, which is opened again when it breaks."""
    yield operation
    patience = Patience()
    while operation["state"] in OPEN:
        try:
            for name, value in client.events(f"/operations/{operation['id']}/events"):
                if name == "operation":
                    operation = value
                    patience.answered()
                    yield operation
            if operation["state"] in OPEN:
                time.sleep(0.2)
                operation = client.get(f"/operations/{operation['id']}")
                patience.answered()
                yield operation
        except Problem as problem:
            # somebody else's streams, or our own, are too many: without one, now and then does as well
            if problem.as_problem()["code"] not in _NO_STREAM:
                raise
            time.sleep(_SELDOM)
            operation = client.get(f"/operations/{operation['id']}")
            patience.answered()
            yield operation
        except NotAnswering:
            if patience.is_over():
                raise
            time.sleep(0.3)


def must_succeed(operation: dict[str, Any], *, as_json: bool) -> None:
    """Say why an operation did not succeed, and end with the exit code for it. One that goes on is fine."""
    if code := result_code(operation):
        output.fail(failure(operation), as_json=as_json)
        raise typer.Exit(code)


def result_code(operation: dict[str, Any]) -> int:
    """The exit code that an operation's state stands for."""
    if operation["state"] == "succeeded" or operation["state"] in OPEN:
        return output.DONE
    return {"asking": output.ASKING, "rolled_back": output.ROLLED_BACK}.get(operation["state"], output.FAILED)


def failure(operation: dict[str, Any]) -> Problem:
    """What an operation that did not succeed says, as an error."""
    problem = operation.get("error") or {}
    detail = problem.get("detail") or f"The operation ended as “{operation['state']}”."
    return Problem({"status": 500, **problem, "detail": detail, "operation": operation["id"]})


class _Steps:
    """The steps of one operation on stderr: a line each, with a bar where its progress is known."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        self._tasks: dict[str, TaskID] = {}
        self._progress: Progress = Progress(
            SpinnerColumn(finished_text="[green]✓[/green]"),
            TextColumn("{task.fields[text]}", markup=False),
            BarColumn(bar_width=24),
            TimeElapsedColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        self._progress.start()

    def update(self, operation: dict[str, Any]) -> None:
        """Show how its steps are now."""
        for step in operation["steps"]:
            text = output.plain(f"{step['name'].replace('_', ' ')}  {step['message'] or ''}".strip())
            name = step["name"]
            if name not in self._tasks:
                self._tasks[name] = self._progress.add_task("", total=None, text=text)
            done = step["state"] not in ("running", "compensating")
            share = 1.0 if done else step["progress"]
            total = None if share is None else 1.0
            self._progress.update(self._tasks[name], total=total, completed=share or 0.0, text=text)

    def close(self) -> None:
        """Take the display away."""
        self._progress.stop()
