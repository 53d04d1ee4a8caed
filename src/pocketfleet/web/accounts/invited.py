"""Who may make an account here, by the server's setting and by invitation."""

from __future__ import annotations

from django.conf import settings
from django.http import HttpRequest

from pocketfleet.actions import sign_up, teams
from pocketfleet.domain.accounts import SignUp

_INVITED = "pocketfleet_invited"
#: allauth's own key: with this address somebody who signs up need not prove again that it is theirs
_VERIFIED = "account_verified_email"


def let_sign_up(
    request: HttpRequest, email: str, *, proved: bool, invitation_id: int | None = None, into_team: str | None = None
) -> None:
    """From now on this browser may make an account with this address, and with no other.

    `proved`: it need not be verified any more. Only where nobody but its owner and the operators can have seen the
    link by which this browser came: anybody else could get an account with somebody else's address.
    `invitation_id`: the operator's invitation that this takes up. `into_team`: the team's, which only leads here.
    """
    request.session[_INVITED] = {"email": email.lower(), "id": invitation_id, "team": into_team}
    if proved:
        request.session[_VERIFIED] = email.lower()
    else:
        request.session.pop(_VERIFIED, None)


def may_sign_up(request: HttpRequest) -> bool:
    """Whether this browser may make an account."""
    mode = settings.CONFIG.sign_up
    return mode == SignUp.OPEN or (mode == SignUp.INVITATION and invited_address(request) is not None)


def invited_address(request: HttpRequest) -> str | None:
    """The only address that this browser may make an account with; None where it was not invited."""
    found = request.session.get(_INVITED)
    if found is None or settings.CONFIG.sign_up == SignUp.CLOSED:
        return None
    withdrawn = found["id"] is not None and not sign_up.is_open(found["id"])
    if withdrawn or (found.get("team") is not None and not teams.is_open(found["team"])):
        # withdrawn meanwhile, and with it what it proved
        del request.session[_INVITED]
        request.session.pop(_VERIFIED, None)
        return None
    return str(found["email"])


def invitation_of(request: HttpRequest) -> int | None:
    """The operator's invitation that is taken up by signing up now."""
    found = request.session.pop(_INVITED, None)
    return found["id"] if found else None
