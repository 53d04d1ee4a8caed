"""The API as a whole: its routers, how it reads bodies, how it tells errors, its OpenAPI."""

from __future__ import annotations

from typing import Any, cast

from django.http import HttpRequest, HttpResponse
from ninja import NinjaAPI, Router
from ninja.errors import HttpError, ValidationError
from ninja.openapi.schema import OpenAPISchema
from ninja.parser import Parser
from pydantic_core import from_json

from pocketfleet import __version__
from pocketfleet.errors import PocketfleetError, WrongRequest, WrongUsage
from pocketfleet.web import problems
from pocketfleet.web import transfers as large_files
from pocketfleet.web.api import (
    addresses,
    backups,
    events,
    feed,
    instances,
    logs,
    operations,
    releases,
    secrets,
    server,
    snapshots,
    teams,
    tokens,
    transfers,
    upgrades,
)
from pocketfleet.web.api.authentication import SignedIn
from pocketfleet.web.api.schemas import ProblemOut

_MODULES = (
    server,
    instances,
    upgrades,
    snapshots,
    backups,
    transfers,
    secrets,
    logs,
    operations,
    feed,
    releases,
    teams,
    tokens,
    events,
    addresses,
)
_ERRORS = {
    "400": "The request cannot be read.",
    "401": "Not signed in.",
    "403": "Not allowed.",
    "404": "There is no such thing.",
    "409": "That does not go together with how things are now.",
    "413": "The body is too large.",
    "422": "The input does not fit.",
    "503": "It cannot be done at the moment; ask again later.",
    "default": "Something else went wrong.",
}
#: What only some can answer, by the handler's name.
_ERRORS_OF = {
    "accept_invitation": {"410": "The link works no longer."},
    "download_backup": {"416": "The file has no such part."},
    "upload_file": {"507": "There is no room for it."},
}
_STREAMS = ("follow_changes", "follow_log", "follow_operation")


class JSONParser(Parser):
    """Strict JSON: no NaN, no lone surrogates, at most some hundred levels deep."""

    def parse_body(self, request: HttpRequest) -> Any:
        """The body as Python has it. Raises WrongRequest."""
        try:
            return from_json(request.body, allow_inf_nan=False)
        except ValueError as error:
            raise WrongRequest(f"The body is not JSON: {error}.") from None


class FleetAPI(NinjaAPI):
    """django-ninja with our errors in its OpenAPI, which is made once."""

    _schema: OpenAPISchema | None = None

    def get_openapi_schema(self, **kwargs: Any) -> OpenAPISchema:
        """OpenAPI 3.1 with a problem+json answer for every error."""
        if self._schema is None:
            schema = super().get_openapi_schema(**kwargs)
            schema["paths"] |= large_files.OPENAPI
            self._schema = _with_problems(schema)
        return self._schema

    def get_openapi_operation_id(self, operation: Any) -> str:
        """The handler's name: `create_instance`."""
        name: str = operation.view_func.__name__
        return name


def make_api() -> NinjaAPI:
    """The API with its routes and error handlers."""
    api = FleetAPI(
        title="pocketfleet",
        version=__version__,
        description="PocketBase instances on a server you own: asleep until called.",
        docs_url=None,
        auth=SignedIn(),
        parser=JSONParser(),
        urls_namespace="api",
    )
    for module in _MODULES:
        api.add_router("", _by_alias(module.router))
    api.add_exception_handler(ValidationError, _validation)
    api.add_exception_handler(HttpError, _http_error)
    api.add_exception_handler(Exception, _any_other)
    return api


def _by_alias(router: Router) -> Router:
    """Answers carry the names of the schemas' aliases: `from` cannot be a name in Python."""
    for view in router.path_operations.values():
        for operation in view.operations:
            operation.by_alias = True
    return router


def _validation(request: HttpRequest, error: Any) -> HttpResponse:
    found = [
        {"field": ".".join(str(part) for part in item["loc"][1:])[:200] or "body", "message": item["msg"][:500]}
        for item in cast(ValidationError, error).errors[:20]
    ]
    first = found[0] if found else {"field": "body", "message": "it does not fit"}
    return problems.problem(WrongUsage(f"{first['field']}: {first['message']}.", errors=found))


def _http_error(request: HttpRequest, error: Any) -> HttpResponse:
    return problems.from_status(HttpResponse(status=cast(HttpError, error).status_code))


def _any_other(request: HttpRequest, error: Any) -> HttpResponse:
    found: PocketfleetError = problems.of_exception(error)
    return problems.problem(found)


def _with_problems(schema: OpenAPISchema) -> OpenAPISchema:
    schema["components"]["schemas"]["Problem"] = ProblemOut.model_json_schema()
    for path, methods in schema["paths"].items():
        for method, operation in methods.items():
            for status, text in _errors_of(path, method, operation):
                operation["responses"].setdefault(status, _problem_response(text))
            if operation["operationId"] in _STREAMS:
                operation["responses"][200] = _STREAM
    return schema


def _errors_of(path: str, method: str, operation: dict[str, Any]) -> list[tuple[str, str]]:
    """Status and words of what can go wrong there: a body may name what is not there, too."""
    takes_body = "requestBody" in operation
    skipped = set() if "{" in path or takes_body else {"404"}
    skipped |= {"409"} if method == "get" else set()
    skipped |= set() if takes_body else {"413"}
    found = [(status, text) for status, text in _ERRORS.items() if status not in skipped]
    return [*found, *_ERRORS_OF.get(operation["operationId"], {}).items()]


def _problem_response(text: str) -> dict[str, Any]:
    reference = {"$ref": "#/components/schemas/Problem"}
    return {"description": text, "content": {problems.CONTENT_TYPE: {"schema": reference}}}


_STREAM = {"description": "Server-sent events.", "content": {"text/event-stream": {"schema": {"type": "string"}}}}
