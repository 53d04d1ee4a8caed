"""`serve`: the one verb that is no client."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from pocketfleet.cli import output
from pocketfleet.cli.common import Json
from pocketfleet.errors import WrongUsage


def serve(
    home: Annotated[Path | None, typer.Option(help="Folder of everything that is kept (POCKETFLEET_HOME).")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on (POCKETFLEET_PORT).")] = None,
    domain: Annotated[str | None, typer.Option(help="Base domain (POCKETFLEET_DOMAIN).")] = None,
) -> None:
    """Run pocketfleet: edge, node and control together, until Ctrl-C."""
    from pocketfleet.config import load
    from pocketfleet.serve import main

    raise typer.Exit(main(load(home=home, port=port, domain=domain)))


def rekey(
    forget_old: Annotated[
        bool, typer.Option("--forget-old", help="Remove older keys, once nothing is sealed with them.")
    ] = False,
    lost: Annotated[
        bool, typer.Option("--lost", help="Delete the secrets that no key opens; they must be set anew.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Seal all secrets of this server with a new key. To be run on the machine itself, as the server's own user."""
    from pocketfleet import control
    from pocketfleet.config import load

    if forget_old and lost:
        raise WrongUsage("Give --forget-old or --lost, not both: one removes keys, the other secrets.")
    config = load()
    done = control.rotate_key(config, forget_old=forget_old, lost=lost)
    if as_json:
        output.print_json(done)
        return
    if forget_old:
        print(f"{done['forgotten']} older keys are gone from {config.sealing_key_path}.")
        return
    print(f"{done['sealed']} secrets are sealed with a new key, the first line of {config.sealing_key_path}.")
    for each in done["lost"]:
        print(f"Deleted, since no key opens it: {each}")
    print("Older copies of the database need the older keys: `pocketfleet rekey --forget-old` removes those.")


VERBS: dict[str, Callable[..., None]] = {"serve": serve, "rekey": rekey}
