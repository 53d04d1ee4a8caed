"""Registers many instances at once, in the tables of a home at rest: copies of one that was made in the ordinary way.

`python -m bench.register NAME COUNT AWAKE`, with the server's POCKETFLEET_* in the environment, adds COUNT rows like
that of the instance NAME; the first AWAKE of them get a copy of its folder, so that they can be woken.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.server import Server

from bench import PROJECT
from pocketfleet.domain.addresses import next_number
from pocketfleet.domain.hostnames import new_id

#: Rows that one statement inserts.
BATCH = 500


def names(count: int) -> list[str]:
    """What they are called."""
    return [f"fleet{number}" for number in range(count)]


def register(server: Server, name: str, count: int, awake: int) -> None:
    """Do it in a process of its own, with the environment of a server that does not run."""
    command = [sys.executable, "-m", "bench.register", name, str(count), str(awake)]
    subprocess.run(command, cwd=PROJECT, env=server.environment, check=True)


def main(name: str, count: int, awake: int) -> None:
    """Insert the rows, then copy the folders."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "pocketfleet.web.settings")
    import django

    django.setup()
    from pocketfleet.models import Instance

    like = Instance.objects.get(name=name)
    fields = {field.attname: getattr(like, field.attname) for field in Instance._meta.concrete_fields}
    number, rows = like.number, []
    for label in names(count):
        number = next_number(number)
        rows.append(Instance(**(fields | {"id": new_id(), "name": label, "number": number})))
    Instance.objects.bulk_create(rows, batch_size=BATCH)
    folders = Path(os.environ["POCKETFLEET_HOME"]) / "instances"
    for row in rows[:awake]:
        shutil.copytree(folders / like.id, folders / row.id)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
