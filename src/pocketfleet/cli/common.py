"""What many verbs share: their options, and the way to the server."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from pocketfleet.errors import InstanceNotFound

if TYPE_CHECKING:
    from pocketfleet.cli.client import Client

#: Seconds that an intent may take until node has taken it up.
INTENT_SECONDS = 30


@dataclass
class Chosen:
    """What stood before the verb on this command line."""

    server: str | None = None


chosen = Chosen()


def connect(timeout: float = 30.0) -> Client:
    """A client of the server that this command line means. Raises NotAnswering, NotSignedIn."""
    from pocketfleet.cli.client import Client
    from pocketfleet.cli.credentials import find_server
    from pocketfleet.config import load

    return Client(find_server(load(client=True), chosen.server), timeout=timeout)


def path_of(name: str, *rest: str) -> str:
    """The API's path of an instance, and of what lies below it. Raises InstanceNotFound for what is no name at all."""
    if re.fullmatch("[a-z0-9-]{1,63}", name) is None:
        raise InstanceNotFound(name[:70])
    return "/".join(["/instances", name, *rest])


def complete_names(incomplete: str) -> list[str]:
    """Names of instances for the shell; nothing at all where the server does not answer quickly."""
    try:
        with connect(timeout=0.5) as client:
            found = client.get("/instances", search=incomplete, limit=50)
        return [item["name"] for item in found["items"] if item["name"].startswith(incomplete)]
    except Exception:  # a completion must never print anything into the line that is being typed
        return []


Name = Annotated[str, typer.Argument(metavar="NAME", help="Its name, or its id.", autocompletion=complete_names)]
AnyName = Annotated[
    str | None, typer.Argument(metavar="[NAME]", help="Its name, or its id.", autocompletion=complete_names)
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else.")]
NoWait = Annotated[bool, typer.Option("--no-wait", help="Do not wait until it is done.")]
Wait = Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until it is done, with live steps.")]
