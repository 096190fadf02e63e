"""Create, change and deactivate users, and transfer the ownership of an organization."""

from collections.abc import Iterable
from contextlib import nullcontext
from datetime import datetime

from django.contrib.auth.hashers import check_password, make_password
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import transaction

from accounts.entitlements import BuiltinRole, Entitlement
from accounts.hashers import HashingIsBusy
from accounts.held_entitlements import forget_entitlements
from accounts.models.contact_methods import EMAIL_OFFICIAL, ContactMethod
from accounts.models.organizations import Organization
from accounts.models.users import Role, User
from accounts.permissions import may
from accounts.services.duplicates import refuse_duplicate
from accounts.services.failing_methods import WORKING
from accounts.services.memberships import members_will_change
from accounts.services.saving import clean_name, clean_time_zone, unique
from accounts.services.taken_addresses import counted_refusals, refuse_address
from accounts.services.try_limits import TRIES_OF_PASSWORD, WITHIN, check_tries, forgive
from heartbeat_project.kernel.errors import DomainError, FieldError, Forbidden


class OwnerStays(DomainError):
    """The Owner cannot be deactivated, because every organization needs an active Owner."""

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
    roles: Iterable[Role] = (),
    is_owner: bool = False,
    is_active: bool = True,
) -> User:
    """Create a user together with their verified Email-Official.

    Without a password nobody can sign in as the user until one is set. Without a time zone the organization's is used.
    Raises FieldError at the field that is wrong, and TooManyTries; then nothing is saved.
    """
    user = User(
        organization=organization,
        email=_email(email),
        name=clean_name(name),
        kind=_kind(kind),
        time_zone=clean_time_zone(time_zone or organization.time_zone),
        is_owner=is_owner,
        is_active=is_active,
        created_at=now,
    )
    user.set_password(_password(password, user) if password is not None else None)
    assigned_roles = _check_roles(roles, organization.pk)
    with counted_refusals(organization.pk, now=now), transaction.atomic():
        with unique("one_owner", field="is_owner", message="There is an Owner already. Ownership can be transferred."):
            _save(user)
        user.roles.set(assigned_roles)
        ContactMethod.objects.create(user=user, label=EMAIL_OFFICIAL, address=user.email, verified_at=now)
    return user


def update_user(
    user: User,
    *,
    actor: User,
    now: datetime,
    email: str | None = None,
    name: str | None = None,
    kind: str | None = None,
    time_zone: str | None = None,
    roles: Iterable[Role] | None = None,
    password: str | None = None,
    keep_api_keys: bool = False,
    is_active: bool | None = None,
) -> User:
    """Change the fields of a user that are not None.

    Email-Official follows the e-mail. A new password revokes the user's API keys unless `keep_api_keys`.

    Raises Forbidden unless the actor administers security, NotTheOwner if anybody else changes the Owner, OwnerStays
    if the Owner would be deactivated, TooManyTries, and FieldError at the field that is wrong; then nothing is saved.
    """
    check_may_change(user, actor=actor)
    password_hash = None if password is None else _hash_password(password, user, email=email, name=name)
    has_new_address = is_new_address(user, email)
    refusals = counted_refusals(user.organization_id, now=now) if has_new_address else nullcontext()
    with refusals, transaction.atomic():
        user = _lock(user)
        check_may_change(user, actor=actor)
        if roles is not None:
            user.roles.set(_check_roles(roles, user.organization_id))
        if is_active is not None and is_active != user.is_active:
            members_will_change(list(user.memberships.values_list("group_id", flat=True).distinct()), now=now)
        return _apply_changes(
            user,
            now=now,
            email=email,
            name=name,
            kind=kind,
            time_zone=time_zone,
            password_hash=password_hash,
            keep_api_keys=keep_api_keys,
            is_active=is_active,
        )


def is_new_address(user: User, email: str | None) -> bool:
    """Return whether `email` differs from the user's current address; None does not."""
    return email is not None and email.strip().lower() != user.email


def update_profile(
    user: User,
    *,
    now: datetime,
    name: str | None = None,
    time_zone: str | None = None,
    shift_notices: bool | None = None,
    recovery_notices: bool | None = None,
    password: str | None = None,
    current_password: str | None = None,
    keep_api_keys: bool = False,
) -> User:
    """Change the fields of a user's own profile that are not None.

    A new password needs the current one, and revokes the user's API keys unless `keep_api_keys`.

    Raises Forbidden without the entitlement, FieldError at the field that is wrong, and TooManyTries after too many
    wrong passwords.
    """
    if not may(user, Entitlement.PROFILE_UPDATE):
        raise Forbidden("Your roles do not permit you to change your profile.")
    password_hash = None
    if password is not None:
        _check_current_password(user, current_password or "", now=now)
        password_hash = _hash_password(password, user, name=name)
    with transaction.atomic():
        return _apply_changes(
            _lock(user),
            now=now,
            name=name,
            time_zone=time_zone,
            password_hash=password_hash,
            keep_api_keys=keep_api_keys,
            shift_notices=shift_notices,
            recovery_notices=recovery_notices,
        )


def _check_current_password(user: User, password: str, *, now: datetime) -> None:
    keys = check_tries(f"password|{user.pk}", limit=TRIES_OF_PASSWORD, within=WITHIN, now=now)
    try:
        # Not User.check_password, which may store a new hash and so end the sessions in other browsers.
        is_right = check_password(password, user.password)
    except HashingIsBusy:
        forgive(keys)
        raise
    if not is_right:
        raise FieldError("current_password", "This is not your current password.", code="wrong_password")
    forgive(keys)


def _hash_password(password: str, user: User, *, email: str | None = None, name: str | None = None) -> str:
    """Return the hash of a new password; `email` and `name` are new ones, which the password must not resemble.

    Call it before a transaction begins, because a hash may wait for its turn.
    """
    changed_user = User(email=email or user.email, name=name or user.name)
    return make_password(_password(password, changed_user))


def choose_shift_notices(user: User, *, enabled: bool) -> None:
    """Set whether a user is notified when somebody puts them on a shift or makes them a cover."""
    User.objects.filter(pk=user.pk).update(shift_notices=enabled)
    user.shift_notices = enabled


def deactivate_user(user: User, *, actor: User, now: datetime) -> User:
    """Deactivate a user: sign-in, API keys and paging stop, and their sessions end. All their data is kept.

    Raises the same errors as `update_user`.
    """
    return update_user(user, actor=actor, now=now, is_active=False)


def reactivate_user(user: User, *, actor: User, now: datetime) -> User:
    """Activate a deactivated user again; their sessions stay ended. Raises the same errors as `update_user`."""
    return update_user(user, actor=actor, now=now, is_active=True)


def transfer_ownership(organization: Organization, *, to: User, actor: User, now: datetime) -> User:  # noqa: ARG001
    """Make `to` the Owner; the former Owner becomes an App Admin. Return the new Owner.

    Raises NotTheOwner unless the actor is still the Owner, and FieldError if `to` cannot be the Owner.
    """
    with transaction.atomic():
        # Locked in the order of ids, so that two transfers never deadlock.
        locked = User.objects.select_for_update(no_key=True).order_by("pk")
        users = locked.filter(organization=organization, pk__in={to.pk, actor.pk}).in_bulk()
        owner, new_owner = users.get(actor.pk), users.get(to.pk)
        if owner is None or not owner.is_owner:
            raise NotTheOwner("Only the Owner can transfer the ownership.")
        if new_owner is None:
            raise FieldError("to", "There is no such user in this organization.", code="does_not_exist")
        if new_owner.pk == owner.pk:
            raise FieldError("to", "This user is the Owner already.")
        if not new_owner.is_active or new_owner.kind != User.Kind.STANDARD:
            raise FieldError("to", "The Owner must be an active standard user.")
        # The former Owner first: the constraint allows one Owner at a time.
        User.objects.filter(pk=owner.pk).update(is_owner=False)
        User.objects.filter(pk=new_owner.pk).update(is_owner=True)
        owner.roles.add(organization.roles.get(builtin=BuiltinRole.APP_ADMIN))
        new_owner.is_owner = True
    # The rest of this request uses the actor's own object, which must not have the Owner's rights any more.
    actor.is_owner = False
    for person in (actor, to, new_owner):
        forget_entitlements(person)
    return new_owner


def revoke_api_keys_of(user: User, *, now: datetime) -> None:
    """Revoke all API keys of a user, since anybody who knew their old password may have created some."""
    user.api_keys.filter(revoked_at=None).update(revoked_at=now)


def check_may_change(user: User, *, actor: User) -> None:
    """Check that `actor` may change this user and their data.

    Raises Forbidden unless the actor administers security in the same organization, and NotTheOwner if the user is the
    Owner and the actor is not.
    """
    if actor.organization_id != user.organization_id or not may(actor, Entitlement.SECURITY):
        raise Forbidden("Only users who administer security can change users.")
    if user.is_owner and actor.pk != user.pk:
        raise NotTheOwner("Only the Owner can change the Owner.")


def _lock(user: User) -> User:
    """Return the user as stored now, with a lock on the row until the transaction ends."""
    return User.objects.select_for_update(no_key=True).get(pk=user.pk)


def _apply_changes(
    user: User,
    *,
    now: datetime,
    email: str | None = None,
    name: str | None = None,
    kind: str | None = None,
    time_zone: str | None = None,
    password_hash: str | None = None,
    keep_api_keys: bool = False,
    is_active: bool | None = None,
    shift_notices: bool | None = None,
    recovery_notices: bool | None = None,
) -> User:
    new_email = user.email if email is None else _email(email)
    email_changes = new_email != user.email
    user.email = new_email
    if name is not None:
        user.name = clean_name(name)
    if kind is not None:
        user.kind = _kind(kind)
        if user.is_owner and user.kind != User.Kind.STANDARD:
            raise FieldError("kind", "The Owner must be a standard user.")
    if time_zone is not None:
        user.time_zone = clean_time_zone(time_zone)
    if password_hash is not None:
        user.password = password_hash
    if is_active is not None:
        _set_active(user, is_active=is_active)
    if shift_notices is not None:
        user.shift_notices = shift_notices
    if recovery_notices is not None:
        user.recovery_notices = recovery_notices
    if email_changes:
        _save_new_email(user)
    else:
        _save(user)
    if password_hash is not None and not keep_api_keys:
        revoke_api_keys_of(user, now=now)
    return user


def _set_active(user: User, *, is_active: bool) -> None:
    if user.is_owner and not is_active:
        raise OwnerStays("Transfer the ownership to another user first.")
    if user.is_active and not is_active:
        user.session_round += 1  # ends all sessions, see User._get_session_auth_hash
    user.is_active = is_active


def _save_new_email(user: User) -> None:
    """Save a user whose e-mail address changed; their Email-Official gets it, too."""
    official = user.contact_methods.filter(label=EMAIL_OFFICIAL)
    pk = official.values_list("pk", flat=True).first()
    refuse_duplicate(user, kind=ContactMethod.Kind.EMAIL, address=user.email, besides=pk, field="email")
    _save(user)
    official.update(address=user.email, **WORKING)


def _save(user: User) -> None:
    try:
        with unique("accounts_user_email_key", field="email", message=""):
            user.save()
    except FieldError as error:
        raise refuse_address(user) from error


def _check_roles(roles: Iterable[Role], organization_id: int) -> list[Role]:
    """Return the roles as a list. Raises FieldError for the Owner role and for roles of other organizations."""
    roles = list(roles)
    if any(role.organization_id != organization_id for role in roles):
        raise FieldError("roles", "There is no such role.", code="does_not_exist")
    if any(role.builtin == BuiltinRole.OWNER for role in roles):
        raise FieldError("roles", "The Owner role cannot be assigned. The Owner can transfer the ownership.")
    return roles


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
        raise FieldError("kind", f"Use one of these kinds: {', '.join(User.Kind.values)}.")
    return kind


def _password(password: str, user: User) -> str:
    try:
        validate_password(password, user)
    except ValidationError as error:
        raise FieldError("password", " ".join(error.messages), code="weak_password") from error
    return password
