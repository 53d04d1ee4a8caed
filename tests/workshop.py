"""Node's working parts on a home of one's own, without the edge: real processes, real files, a real journal."""

from __future__ import annotations

from pathlib import Path

from pocketfleet.actions.releases import Offered, record_offers
from pocketfleet.config import Config
from pocketfleet.operations.database import Database
from pocketfleet.operations.fleet import Fleet
from pocketfleet.operations.held import HeldRoutes
from pocketfleet.operations.tools import Tools
from pocketfleet.routing.gate import Gate, Go, Question, Refuse
from pocketfleet.routing.routes import Routes
from pocketfleet.runtime.output import LogKeeper
from pocketfleet.runtime.process_runner import ProcessRunner
from pocketfleet.runtime.snapshots import SnapshotStore
from pocketfleet.runtime.sources import configured_sources
from pocketfleet.runtime.store import ReleaseStore
from pocketfleet.runtime.supervisor import Open, SeenProcess, Supervisor


class Workshop:
    """What operations work with, wired as node wires it."""

    def __init__(self, config: Config, database: Database) -> None:
        for folder in (config.edge, config.instances, config.releases, config.logs, config.run):
            folder.mkdir(parents=True, exist_ok=True)
        self.config = config
        self.store = ReleaseStore(config, configured_sources(config))
        self.routes = Routes(config)
        self.fleet = Fleet(config, database, self.routes, self.store)
        self.gate = Gate(config.gate_socket, self._resolve)
        self.supervisor = Supervisor(
            ProcessRunner(config),
            guest_of=self.fleet.guest,
            routes=HeldRoutes(self.routes, self.gate),
            parked=self.gate.parked,
            connections=self._connections,
            seen=self._seen,
            log=LogKeeper(config).of,
            config=config,
        )
        self.tools = Tools(
            config=config,
            database=database,
            supervisor=self.supervisor,
            store=self.store,
            fleet=self.fleet,
            gate=self.gate,
            snapshots=SnapshotStore(config),
        )

    def hosts(self) -> str:
        """The edge's map of hosts as it is on disk."""
        path = self.config.edge / "hosts.map"
        return path.read_text() if path.exists() else ""

    async def _resolve(self, question: Question) -> Go | Refuse:
        return Go(await self.supervisor.ensure(question.instance_id, cause=question.cause))

    async def _connections(self, instance_id: str) -> Open:
        return Open()

    def _seen(self, seen: SeenProcess) -> None:
        pass


def offer_folder(folder: Path, *versions: str) -> None:
    """Enter executables of a folder into the catalogue, as the source `folder` would."""
    record_offers("folder", [Offered(version, {"file": f"{version}/pocketbase"}) for version in versions])
