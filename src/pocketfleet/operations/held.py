"""Routes that leave held instances out: what an operation starts answers nobody before it opens the gate."""

from __future__ import annotations

from collections.abc import Mapping

from pocketfleet.routing.gate import Gate
from pocketfleet.routing.routes import Routes


class HeldRoutes:
    """The supervisor's way to the edge."""

    def __init__(self, routes: Routes, gate: Gate) -> None:
        self._routes = routes
        self._gate = gate

    async def publish(self, instance_id: str, address: str) -> None:
        """Unless it is held: then its requests go on asking the gate, where they wait."""
        if not self._gate.holds(instance_id):
            await self._routes.publish(instance_id, address)

    async def withdraw(self, instance_id: str) -> None:
        """Requests for this instance go to the gate from now on."""
        await self._routes.withdraw(instance_id)

    async def replace(self, awake: Mapping[str, str]) -> None:
        """Let exactly these be reached directly, the held ones among them left out."""
        free = {key: address for key, address in awake.items() if not self._gate.holds(key)}
        await self._routes.replace_upstreams(free)
