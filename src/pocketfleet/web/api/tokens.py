"""The caller's bearer tokens.

GET    /tokens       list, without their secrets
POST   /tokens       make one; its text is shown once
DELETE /tokens/{id}  take one back
"""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from ninja import Router
from ninja.responses import Status

from pocketfleet.actions import tokens as actions
from pocketfleet.web import tokens
from pocketfleet.web.access import person_for
from pocketfleet.web.api.schemas import NewTokenOut, TokenIn, TokensOut

router = Router(tags=["tokens"])


@router.get("/tokens", response=TokensOut, summary="List your tokens")
def list_tokens(request: HttpRequest) -> dict[str, Any]:
    """`hint` is how a token begins, to tell them apart."""
    found = actions.tokens_of(person_for(request).user)
    return {"items": [tokens.row(token) for token in found]}


@router.post("/tokens", response={201: NewTokenOut}, summary="Make a token")
def create_token(request: HttpRequest, body: TokenIn) -> Status[dict[str, Any]]:
    """Its text is in this answer, and nowhere ever after."""
    person = person_for(request)
    scope = tokens.Scope(body.team or "", tuple(body.instances), body.verbs)
    token, secret = tokens.make(request, body.name, scope, expires_in_days=body.expires_in_days, user=person.user)
    return Status(201, {"id": token.pk, "name": token.name, "hint": token.hint, "token": secret})


@router.delete("/tokens/{int:token_id}", response={204: None}, summary="Take back a token")
def delete_token(request: HttpRequest, token_id: int) -> Status[None]:
    """It is refused from now on."""
    actions.delete_token(token_id, acting_user=person_for(request).user)
    return Status(204, None)
