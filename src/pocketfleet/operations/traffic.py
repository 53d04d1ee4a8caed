"""What the edge is told of limits: each instance's, worked out from the server's, its team's and its own; whom teams
trust; the operator's lists."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

from pocketfleet.actions import traffic as actions
from pocketfleet.actions.traffic import TeamTraffic
from pocketfleet.config import Config
from pocketfleet.domain.instances import InstanceFacts
from pocketfleet.domain.traffic import as_word, limits_that_count
from pocketfleet.operations.database import Database
from pocketfleet.routing.rendering import limits_of_server

_NOTHING = TeamTraffic({})


class LimitRoutes(Protocol):
    """The edge's maps of limits."""

    async def replace_limits(self, limits: Mapping[str, str]) -> None: ...

    async def change_limits(self, add: Mapping[str, str], remove: Iterable[str]) -> None: ...

    async def replace_trusted(self, networks: Mapping[str, str]) -> None: ...

    async def replace_addresses(self, listed: Mapping[str, str]) -> None: ...


class Traffic:
    """Keeps the edge's maps of limits as the database has them. Instances with the server's limits are in none."""

    def __init__(self, config: Config, database: Database, routes: LimitRoutes) -> None:
        self._server = limits_of_server(config)
        self._usual = as_word(self._server.for_trusted())
        self._database = database
        self._routes = routes
        self._teams: dict[str, TeamTraffic] = {}

    async def load(self, instances: Iterable[InstanceFacts]) -> None:
        """Everything, at the start."""
        self._teams = await self._database.call(actions.team_traffic)
        await self._tell_trusted()
        words = {facts.id: self._word(facts) for facts in instances}
        await self._routes.replace_limits({key: word for key, word in words.items() if word})
        await self.renew_addresses()

    async def renew(self, instances: Mapping[str, InstanceFacts | None]) -> None:
        """These changed; None for one that is gone."""
        words = {key: self._word(facts) if facts else "" for key, facts in instances.items()}
        add = {key: word for key, word in words.items() if word}
        await self._routes.change_limits(add, words.keys() - add.keys())

    async def renew_teams(self, instances: Iterable[InstanceFacts]) -> None:
        """Teams changed, perhaps not in this; all instances are given, and those of others left alone."""
        before, self._teams = self._teams, await self._database.call(actions.team_traffic)
        teams = {team for team in before.keys() | self._teams.keys() if before.get(team) != self._teams.get(team)}
        if not teams:
            return
        await self._tell_trusted()
        await self.renew({facts.id: facts for facts in instances if facts.team in teams})

    async def renew_addresses(self) -> None:
        """The operator's lists changed."""
        await self._routes.replace_addresses(await self._database.call(actions.listed_addresses))

    async def _tell_trusted(self) -> None:
        await self._routes.replace_trusted(
            {team: ",".join(own.trusted) for team, own in self._teams.items() if own.trusted}
        )

    def _word(self, facts: InstanceFacts) -> str:
        """What the map holds; "" for what the server's limits are, too. Once set to none, it says so."""
        team = self._teams.get(facts.team, _NOTHING)
        limits = limits_that_count(self._server, team.limits, facts.traffic_limits)
        word = as_word(limits, facts.team if team.trusted else "")
        if word == self._usual:
            return ""
        # no limits at all, where the server has some
        return word or as_word(limits, "-")
