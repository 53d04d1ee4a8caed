"""`addresses`: whom the operator lets in without limits, or not at all."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Annotated

import typer

from pocketfleet.cli import output
from pocketfleet.cli.common import Json, connect
from pocketfleet.errors import WrongUsage


class Listing(StrEnum):
    """What to do with an address."""

    ALLOW = "allow"
    DENY = "deny"
    DROP = "drop"


def addresses(
    verb: Annotated[Listing | None, typer.Argument(metavar="[allow|deny|drop]", help="Without it: both lists.")] = None,
    address: Annotated[
        str | None, typer.Argument(metavar="[ADDRESS]", help="Such as 203.0.113.7, 203.0.113.0/24 or 2001:db8::/48.")
    ] = None,
    note: Annotated[str, typer.Option(help="Why, for whoever looks at the list later.")] = "",
    as_json: Json = False,
) -> None:
    """Allow or deny addresses on this server, for operators."""
    if (verb is None) != (address is None):
        raise WrongUsage("Say `pocketfleet addresses deny 203.0.113.7`, or `allow`, or `drop` to take it off its list.")
    with connect() as client:
        if verb is Listing.DROP:
            client.delete("/addresses", network=address)
        elif verb is not None:
            client.put("/addresses", {"network": address, "listing": verb.value, "note": note})
        found = client.get("/addresses")["items"]
    if as_json:
        output.print_json(found)
        return
    rows = [[item["network"], item["listing"], output.plain(item["note"]), item["listed_by"]] for item in found]
    output.print_table(("address", "list", "note", "by"), rows, empty="Nobody is on a list: everybody is let in.")


VERBS: dict[str, Callable[..., None]] = {"addresses": addresses}
