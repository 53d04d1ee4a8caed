"""The operator's lists of addresses.

GET    /addresses  both lists
PUT    /addresses  put an address or network on one of them
DELETE /addresses  take it off; ?network=
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from django.http import HttpRequest
from ninja import Router, Schema
from ninja.params.functions import Query
from ninja.responses import Status
from pydantic import Field

from pocketfleet.actions import traffic as actions
from pocketfleet.actions.records import whence
from pocketfleet.web import traffic
from pocketfleet.web.access import operator_for
from pocketfleet.web.api.schemas import In

router = Router(tags=["addresses"])


class ListingIn(In):
    """An address or network, and the list that it belongs on."""

    network: str = Field(max_length=100, description="Such as 203.0.113.7, 203.0.113.0/24 or 2001:db8::/48.")
    listing: Literal["allow", "deny"]
    note: str = Field("", max_length=500)


class ListingOut(Schema):
    """An address or network on one of the lists."""

    network: str
    listing: Literal["allow", "deny"]
    note: str
    listed_by: str
    created_at: datetime


class ListingsOut(Schema):
    """Both lists."""

    items: list[ListingOut]


@router.get("/addresses", response=ListingsOut, summary="List allowed and denied addresses")
def list_addresses(request: HttpRequest) -> dict[str, Any]:
    """For operators. Where several hold an address, the smallest counts."""
    operator_for(request)
    return {"items": traffic.listed()}


@router.put("/addresses", response=ListingsOut, summary="Allow or deny an address")
def put_address(request: HttpRequest, body: ListingIn) -> dict[str, Any]:
    """For operators. Who is denied gets no answer but 403 from any host; who is allowed has no limits."""
    user = operator_for(request).user
    own = whence.get().address
    actions.list_address(body.network, body.listing, body.note, caller_address=own, acting_user=user)
    return {"items": traffic.listed()}


@router.delete("/addresses", response={204: None}, summary="Take an address off its list")
def delete_address(request: HttpRequest, network: str = Query("", max_length=100)) -> Status[None]:
    """For operators."""
    actions.drop_address(network, acting_user=operator_for(request).user)
    return Status(204, None)
