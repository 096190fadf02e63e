"""Add, change, verify, test and remove the contact methods of people and groups.

Email-Official, which every person has, always stays usable. The contacts of a group are changed by users who may
change the group.
"""

import secrets
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from django.conf import settings
from django.db import transaction
from django.db.models import F, Q
from django.utils.crypto import salted_hmac

from accounts.addresses import clean_address, why_unavailable
from accounts.entitlements import Entitlement
from accounts.models.contact_methods import EMAIL_OFFICIAL, ContactMethod, Priority
from accounts.models.groups import Group
from accounts.models.users import User
from accounts.permissions import may
from accounts.selectors import may_update_group
from accounts.services.duplicates import refuse_duplicate
from accounts.services.failing_methods import WORKING
from accounts.services.saving import clean_name, unique
from accounts.services.users import check_may_change
from accounts.windows import MAX_WINDOWS
from heartbeat_project.kernel.errors import DomainError, FieldError, Forbidden
from heartbeat_project.kernel.wakeup import wake_on_commit
from heartbeat_project.kernel.weekly import NotAWindow, WeeklyWindow

CODE_LIVES: Final = timedelta(minutes=30)
CODE_PAUSE: Final = timedelta(minutes=1)  # between two codes to one address
CODE_TRIES: Final = 5  # of 1,000,000 codes
MAX_METHODS: Final = 20  # of one person or group
MAX_DELAY_MINUTES: Final = 44_640  # 31 days
MAX_REPEATS: Final = 20
TEST_PAUSE: Final = timedelta(minutes=1)  # between two test messages to one address
# Methods to which a code may be sent: not verified yet, or failing.
_UNCONFIRMED: Final = Q(verified_at=None) | Q(failing_since__isnull=False)


class OfficialStays(DomainError):
    """Email-Official cannot be removed, disabled, renamed, moved to another address or limited to some hours."""

    code = "email_official"
    title = "Email-Official always stays"


class CodeNotUsable(DomainError):
    """No code is valid: none was sent, it expired, or there were too many wrong tries."""

    code = "code_not_usable"
    title = "Ask for a new code"


class AlreadyVerified(DomainError):
    """The contact method is verified and needs no code."""

    code = "already_verified"
    title = "Already verified"


class NotVerified(DomainError):
    """The contact method cannot be used until its owner has verified it."""

    code = "not_verified"
    title = "Verify it first"


class JustTested(DomainError):
    """A test message was sent within the last minute."""

    code = "tested_just_now"
    title = "Wait a minute"
    status = 429


def create_contact_method(
    holder: User | Group,
    *,
    actor: User,
    label: str,
    address: str,
    kind: str = ContactMethod.Kind.EMAIL,
    position: int | None = None,
    enabled: bool = True,
    delay_minutes: Decimal | float = 0,
    repeat_count: int = 0,
    repeat_gap_minutes: Decimal | float = 5,
    windows: Sequence[Mapping[str, Any]] = (),
    from_priority: str = Priority.NONE,
    critical_outside_windows: bool = False,
) -> ContactMethod:
    """Add a contact method to a person or group and send a code to it. It is used once it is verified.

    Without a `position` it comes last. Raises Forbidden, and FieldError at the field that is wrong, also if the holder
    has the address already.
    """
    _check_actor(holder, actor=actor)
    with transaction.atomic():
        # One request at a time checks the limit, the last position and the other addresses of the holder.
        _lock(holder)
        others = list(holder.contact_methods.values_list("position", flat=True))
        if len(others) >= MAX_METHODS:
            holder_name = "group" if isinstance(holder, Group) else "person"
            raise FieldError(
                "label", f"A {holder_name} can have at most {MAX_METHODS} contact methods.", code="max_length"
            )
        method = ContactMethod(
            user=holder if isinstance(holder, User) else None,
            group=holder if isinstance(holder, Group) else None,
            kind=_kind(kind, holder=holder),
            label=_label(label),
            address=clean_address(kind, address),
            position=max(others, default=0) + 1 if position is None else position,
            enabled=enabled,
            delay_minutes=_minutes("delay_minutes", delay_minutes),
            repeat_count=_repeats(repeat_count),
            repeat_gap_minutes=_minutes("repeat_gap_minutes", repeat_gap_minutes),
            windows=_windows(windows),
            from_priority=_priority(from_priority),
            critical_outside_windows=critical_outside_windows,
        )
        refuse_duplicate(holder, kind=method.kind, address=method.address)
        _save(method)
        _wake_for_code(method)
    return method


def update_contact_method(
    method: ContactMethod,
    *,
    actor: User,
    label: str | None = None,
    address: str | None = None,
    position: int | None = None,
    enabled: bool | None = None,
    delay_minutes: Decimal | float | None = None,
    repeat_count: int | None = None,
    repeat_gap_minutes: Decimal | float | None = None,
    windows: Sequence[Mapping[str, Any]] | None = None,
    from_priority: str | None = None,
    critical_outside_windows: bool | None = None,
) -> ContactMethod:
    """Change the fields of a contact method that are not None; a new address has to be verified again.

    The masked address counts as no change. Email-Official keeps its label and address, and is used at any time and for
    every alert.

    Raises Forbidden, OfficialStays, and FieldError at the field that is wrong; then nothing is saved.
    """
    _check_actor(method.holder, actor=actor)
    with transaction.atomic():
        if address is not None:
            # Before the row, as in create_contact_method: of two requests for one address the second sees the first.
            _lock(method.holder)
        # Lock the row, so that no code is accepted for the old address while a new one is saved.
        locked = ContactMethod.objects.select_for_update(of=("self",), no_key=True)
        method = locked.select_related("user", "group").get(pk=method.pk)
        new_address = method.address
        if address is not None and address != method.masked_address:
            new_address = clean_address(method.kind, address)
        address_changes = new_address != method.address
        if method.label == EMAIL_OFFICIAL:
            _check_official(
                address_changes=address_changes,
                label_changes=label not in {None, EMAIL_OFFICIAL},
                disabled=enabled is False,
                has_windows=bool(windows),
                has_priority=from_priority not in {None, Priority.NONE},
            )
        if label is not None:
            method.label = _label(label)
        if address_changes:
            _set_address(method, new_address)
        if position is not None:
            method.position = position
        if enabled is not None:
            method.enabled = enabled
        if windows is not None:
            method.windows = _windows(windows)
        if from_priority is not None:
            method.from_priority = _priority(from_priority)
        if critical_outside_windows is not None:
            method.critical_outside_windows = critical_outside_windows
        _set_times(method, delay=delay_minutes, repeats=repeat_count, repeat_gap=repeat_gap_minutes)
        _save(method)
        if address_changes:
            _wake_for_code(method)
    return method


def _set_times(
    method: ContactMethod,
    *,
    delay: Decimal | float | None,
    repeats: int | None,
    repeat_gap: Decimal | float | None,
) -> None:
    """Set the delay, the number of repeats and the gap between them (both in minutes), unless they are None."""
    if delay is not None:
        method.delay_minutes = _minutes("delay_minutes", delay)
    if repeats is not None:
        method.repeat_count = _repeats(repeats)
    if repeat_gap is not None:
        method.repeat_gap_minutes = _minutes("repeat_gap_minutes", repeat_gap)


def _set_address(method: ContactMethod, address: str) -> None:
    """Set another address, which is not verified and has not failed yet."""
    refuse_duplicate(method.holder, kind=method.kind, address=address, besides=method.pk)
    method.address = address
    method.verified_at = method.code_expires_at = None
    method.send_error = ""
    for name, value in WORKING.items():
        setattr(method, name, value)


def renew_push_subscription(*, old: str, new: str) -> bool:
    """Replace the push subscription `old` of a browser by `new`; return whether a contact method had `old`.

    No code is sent: only the browser itself knows the whole old subscription with its secret. If its owner has added
    the new subscription by hand meanwhile, the old method stays unchanged. Raises FieldError if `new` is no
    subscription.
    """
    address = clean_address(ContactMethod.Kind.PUSH, new)
    try:
        old_address = clean_address(ContactMethod.Kind.PUSH, old)
    except FieldError:
        return False
    browsers = ContactMethod.objects.filter(kind=ContactMethod.Kind.PUSH, address=old_address)
    matches = list(browsers.select_related("user", "group").order_by("user_id", "id"))
    for browser in matches:
        with transaction.atomic():
            _lock(browser.holder)
            with suppress(FieldError):
                refuse_duplicate(browser.holder, kind=browser.kind, address=address, besides=browser.pk)
                browsers.filter(pk=browser.pk).update(address=address, send_error="", **WORKING)
    return bool(matches)


def delete_contact_method(method: ContactMethod, *, actor: User) -> None:
    """Remove a contact method. Raises Forbidden, OfficialStays."""
    _check_actor(method.holder, actor=actor)
    if method.label == EMAIL_OFFICIAL:
        raise OfficialStays("Email-Official cannot be removed: everybody needs one address that always works.")
    method.delete()


def request_code(method: ContactMethod, *, actor: User) -> None:
    """Send a new code to the contact method; within a minute of the last code, nothing is sent.

    A failing method may be verified again. If the broker loses the message to the worker, the user has to ask again.
    Raises Forbidden, AlreadyVerified.
    """
    _check_actor(method.holder, actor=actor)
    if method.verified_at is not None and method.failing_since is None:
        raise AlreadyVerified("This contact method is verified already.")
    _wake_for_code(method)


def issue_code(contact_method_id: int, *, now: datetime) -> str | None:
    """Create a code of six digits, store its digest, and return it for sending.

    Returns None within a minute of the last code, if the method is verified and works, and if its owner is not active.
    """
    code = f"{secrets.randbelow(10**6):06}"
    # The time of the last code is not stored: it expires CODE_LIVES after it was issued.
    due = Q(code_expires_at=None) | Q(code_expires_at__lte=now + CODE_LIVES - CODE_PAUSE)
    in_use = Q(user__is_active=True) | Q(user=None)
    issued = ContactMethod.objects.filter(_UNCONFIRMED, due, in_use, pk=contact_method_id).update(
        code_digest=_digest(contact_method_id, code),
        code_expires_at=now + CODE_LIVES,
        code_tries=0,
        send_error="",
    )
    return code if issued else None


def withdraw_code(contact_method_id: int) -> None:
    """Delete a code that could not be sent, so that a new one can be requested at once."""
    ContactMethod.objects.filter(_UNCONFIRMED, pk=contact_method_id).update(code_digest="", code_expires_at=None)


def note_send_error(contact_method_id: int, error: str) -> None:
    """Store why a code or test message could not be sent, for its owner to read; "" if it was sent."""
    ContactMethod.objects.filter(pk=contact_method_id).update(send_error=error.replace("\x00", "")[:1_000])


def request_test(method: ContactMethod, *, actor: User, now: datetime) -> None:
    """Send a test message over the contact method; at most one per minute.

    Raises Forbidden, NotVerified, JustTested.
    """
    _check_actor(method.holder, actor=actor)
    if method.verified_at is None:
        raise NotVerified("Enter the code that was sent to this contact method. Then you can test it.")
    due = Q(tested_at=None) | Q(tested_at__lte=now - TEST_PAUSE)
    with transaction.atomic():
        claimed = ContactMethod.objects.filter(due, pk=method.pk).update(tested_at=now, send_error="")
        if not claimed:
            raise JustTested("A test message was sent within the last minute. Wait a minute before you send another.")
        wake_on_commit("escalation.send_test_message", queue="delivery", or_here=True, contact_method_id=method.pk)


def verify_contact_method(method: ContactMethod, *, code: str, actor: User, now: datetime) -> ContactMethod:
    """Verify the contact method if the code is right: from now on it is used, and it does not count as failing.

    After five wrong tries the code is no longer valid. Raises Forbidden unless the actor is the owner, or may change
    the group; AlreadyVerified, CodeNotUsable, and FieldError for a wrong code.
    """
    if method.group is not None:
        _check_actor(method.group, actor=actor)
    elif method.user_id != actor.pk:
        raise Forbidden("Only its owner can verify a contact method.")
    # Count the try before comparing the code, so that many requests at once do not get more than five tries.
    usable = ContactMethod.objects.filter(
        _UNCONFIRMED,
        pk=method.pk,
        code_expires_at__gt=now,
        code_tries__lt=CODE_TRIES,
    )
    if not usable.update(code_tries=F("code_tries") + 1):
        method.refresh_from_db()
        if method.verified_at is not None:
            raise AlreadyVerified("This contact method is verified already.")
        raise CodeNotUsable("This code has expired or was tried too often. Ask for a new one.")
    verified = ContactMethod.objects.filter(
        pk=method.pk,
        code_digest__in=_digests(method.pk, code.strip()),
    ).update(verified_at=now, code_digest="", code_expires_at=None, code_tries=0, send_error="", **WORKING)
    if not verified:
        raise FieldError("code", "This is not the code that was sent.", code="wrong_code")
    method.refresh_from_db()
    return method


def _wake_for_code(method: ContactMethod) -> None:
    # The task is in escalation, which has the channels. This app cannot import it, so it is called by name.
    wake_on_commit("escalation.send_verification_code", queue="delivery", or_here=True, contact_method_id=method.pk)


def _digest(contact_method_id: int, code: str) -> str:
    """Return the digest of a code. It is keyed, because all million codes can be tried in no time."""
    return _digests(contact_method_id, code)[0]


def _digests(contact_method_id: int, code: str) -> list[str]:
    """Return the digests of a code under the current SECRET_KEY and under the former ones."""
    salt, value = f"accounts.contact_method.{contact_method_id}", code.encode("utf-8", "surrogatepass")
    return [
        salted_hmac(salt, value, secret=secret, algorithm="sha256").hexdigest()
        for secret in (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)
    ]


def _lock(holder: User | Group) -> None:
    if isinstance(holder, User):
        User.objects.select_for_update(no_key=True).filter(pk=holder.pk).first()
    else:
        Group.objects.select_for_update(no_key=True).filter(pk=holder.pk).first()


def _check_actor(holder: User | Group, *, actor: User) -> None:
    if isinstance(holder, Group):
        if not may_update_group(actor, holder):
            raise Forbidden("Only Managers of this group and users who may update all groups can change its contacts.")
    elif holder.pk != actor.pk:
        check_may_change(holder, actor=actor)
    elif not may(actor, Entitlement.OWN_NOTIFICATIONS_UPDATE):
        raise Forbidden("Your roles do not permit you to change your contact methods.")


def _check_official(
    *, address_changes: bool, label_changes: bool, disabled: bool, has_windows: bool, has_priority: bool
) -> None:
    """Raise OfficialStays for a change that Email-Official does not allow."""
    if address_changes:
        raise OfficialStays("Email-Official is the e-mail address of the user. Change that instead.")
    if label_changes:
        raise OfficialStays("Email-Official cannot be renamed.")
    if disabled:
        raise OfficialStays("Email-Official cannot be disabled: everybody needs one address that always works.")
    if has_windows:
        raise OfficialStays("Email-Official is used at any time: everybody needs one address that always works.")
    if has_priority:
        raise OfficialStays("Email-Official is used for alerts of every priority: it is how everybody can be reached.")


def _save(method: ContactMethod) -> None:
    if method.group_id is None:
        constraint, holder_name = "contact_label_once", "person"
    else:
        constraint, holder_name = "group_contact_label_once", "group"
        if method.label.lower() == EMAIL_OFFICIAL.lower():
            raise FieldError("label", f"{EMAIL_OFFICIAL} is a person's own address. Use another name.")
    message = f"This {holder_name} has a contact method “{method.label}” already."
    with unique(constraint, field="label", message=message):
        method.save()


def _label(label: str) -> str:
    return clean_name(label, field="label", max_length=40)


def _kind(kind: str, *, holder: User | Group) -> str:
    kinds = ContactMethod.Kind.values if isinstance(holder, User) else [shared.value for shared in ContactMethod.SHARED]
    if kind not in kinds:
        raise FieldError("kind", f"The kind is {' or '.join(kinds)}.")
    if why := why_unavailable(kind):
        raise FieldError("kind", why, code="unavailable")
    return kind


def _minutes(field: str, value: Decimal | float) -> Decimal:
    minutes = Decimal(str(value))
    if not 0 <= minutes <= MAX_DELAY_MINUTES:
        raise FieldError(field, "Enter minutes from 0 to 44,640 (31 days).")
    return minutes


def _repeats(count: int) -> int:
    if not 0 <= count <= MAX_REPEATS:
        raise FieldError("repeat_count", f"Enter a number from 0 to {MAX_REPEATS}.")
    return count


def _windows(windows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    if len(windows) > MAX_WINDOWS:
        raise FieldError("windows", f"Use at most {MAX_WINDOWS} windows.", code="max_length")
    cleaned = []
    for index, window in enumerate(windows):
        try:
            cleaned.append(WeeklyWindow.load(window).dump())
        except NotAWindow as error:
            raise FieldError(f"windows/{index}/{error.field}", str(error)) from error
    return cleaned


def _priority(priority: str) -> str:
    if priority not in Priority.values:
        raise FieldError("from_priority", f"Use one of these priorities: {', '.join(Priority.values)}.")
    return priority
