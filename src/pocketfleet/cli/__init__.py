"""The command line: a client of the REST API, except `serve`."""

from __future__ import annotations


def main() -> None:
    """The entry point of `pocketfleet`; ends the process with the exit code."""
    from pocketfleet.cli.app import run

    raise SystemExit(run())
