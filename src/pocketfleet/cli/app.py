"""All verbs together, and the one place that turns errors into a line and an exit code."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from pocketfleet.cli import (
    accounts,
    addresses,
    configuring,
    copies,
    instances,
    releases,
    running,
    server,
    teams,
    upgrades,
    watching,
)
from pocketfleet.cli.common import chosen
from pocketfleet.cli.output import exit_code, fail
from pocketfleet.errors import PocketfleetError, WrongUsage

app = typer.Typer(
    name="pocketfleet",
    help="PocketBase instances on a server you own: asleep until called.",
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    no_args_is_help=True,
)
for group in (
    server,
    instances,
    running,
    upgrades,
    copies,
    configuring,
    watching,
    releases,
    teams,
    accounts,
    addresses,
):
    for name, verb in group.VERBS.items():
        app.command(name)(verb)


def _version(wanted: bool) -> None:
    if wanted:
        from pocketfleet import __version__

        print(f"pocketfleet {__version__}")
        raise typer.Exit


@app.callback()
def top(
    address: Annotated[
        str | None,
        typer.Option(
            "--server", metavar="URL", help="A server that you signed in to with `login`, instead of this one."
        ),
    ] = None,
    traceback: Annotated[bool, typer.Option("--traceback", help="Show where an error arose.", hidden=True)] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """What stands before the verb."""
    chosen.server = address


def run(arguments: list[str] | None = None) -> int:
    """Carry out one command line; answers its exit code. Never shows a traceback unless asked to."""
    words = sys.argv[1:] if arguments is None else arguments
    as_json = "--json" in words
    try:
        code = app(args=words, prog_name="pocketfleet", standalone_mode=False)
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except PocketfleetError as error:
        fail(error, as_json=as_json)
        return exit_code(error)
    except (KeyboardInterrupt, typer.Abort):
        return 130
    except BrokenPipeError:
        # whoever read us is gone (`pocketfleet list | head`); the interpreter must not try to flush what is left
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        if "--traceback" in words:
            raise
        return _unforeseen(error, as_json)


def _unforeseen(error: Exception, as_json: bool) -> int:
    # typer keeps the classes of its own errors to itself; all of them can say what they mean
    describe = getattr(error, "format_message", None)
    if describe is not None:
        text = describe().strip().rstrip(".") or "This command line does not fit"
        fail(WrongUsage(f"{text}. `pocketfleet --help` shows what there is."), as_json=as_json)
        return int(getattr(error, "exit_code", 2))
    fail(
        PocketfleetError(
            f"This is a mistake in pocketfleet: {type(error).__name__}: {error}. "
            "Please report it, with what `pocketfleet --traceback ...` prints."
        ),
        as_json=as_json,
    )
    return 1
