"""Operations: durable pieces of work, and their progress.

GET /operations                   the newest first; state, limit
GET /operations/{id}              one
GET /operations/{id}/events       server-sent events, `operation` on every change, until it has ended
GET /instances/{ref}/operations   those of one instance
"""

from __future__ import annotations

from typing import Any

from asgiref.sync import sync_to_async
from django.http import HttpRequest, StreamingHttpResponse
from ninja import Router
from ninja.params.functions import Query

from pocketfleet.domain.states import OperationState
from pocketfleet.web import reading, streams
from pocketfleet.web.access import instance_for, operation_for, seen_operations, sees_operation
from pocketfleet.web.api.schemas import OperationOut, OperationsOut
from pocketfleet.web.callers import FleetRequest, caller_of

router = Router(tags=["operations"])
_STATES = Query([])


@router.get("/operations", response=OperationsOut, summary="List operations")
def list_operations(
    request: HttpRequest, state: list[OperationState] = _STATES, limit: int = Query(100, ge=1, le=1000)
) -> dict[str, Any]:
    """The newest first; of these states only, where some are given."""
    return {"items": reading.operations(seen_operations(caller_of(request)), states=state, limit=limit)}


@router.get("/operations/{operation_id}", response=OperationOut, summary="Show an operation")
def show_operation(request: HttpRequest, operation_id: str) -> dict[str, Any]:
    """With its steps."""
    return reading.operation(operation_for(request, operation_id).id)


@router.get("/operations/{operation_id}/events", summary="Follow an operation", response={200: None})
async def follow_operation(request: FleetRequest, operation_id: str) -> StreamingHttpResponse:
    """Server-sent events: `operation` with the whole of it on every change; ends after the final one."""
    await sync_to_async(operation_for)(request, operation_id)
    listener = streams.Listener(request, lambda caller: sees_operation(caller, operation_id))
    return await streams.respond(request.hub, listener, streams.operation(request.hub, operation_id))


@router.get("/instances/{ref}/operations", response=OperationsOut, summary="List an instance's operations")
def list_instance_operations(request: HttpRequest, ref: str, limit: int = Query(100, ge=1, le=1000)) -> dict[str, Any]:
    """The newest first."""
    instance = instance_for(request, ref)
    return {"items": reading.operations(instance_id=instance.id, limit=limit)}
