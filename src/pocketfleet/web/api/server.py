"""This server and who is asking.

GET  /server         what this server is
GET  /me             who the caller is
POST /sign-in-links  a link that signs the caller in with a browser, once
"""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.http import HttpRequest
from ninja import Router
from ninja.responses import Status

from pocketfleet import __version__
from pocketfleet.actions.sign_in import LINK_SECONDS, make_link
from pocketfleet.web.access import person_for
from pocketfleet.web.api.schemas import LinkOut, MeOut, ServerOut
from pocketfleet.web.callers import Via, caller_of

router = Router(tags=["server"])


@router.get("/server", response=ServerOut, summary="What this server is")
def show_server(request: HttpRequest) -> dict[str, Any]:
    """Its version and addresses."""
    config = settings.CONFIG
    facts = {"domain": config.domain, "url": config.public_url, "port": config.port}
    return {"name": "pocketfleet", "version": __version__, **facts}


@router.get("/me", response=MeOut, summary="Who the caller is")
def show_me(request: HttpRequest) -> dict[str, Any]:
    """The caller's name, and what their token may do where they sent one."""
    caller = caller_of(request)
    token = caller.token
    mine = None
    if token is not None:
        mine = {
            "name": token.name,
            "verbs": token.verbs,
            "team": token.team.name if token.team else None,
            "instances": token.instances,
            "expires_at": token.expires_at,
        }
    return {"name": caller.user.get_username(), "operator": caller.user.is_superuser, "token": mine}


@router.post("/sign-in-links", response={201: LinkOut}, summary="Make a link that signs the caller in, once")
def create_sign_in_link(request: HttpRequest) -> Status[dict[str, Any]]:
    """For a browser: opened once within the hour, it signs in as whoever asked for it."""
    caller = person_for(request)
    # whoever reads the operator's file has this machine; a token may have been stolen
    secret = make_link(caller.user, second_factor=caller.via is not Via.OPERATOR_FILE, acting_user=caller.user)
    link = f"{settings.CONFIG.public_url}/sign-in/{secret}"
    return Status(201, {"link": link, "expires_in": LINK_SECONDS})
