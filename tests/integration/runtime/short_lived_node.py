"""A node to be killed: starts one guest, says so, and waits. `python -m ... HOME PORT INSTANCE`."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from tests.integration.runtime.rooms import House


async def main() -> None:
    """Never ends by itself."""
    home, port, instance_id, address, executable = sys.argv[1:]
    place = House(Path(home), guest_port=int(port))
    guest = place.add(Path(executable), instance_id=instance_id, address=address)
    import dataclasses

    place.guests[instance_id] = dataclasses.replace(
        guest, folder=place.config.instances / instance_id, log_folder=place.config.logs / instance_id
    )
    writing = asyncio.create_task(place.logs.run())
    await place.supervisor.ensure(instance_id, cause="GET /first")
    print("ready", flush=True)
    await writing


asyncio.run(main())
