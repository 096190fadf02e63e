"""Users: made, changed, deactivated, and who owns the organization."""

import re
from collections.abc import Iterable
from datetime import datetime
from typing import Any, Final

from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import transaction

from accounts.entitlements import BuiltinRole, Entitlement
from accounts.models import EMAIL_OFFICIAL, ContactMethod, Organization, Role, User
from accounts.permissions import forget_entitlements, may
from accounts.services.failing import WORKING
from accounts.services.memberships import members_will_change
from accounts.services.saving import clean_name, clean_time_zone, unique
from heartbeat_project.kernel.errors import DomainError, FieldError, Forbidden

_SLACK_ID: Final = re.compile(r"[UW][A-Z0-9]{2,23}")


class OwnerStays(DomainError):
    """The Owner cannot be deactivated: an organization always has somebody who answers for it."""

    code = "owner_stays"
    title = "The Owner cannot be deactivated"


class NotTheOwner(Forbidden):
    """Only the Owner can do this."""

    code = "not_the_owner"
    title = "Only the Owner can do this"


def create_user(
    organization: Organization,
    *,
    email: str,
    name: str,
    now: datetime,
    password: str | None = None,
    kind: str = User.Kind.STANDARD,
    time_zone: str | None = None,
    slack_id: str = "",
    roles: Iterable[Role] = (),
    is_owner: bool = False,
    is_active: bool = True,
) -> User:
    """Create a user together with their verified Email-Official.

    Without a password nobody can sign in as the user until one is set; without a time zone the organization's is used.
    Raises FieldError at the field that is wrong; then nothing is saved.
    """
    user = User(
        organization=organization,
        email=_email(email),
        name=clean_name(name),
        kind=_kind(kind),
        time_zone=clean_time_zone(time_zone or organization.time_zone),
        slack_id=_slack_id(slack_id),
        is_owner=is_owner,
        is_active=is_active,
        created_at=now,
    )
    user.set_password(_password(password, user) if password is not None else None)
    chosen = _given_roles(roles, organization.pk)
    with transaction.atomic():
        with unique("one_owner", field="is_owner", message="There is an Owner already. Ownership can be transferred."):
            _save(user)
        user.roles.set(chosen)
        ContactMethod.objects.create(user=user, label=EMAIL_OFFICIAL, address=user.email, verified_at=now)
    return user


def update_user(user: User, *, actor: User, now: datetime, **changed: Any) -> User:
    """Change email, name, kind, time_zone, slack_id, roles, password or is_active of a user.

    Email-Official follows the e-mail.

    Raises Forbidden unless the actor administers security, NotTheOwner unless it is the Owner who changes the Owner,
    OwnerStays when the Owner would be deactivated, FieldError at the field that is wrong; then nothing is saved.
    """
    with transaction.atomic():
        user = _locked(user)
        check_may_change(user, actor=actor)
        roles = changed.pop("roles", None)
        if roles is not None:
            user.roles.set(_given_roles(roles, user.organization_id))
        if changed.get("is_active", user.is_active) != user.is_active:
            members_will_change(list(user.memberships.values_list("group_id", flat=True).distinct()), now=now)
        return _change(user, **changed)


def update_profile(user: User, *, current_password: str | None = None, **changed: Any) -> User:
    """Let a user change what is theirs: name, time_zone, slack_id, shift_notices, password.

    A new password needs the current one.

    Raises Forbidden without the entitlement, FieldError at the field that is wrong.
    """
    if not may(user, Entitlement.PROFILE_UPDATE):
        raise Forbidden("Your roles do not permit you to change your profile.")
    if changed.get("password") is not None and not user.check_password(current_password or ""):
        raise FieldError("current_password", "This is not your current password.", code="wrong_password")
    with transaction.atomic():
        return _change(_locked(user), **changed)


def choose_shift_notices(user: User, *, wanted: bool) -> None:
    """Let a user say whether they are notified when somebody puts them on a shift or makes them a cover."""
    User.objects.filter(pk=user.pk).update(shift_notices=wanted)
    user.shift_notices = wanted


def deactivate_user(user: User, *, actor: User, now: datetime) -> User:
    """Stop sign-in, keys and paging of a user; nothing of theirs is deleted or revoked. Raises as `update_user`."""
    return update_user(user, actor=actor, now=now, is_active=False)


def reactivate_user(user: User, *, actor: User, now: datetime) -> User:
    """Let a deactivated user in again, with all that they had. Raises as `update_user`."""
    return update_user(user, actor=actor, now=now, is_active=True)


def transfer_ownership(organization: Organization, *, to: User, actor: User, now: datetime) -> User:  # noqa: ARG001
    """Make `to` the Owner; the Owner so far becomes App Admin. Return the new Owner.

    Raises NotTheOwner unless the actor is the Owner at this moment, FieldError when `to` cannot be it.
    """
    with transaction.atomic():
        # Always in the same order, so that two transfers cannot wait for each other.
        pair = {to.pk, actor.pk}
        people = (
            User.objects.select_for_update(no_key=True)
            .filter(organization=organization, pk__in=pair)
            .order_by("pk")
            .in_bulk()
        )
        owner, heir = people.get(actor.pk), people.get(to.pk)
        if owner is None or not owner.is_owner:
            raise NotTheOwner("Only the Owner can transfer the ownership.")
        if heir is None:
            raise FieldError("to", "There is no such user in this organization.", code="does_not_exist")
        if heir.pk == owner.pk:
            raise FieldError("to", "This user is the Owner already.")
        if not heir.is_active or heir.kind != User.Kind.STANDARD:
            raise FieldError("to", "The Owner must be an active standard user.")
        User.objects.filter(pk=owner.pk).update(is_owner=False)
        User.objects.filter(pk=heir.pk).update(is_owner=True)
        owner.roles.add(organization.roles.get(builtin=BuiltinRole.APP_ADMIN))
        heir.is_owner = True
    # The actor's own object goes on in this request and must not act as the Owner any more.
    actor.is_owner = False
    for person in (actor, to, heir):
        forget_entitlements(person)
    return heir


def check_may_change(user: User, *, actor: User) -> None:
    """Raise Forbidden unless `actor` may change this user and what belongs to them; NotTheOwner protects the Owner."""
    if actor.organization_id != user.organization_id or not may(actor, Entitlement.SECURITY):
        raise Forbidden("Only who administers security can change users.")
    if user.is_owner and actor.pk != user.pk:
        raise NotTheOwner("Only the Owner can change the Owner.")


def _locked(user: User) -> User:
    """Return the user as stored now, held until the transaction ends."""
    return User.objects.select_for_update(no_key=True).get(pk=user.pk)


def _change(
    user: User,
    *,
    email: str | None = None,
    name: str | None = None,
    kind: str | None = None,
    time_zone: str | None = None,
    slack_id: str | None = None,
    password: str | None = None,
    is_active: bool | None = None,
    shift_notices: bool | None = None,
) -> User:
    moved = email is not None and _email(email) != user.email
    if email is not None:
        user.email = _email(email)
    if name is not None:
        user.name = clean_name(name)
    if kind is not None:
        user.kind = _kind(kind)
        if user.is_owner and user.kind != User.Kind.STANDARD:
            raise FieldError("kind", "The Owner is a standard user.")
    if time_zone is not None:
        user.time_zone = clean_time_zone(time_zone)
    if slack_id is not None:
        user.slack_id = _slack_id(slack_id)
    if password is not None:
        user.set_password(_password(password, user))
    if is_active is not None:
        user.is_active = is_active
        if user.is_owner and not is_active:
            raise OwnerStays("Transfer the ownership to another user first.")
    if shift_notices is not None:
        user.shift_notices = shift_notices
    _save(user)
    if moved:
        user.contact_methods.filter(label=EMAIL_OFFICIAL).update(address=user.email, **WORKING)
    return user


def _slack_id(slack_id: str) -> str:
    slack_id = slack_id.strip().upper()
    if slack_id and not _SLACK_ID.fullmatch(slack_id):
        raise FieldError(
            "slack_id",
            "Enter a member ID such as U012AB3CD. In Slack: open your profile, then ⋮, then “Copy member ID”.",
        )
    return slack_id


def _save(user: User) -> None:
    message = "This e-mail address cannot be used: it belongs to a user already."
    taken = "Another person of your organization has this Slack member ID."
    with (
        unique("accounts_user_email_key", field="email", message=message),
        unique("slack_id_once", field="slack_id", message=taken),
    ):
        user.save()


def _given_roles(roles: Iterable[Role], organization_id: int) -> list[Role]:
    chosen = list(roles)
    if any(role.organization_id != organization_id for role in chosen):
        raise FieldError("roles", "There is no such role.", code="does_not_exist")
    if any(role.builtin == BuiltinRole.OWNER for role in chosen):
        raise FieldError("roles", "The Owner role cannot be given: the Owner can transfer the ownership.")
    return chosen


def _email(email: str) -> str:
    email = email.strip().lower()
    try:
        validate_email(email)
    except ValidationError as error:
        raise FieldError("email", "Enter an e-mail address such as ana@example.com.") from error
    if len(email) > 254:
        raise FieldError("email", "Use at most 254 characters.", code="max_length")
    return email


def _kind(kind: str) -> str:
    if kind not in User.Kind.values:
        raise FieldError("kind", f"The kind is {' or '.join(User.Kind.values)}.")
    return kind


def _password(password: str, user: User) -> str:
    try:
        validate_password(password, user)
    except ValidationError as error:
        raise FieldError("password", " ".join(error.messages), code="weak_password") from error
    return password
