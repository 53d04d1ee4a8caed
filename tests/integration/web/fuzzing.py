"""The API asked whatever its own OpenAPI allows, and what it does not: by whom, about what, and what must hold."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import httpx
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.schemas import APIOperation
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
)

from pocketfleet.actions import teams
from pocketfleet.domain.roles import Role
from pocketfleet.domain.states import OperationState
from pocketfleet.models import Instance, Invitation, Membership, Operation
from tests.integration.web.served import Served, make_person
from tests.integration.web.test_routes import PREFIX, PROBLEM, REHEARSAL, SNAPSHOT, make_shop

Case = schemathesis.Case[Any]
CHECKS = [
    not_a_server_error,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    negative_data_rejection,
]
_STREAM = "text/event-stream"
_LONGEST_PROBLEM = 20_000


class World:
    """A team, its people and an instance, and everything that an address may name."""

    def __init__(self, served: Served) -> None:
        self.served = served
        self.people = {role: make_person(role) for role in ("viewer", "owner", "bystander")}
        self.team = teams.create_team("Acme", acting_user=self.people["owner"])
        self.shop = make_shop(served, team=self.team.id, state="off")
        self.words: dict[str, Any] = {
            "ref": "shop",
            "team_id": self.team.id,
            "user_id": self.people["bystander"].pk,
            "operation_id": self.shop.operations.order_by("created_at")[0].id,
            "rehearsal_id": REHEARSAL,
            "snapshot_id": SNAPSHOT,
            "name": "one.zip",
            "version": "0.40.6",
        }
        self.clients = {
            "stranger": served.stranger,
            "viewer": served.bearer(self.people["viewer"]),
            "owner": served.bearer(self.people["owner"]),
            "operator": served.operator,
        }

    def tidy(self) -> None:
        """As at first: whatever the last request began, moved or ended."""
        Operation.objects.update(state=OperationState.SUCCEEDED)
        Instance.objects.filter(pk=self.shop.pk).update(name="shop", team=self.team, power="off", deleted_at=None)
        Instance.objects.exclude(pk=self.shop.pk).delete()
        Invitation.objects.all().delete()
        for name, role in (("viewer", Role.VIEWER), ("owner", Role.OWNER), ("bystander", Role.VIEWER)):
            Membership.objects.update_or_create(team=self.team, user=self.people[name], defaults={"role": role})

    def operations(self) -> Iterator[APIOperation[Any, Any, Any, Any]]:
        """Every route, as the API describes it itself."""
        described = self.served.stranger.get(f"{PREFIX}/openapi.json").json()
        # who asks is the client's matter
        for methods in described["paths"].values():
            for route in methods.values():
                del route["security"]
        for found in schemathesis.openapi.from_dict(described).get_all_operations():
            yield found.ok()  # type: ignore[union-attr]  # what is no schema ends the test by that


def explore(world: World, *, examples: int, derandomize: bool = True) -> int:
    """Ask every route so many things that fit, and half as many that do not, as anybody; answers how many that were."""
    asked, failures = 0, []
    for operation in world.operations():
        for mode in GenerationMode:

            @settings(
                max_examples=examples if mode is GenerationMode.POSITIVE else max(1, examples // 2),
                derandomize=derandomize,
                database=None,
                phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
            )
            @given(
                case=operation.as_strategy(generation_mode=mode),
                # of those who get in, more comes to light
                role=st.sampled_from(("operator", "owner", "viewer", "stranger")),
                real=st.booleans(),
            )
            def ask(case: Case, role: str, real: bool) -> None:
                nonlocal asked
                asked += 1
                world.tidy()
                if real:
                    case.path_parameters.update(
                        {name: world.words[name] for name in case.path_parameters if name in world.words}
                    )
                look_at(case, send(world, role, case), role)

            try:
                ask()
            except Unsatisfiable:
                # a route that takes nothing can be asked nothing wrong
                assert mode is GenerationMode.NEGATIVE, operation.label
            except (Exception, ExceptionGroup) as failure:
                failures.append(f"{operation.label}, {mode.value}: {failure}")
    assert not failures, "\n\n".join(failures)
    return asked


def send(world: World, role: str, case: Case) -> httpx.Response:
    """The answer, without the rest of a stream."""
    client = world.clients[role]
    given = case.as_transport_kwargs(base_url=world.served.config.public_url)
    names = ("method", "url", "headers", "params", "data", "json", "files", "cookies")
    made = requests.Request(**{name: given[name] for name in names if name in given}).prepare()
    own = ("cookie", "authorization")
    headers: Any = {name: value for name, value in made.headers.items() if name.lower() not in own}
    body: Any = made.body
    request = client.build_request(made.method or "", made.url or "", headers=headers, content=body)
    answer = client.send(request, stream=True)
    if not answer.headers.get("content-type", "").startswith(_STREAM):
        answer.read()
        return answer
    answer.close()
    begun = httpx.Response(answer.status_code, headers=answer.headers, content=b"", request=request)
    begun.elapsed = timedelta(0)
    return begun


@schemathesis.serializer("application/zip")
def _zip(context: Any, value: Any) -> bytes:
    """What is no zip is found out when it is unpacked, not when it comes."""
    return value if isinstance(value, bytes) else repr(value).encode()


def look_at(case: Case, answer: httpx.Response, role: str) -> None:
    """The answer is as the description says, its status is one that it names, and a failure says what is wrong."""
    what = (role, case.as_curl_command(), answer.status_code, answer.text[:500])
    assert str(answer.status_code) in case.operation.definition.raw["responses"], what
    if answer.status_code >= 400:
        problem = answer.json()
        assert answer.headers["content-type"] == PROBLEM, what
        assert problem["status"] == answer.status_code, what
        assert problem["code"], what
        assert problem["detail"], what
        assert len(answer.content) < _LONGEST_PROBLEM, what
    if role == "stranger":
        # an address that is none is told to nobody in particular
        assert answer.status_code == 401 or answer.json()["code"] == "not_found", what
        return
    case.validate_response(answer, checks=CHECKS)
