"""Who may do what: finds what somebody asks for and checks it, so that no view does either by itself.

What somebody may not see is not there (404, the same as for what does not exist); what they may see but not do is 403.
"""

from __future__ import annotations

from typing import Any

from django.contrib.sessions.models import Session
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils import timezone

from pocketfleet.actions.instances import find_instance
from pocketfleet.actions.teams import find_team, own_team
from pocketfleet.actions.uploads import find_upload
from pocketfleet.domain.roles import Verb, roles_that_may
from pocketfleet.errors import (
    InstanceNotFound,
    NotAllowed,
    OperationNotFound,
    RehearsalNotFound,
    TeamNotFound,
    UploadNotFound,
)
from pocketfleet.models import Instance, Operation, Rehearsal, Team, Token, Upload, User
from pocketfleet.web.callers import Caller, caller_of
from pocketfleet.web.hub import Changed

#: Kinds of changes whose key is an instance's id.
_OF_INSTANCE = ("instance", "copy", "event", "usage")
#: What an upload is good for: a restore, or an import. Who may neither has none to send.
_UPLOADS = (Verb.OPERATE, Verb.CREATE)


def instance_for(request: HttpRequest, reference: str, verb: Verb = Verb.VIEW) -> Instance:
    """The instance with this name or id, if the caller may do this to it. Raises InstanceNotFound, NotAllowed."""
    return instance_of(caller_of(request), reference, verb)


def instance_of(caller: Caller, reference: str, verb: Verb = Verb.VIEW) -> Instance:
    """The same for a caller who is known already. Raises InstanceNotFound, NotAllowed."""
    instance = find_instance(reference)
    if not caller.may(Verb.VIEW, instance.team_id, instance.id):
        raise InstanceNotFound(reference[:70])
    if not caller.may(verb, instance.team_id, instance.id):
        raise _refused(caller, verb)
    return instance


def team_for(request: HttpRequest, team_id: str, verb: Verb = Verb.VIEW) -> Team:
    """The team with this id, if the caller may do this in it. Raises TeamNotFound, NotAllowed."""
    caller, team = caller_of(request), find_team(team_id)
    if not caller.may(Verb.VIEW, team.id):
        raise TeamNotFound(f"There is no team “{team_id[:40]}”.")
    if not caller.may(verb, team.id):
        raise _refused(caller, verb)
    return team


def team_to_create_in(request: HttpRequest, team_id: str | None) -> Team:
    """Whose a new instance is: the given team, the one that a token is for, or the caller's own.

    Raises TeamNotFound, NotAllowed.
    """
    caller = caller_of(request)
    if not team_id:
        scoped = caller.token.team_id if caller.token is not None else None
        team_id = scoped or own_team(caller.user).id
    return team_for(request, team_id, Verb.CREATE)


def team_to_upload_to(caller: Caller, team_id: str = "", instance_ref: str = "") -> Team:
    """In whose storage an upload counts: the team of the instance that it is for, the given one, the one that a token
    is for, or the caller's own. Raises InstanceNotFound, TeamNotFound, NotAllowed."""
    token = caller.token
    if token is not None and not {*_UPLOADS} & {*token.verbs}:
        raise NotAllowed("This token may not upload: it lacks “operate” and “create”.")
    if instance_ref:
        return instance_of(caller, instance_ref, Verb.DATA).team or own_team(caller.user)
    if token is not None and token.instances and not team_id:
        theirs = Instance.objects.filter(seen_instances(caller), deleted_at=None).select_related("team").first()
        return (theirs.team if theirs is not None else None) or own_team(caller.user)
    team = find_team(team_id or (token.team_id if token is not None else None) or own_team(caller.user).id)
    if not caller.may(Verb.VIEW, team.id):
        raise TeamNotFound(f"There is no team “{team_id[:40]}”.")
    if not any(caller.may(verb, team.id) for verb in _UPLOADS):
        raise _refused(caller, Verb.CREATE)
    return team


def upload_for(request: HttpRequest, upload_id: str) -> Upload:
    """The upload with this id, if it is the caller's to use: it is of a team of theirs where their role may, and so may
    their token, or it came with that very one. Raises UploadNotFound."""
    caller, found = caller_of(request), find_upload(upload_id)
    by_role = Caller(caller.user, caller.via)
    asking = by_role if caller.token is not None and found.token_id == caller.token.pk else caller
    if not found.sha256 or not any(asking.may(verb, found.team_id) for verb in _UPLOADS):
        raise UploadNotFound(f"There is no upload “{upload_id[:40]}”; upload the file first.")
    return found


def operator_for(request: HttpRequest) -> Caller:
    """The caller, if they may look after the server. Raises NotAllowed."""
    caller = caller_of(request)
    if not caller.may(Verb.SERVE):
        raise NotAllowed("This is for the operators of this server.")
    return caller


def person_for(request: HttpRequest) -> Caller:
    """The caller, if it is about themselves: a scoped token is no person. Raises NotAllowed."""
    caller = caller_of(request)
    if caller.token is not None and not caller.token_is_whole:
        raise NotAllowed("A token with a scope cannot do this; sign in, or use a token without one.")
    return caller


def operation_for(request: HttpRequest, operation_id: str) -> Operation:
    """The operation with this id, if the caller may see it. Raises OperationNotFound."""
    plain = operation_id.isascii() and operation_id.isprintable()
    found = Operation.objects.filter(seen_operations(caller_of(request)), id=operation_id).first() if plain else None
    if found is None:
        raise OperationNotFound(f"There is no operation “{operation_id[:70]}”.")
    return found


def rehearsal_for(request: HttpRequest, rehearsal_id: str) -> Rehearsal:
    """The rehearsal with this id, if the caller may see its instance. Raises RehearsalNotFound."""
    plain = rehearsal_id.isascii() and rehearsal_id.isprintable()
    seen = seen_instances(caller_of(request), "instance__")
    found = Rehearsal.objects.filter(seen, id=rehearsal_id, instance__deleted_at=None).first() if plain else None
    if found is None:
        raise RehearsalNotFound(f"There is no rehearsal “{rehearsal_id[:70]}”.")
    return found


def sees_instance(caller: Caller, reference: str) -> bool:
    """Whether the caller may see the instance with this name or id."""
    try:
        instance_of(caller, reference)
    except InstanceNotFound:
        return False
    return True


def sees_operation(caller: Caller, operation_id: str) -> bool:
    """Whether the caller may see the operation with this id."""
    return Operation.objects.filter(seen_operations(caller), id=operation_id).exists()


def seen_instances(caller: Caller, prefix: str = "", verb: Verb = Verb.VIEW) -> Q:
    """Which instances the caller may do this to, as a condition of a query; `prefix` leads to the instance."""
    seen = Q()
    if (token := caller.token) is not None:
        if verb not in token.verbs:
            return Q(pk__in=[])
        if token.team_id is not None:
            seen &= Q(**{f"{prefix}team_id": token.team_id})
        if token.instances:
            seen &= Q(**{f"{prefix}id__in": token.instances})
    if not caller.user.is_superuser:
        teams = [team for team, role in caller.roles.items() if role in roles_that_may(verb)]
        seen &= Q(**{f"{prefix}team_id__in": teams})
    return seen


def seen_operations(caller: Caller) -> Q:
    """Which operations the caller may see: those of their instances, and what they asked of the server."""
    if caller.user.is_superuser and caller.token_is_whole:
        return Q()
    own = Q(instance=None, actor=caller.user.get_username()) if caller.token_is_whole else Q(pk__in=[])
    return Q(instance__isnull=False) & seen_instances(caller, "instance__") | own


def seen_teams(caller: Caller) -> Q:
    """Which teams the caller may see."""
    seen = Q()
    if (token := caller.token) is not None:
        if token.instances or Verb.VIEW not in token.verbs:
            return Q(pk__in=[])
        if token.team_id is not None:
            seen &= Q(pk=token.team_id)
    return seen if caller.user.is_superuser else seen & Q(pk__in=list(caller.roles))


def mine(caller: Caller) -> Q:
    """The teams that the caller is in, for operators too, who may see all."""
    return Q(pk__in=list(caller.roles)) & seen_teams(caller)


def visible(caller: Caller, changes: list[Changed]) -> list[Changed]:
    """Those of the changes that are about what the caller may see; at most one query for each kind among them."""
    if caller.user.is_superuser and caller.token_is_whole:
        return changes
    keys: dict[str, set[str]] = {}
    for change in changes:
        keys.setdefault(change.kind, set()).add(change.key)
    instances = Instance.objects.filter(seen_instances(caller))
    asked: dict[str, QuerySet[Any]] = {
        **dict.fromkeys(_OF_INSTANCE, instances),
        "operation": Operation.objects.filter(seen_operations(caller)),
        "team": Team.objects.filter(seen_teams(caller)),
    }
    # what everybody may see: the catalogue
    shown = {kind: keys.get(kind, set()) for kind in ("release", "source")}
    for kind in keys.keys() & asked.keys():
        shown[kind] = set(asked[kind].filter(pk__in=keys[kind]).values_list("pk", flat=True))
    return [change for change in changes if change.key in shown.get(change.kind, ())]


def about_instance(changes: list[Changed], instance_id: str) -> list[Changed]:
    """Those of the changes that are about this instance or an operation on it; one query where operations changed."""
    operations = {change.key for change in changes if change.kind == "operation"}
    known = Operation.objects.filter(pk__in=operations, instance_id=instance_id) if operations else None
    keys = {instance_id, *(known.values_list("pk", flat=True) if known is not None else ())}
    return [change for change in changes if change.kind in {*_OF_INSTANCE, "operation"} and change.key in keys]


def known_again(caller: Caller, session_key: str | None = None) -> Caller | None:
    """The caller as they are by now, for what lasts longer than a request; None where they may come in no longer."""
    if not User.objects.filter(pk=caller.user.pk, is_active=True).exists():
        return None
    if session_key is not None and not Session.objects.filter(pk=session_key, expire_date__gt=timezone.now()).exists():
        return None
    if caller.token is None:
        return Caller(caller.user, caller.via)
    alive = Q(expires_at=None) | Q(expires_at__gt=timezone.now())
    token = Token.objects.filter(alive, pk=caller.token.pk).first()
    return Caller(caller.user, caller.via, token) if token is not None else None


def _refused(caller: Caller, verb: Verb) -> NotAllowed:
    if caller.token is not None and verb not in caller.token.verbs:
        return NotAllowed(f"This token may not do that: it lacks “{verb}”. Make one that has it.", verb=str(verb))
    wanted = " or ".join(str(role) for role in roles_that_may(verb))
    return NotAllowed(f"Your role in this team does not allow that; it takes a {wanted}.", verb=str(verb))
