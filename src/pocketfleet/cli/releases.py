"""`releases`: the catalogue of PocketBase versions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import typer

from pocketfleet.cli import output
from pocketfleet.cli.common import Json, connect


def releases(
    refresh: Annotated[bool, typer.Option("--refresh", help="Ask the sources for new ones first.")] = False,
    line: Annotated[str | None, typer.Option(metavar="X.Y", help="Only this minor series, such as 0.22.")] = None,
    as_json: Json = False,
) -> None:
    """Show the releases of PocketBase that can be run."""
    from pocketfleet.cli.follow import follow, must_succeed

    with connect() as client:
        if refresh:
            operation = follow(client, client.post("/releases/refresh")["operation"], quiet=as_json)
            must_succeed(operation, as_json=as_json)
        found = client.get("/releases", line=line)
    if as_json:
        output.print_json(found)
        return
    rows = [
        [
            item["version"],
            ", ".join(item["sources"]),
            "here" if item["fetched"] else "",
            (item.get("published_at") or "")[:10],
            "changes the system tables" if item["schema_boundary"] else "",
        ]
        for item in found["items"]
    ]
    empty = "No release is known yet; look for some: `pocketfleet releases --refresh`."
    output.print_table(("version", "sources", "fetched", "published", "note"), rows, empty=empty)
    for source in found["sources"]:
        if source.get("warning"):
            output.say(f"! {source['name']}: {output.plain(source['warning'])}")


VERBS: dict[str, Callable[..., None]] = {"releases": releases}
