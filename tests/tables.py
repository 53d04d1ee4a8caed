"""The tables for tests inside this process: made once, emptied before each test, on node's own database thread."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import django

django.setup()

from django.core.management import call_command  # noqa: E402

from pocketfleet.models import Audit, Change, Instance, Operation, Release, Source, User  # noqa: E402
from pocketfleet.operations.database import Database  # noqa: E402


@asynccontextmanager
async def empty_database() -> AsyncIterator[Database]:
    """A database with every table and no row."""
    database = Database()
    try:
        await database.call(_prepare)
        yield database
    finally:
        await database.close()


def _prepare() -> None:
    call_command("migrate", verbosity=0)
    for table in (Operation, Instance, Release, Source, Audit, Change, User):
        table.objects.all().delete()
