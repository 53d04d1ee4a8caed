"""`serve`: the one verb that is no client."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer


def serve(
    home: Annotated[Path | None, typer.Option(help="Folder of everything that is kept (POCKETFLEET_HOME).")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on (POCKETFLEET_PORT).")] = None,
    domain: Annotated[str | None, typer.Option(help="Base domain (POCKETFLEET_DOMAIN).")] = None,
) -> None:
    """Run pocketfleet: edge, node and control together, until Ctrl-C."""
    from pocketfleet.config import load
    from pocketfleet.serve import main

    raise typer.Exit(main(load(home=home, port=port, domain=domain)))


VERBS: dict[str, Callable[..., None]] = {"serve": serve}
