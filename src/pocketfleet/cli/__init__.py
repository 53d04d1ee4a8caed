"""The command line: a client of the REST API, except `serve`."""

from __future__ import annotations


def main() -> None:
    """The entry point of `pocketfleet`; ends the process with the exit code."""
    try:
        from pocketfleet.cli.app import run

        raise SystemExit(run())
    except KeyboardInterrupt:  # also in the middle of an import
        raise SystemExit(130) from None
