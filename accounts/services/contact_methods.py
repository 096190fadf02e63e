"""Contact methods of people and groups: added, verified by a code, ordered, switched, removed.

Email-Official, which every person has, always stays usable. Those of a group are in the hands of who may change it.
"""

import secrets
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from django.db import transaction
from django.db.models import F, Q
from django.utils.crypto import salted_hmac

from accounts import windows as weekly
from accounts.addresses import clean_address, why_unavailable
from accounts.entitlements import Entitlement
from accounts.models import EMAIL_OFFICIAL, ContactMethod, Group, User
from accounts.permissions import may
from accounts.selectors import may_update_group
from accounts.services.failing import WORKING
from accounts.services.saving import clean_name, unique
from accounts.services.users import check_may_change
from heartbeat_project.kernel.doorbell import ring
from heartbeat_project.kernel.errors import DomainError, FieldError, Forbidden

CODE_LIVES: Final = timedelta(minutes=30)
CODE_PAUSE: Final = timedelta(minutes=1)
CODE_TRIES: Final = 5
MAX_METHODS: Final = 20
MAX_DELAY_MINUTES: Final = 44_640  # 31 days
MAX_REPEATS: Final = 20
TEST_PAUSE: Final = timedelta(minutes=1)
# To what a code may be sent: what nobody has confirmed yet, and what does not work any more.
_UNCONFIRMED: Final = Q(verified_at=None) | Q(failing_since__isnull=False)


class OfficialStays(DomainError):
    """Email-Official cannot be removed, disabled, renamed, given another address or kept to some hours."""

    code = "email_official"
    title = "Email-Official always stays"


class CodeNotUsable(DomainError):
    """There is no code that could be right: none was sent, it expired, or it was tried too often."""

    code = "code_not_usable"
    title = "Ask for a new code"


class AlreadyVerified(DomainError):
    """The contact method needs no code any more."""

    code = "already_verified"
    title = "Already verified"


class NotVerified(DomainError):
    """The contact method is not used before its owner has verified it."""

    code = "not_verified"
    title = "Verify it first"


class JustTested(DomainError):
    """One test message a minute is enough."""

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
) -> ContactMethod:
    """Add a way to reach a person or group, last in order unless told otherwise, and send it a code.

    It is used only after it was verified. Raises Forbidden, and FieldError at the field that is wrong.
    """
    _check_actor(holder, actor=actor)
    with transaction.atomic():
        # Held, so that the limit and the last position are counted by one request at a time.
        _lock(holder)
        others = list(holder.contact_methods.values_list("position", flat=True))
        if len(others) >= MAX_METHODS:
            who = "group" if isinstance(holder, Group) else "person"
            raise FieldError("label", f"One {who} has at most {MAX_METHODS} contact methods.", code="max_length")
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
        )
        _save(method)
        _ring_for_code(method)
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
) -> ContactMethod:
    """Change a contact method; a new address has to be verified again.

    Email-Official keeps its name, address and use at any time. An address as it is shown to others is no change.

    Raises Forbidden, OfficialStays, and FieldError at the field that is wrong; then nothing is saved.
    """
    _check_actor(method.holder, actor=actor)
    with transaction.atomic():
        # Held, so that no code is accepted for the old address while a new one is saved.
        held = ContactMethod.objects.select_for_update(of=("self",), no_key=True)
        method = held.select_related("user", "group").get(pk=method.pk)
        wanted = method.address if address in {None, method.shown} else clean_address(method.kind, address or "")
        moved = wanted != method.address
        if method.label == EMAIL_OFFICIAL:
            _refuse_official(
                moved=moved,
                renamed=label not in {None, EMAIL_OFFICIAL},
                disabled=enabled is False,
                narrowed=bool(windows),
            )
        if label is not None:
            method.label = _label(label)
        if moved:
            method.address = wanted
            method.verified_at = method.code_expires_at = None
            method.send_error = ""
            for name, value in WORKING.items():
                setattr(method, name, value)
        if position is not None:
            method.position = position
        if enabled is not None:
            method.enabled = enabled
        if delay_minutes is not None:
            method.delay_minutes = _minutes("delay_minutes", delay_minutes)
        if repeat_count is not None:
            method.repeat_count = _repeats(repeat_count)
        if repeat_gap_minutes is not None:
            method.repeat_gap_minutes = _minutes("repeat_gap_minutes", repeat_gap_minutes)
        if windows is not None:
            method.windows = _windows(windows)
        _save(method)
        if moved:
            _ring_for_code(method)
    return method


def renew_push_subscription(*, old: str, new: str) -> bool:
    """Replace the address of the browser that subscribed as `old`; return whether there is one.

    Whoever knows all of the old subscription, with its secret, is that browser: no code is sent. Raises FieldError when
    `new` is no subscription.
    """
    address = clean_address(ContactMethod.Kind.PUSH, new)
    try:
        known = clean_address(ContactMethod.Kind.PUSH, old)
    except FieldError:
        return False
    browsers = ContactMethod.objects.filter(kind=ContactMethod.Kind.PUSH, address=known)
    return browsers.update(address=address, send_error="", **WORKING) > 0


def delete_contact_method(method: ContactMethod, *, actor: User) -> None:
    """Remove a contact method. Raises Forbidden, OfficialStays."""
    _check_actor(method.holder, actor=actor)
    if method.label == EMAIL_OFFICIAL:
        raise OfficialStays("Email-Official cannot be removed: it is how everybody can be reached.")
    method.delete()


def request_code(method: ContactMethod, *, actor: User) -> None:
    """Have a new code sent to the contact method; one code a minute, whoever asks how often.

    One that fails may be confirmed again. Raises Forbidden, AlreadyVerified. A message lost on its way to the worker
    costs asking again.
    """
    _check_actor(method.holder, actor=actor)
    if method.verified_at is not None and method.failing_since is None:
        raise AlreadyVerified("This contact method is verified already.")
    _ring_for_code(method)


def issue_code(contact_method_id: int, *, now: datetime) -> str | None:
    """Make a code of six digits, keep its digest, and return it to be sent; None when none is wanted.

    That is within a minute of the one before, for a verified method that works, and for somebody who is not active any
    more.
    """
    code = f"{secrets.randbelow(10**6):06}"
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
    """Forget a code that reached nobody, so that a new one may be asked for at once."""
    ContactMethod.objects.filter(_UNCONFIRMED, pk=contact_method_id).update(code_digest="", code_expires_at=None)


def note_send_error(contact_method_id: int, error: str) -> None:
    """Keep why a code or test message could not be sent, for its owner to read; nothing when it was sent."""
    ContactMethod.objects.filter(pk=contact_method_id).update(send_error=error.replace("\x00", "")[:1_000])


def request_test(method: ContactMethod, *, actor: User, now: datetime) -> None:
    """Have a test message sent over the contact method, one a minute.

    Raises Forbidden, NotVerified, JustTested.
    """
    _check_actor(method.holder, actor=actor)
    if method.verified_at is None:
        raise NotVerified("Enter the code that was sent to it first. Then it can be tested.")
    due = Q(tested_at=None) | Q(tested_at__lte=now - TEST_PAUSE)
    with transaction.atomic():
        claimed = ContactMethod.objects.filter(due, pk=method.pk).update(tested_at=now, send_error="")
        if not claimed:
            raise JustTested("A test message was sent within the last minute. Look for it, or wait a little.")
        ring("escalation.send_test_message", queue="delivery", contact_method_id=method.pk)


def verify_contact_method(method: ContactMethod, *, code: str, actor: User, now: datetime) -> ContactMethod:
    """Mark the contact method as its owner's when the code is right: it is used, and does not fail any more.

    Five wrong tries make the code useless. Raises Forbidden for anybody but the person themselves, or who may change
    the group; AlreadyVerified, CodeNotUsable, and FieldError for a wrong code.
    """
    if method.group is not None:
        _check_actor(method.group, actor=actor)
    elif method.user_id != actor.pk:
        raise Forbidden("Only the person themselves can verify a contact method.")
    # Each try is paid for before it is looked at, so that many at once do not get more than five.
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
    right = ContactMethod.objects.filter(
        pk=method.pk,
        code_digest=_digest(method.pk, code.strip()),
    ).update(verified_at=now, code_digest="", code_expires_at=None, code_tries=0, send_error="", **WORKING)
    if not right:
        raise FieldError("code", "This is not the code that was sent.", code="wrong_code")
    method.refresh_from_db()
    return method


def _ring_for_code(method: ContactMethod) -> None:
    # The app above has the channels and takes the message; this one knows the task's name alone.
    ring("escalation.send_verification_code", queue="delivery", contact_method_id=method.pk)


def _digest(contact_method_id: int, code: str) -> str:
    """Return what is kept of a code: keyed, because a million codes are searched in no time."""
    salt = f"accounts.contact_method.{contact_method_id}"
    return salted_hmac(salt, code.encode("utf-8", "surrogatepass"), algorithm="sha256").hexdigest()


def _lock(holder: User | Group) -> None:
    if isinstance(holder, User):
        User.objects.select_for_update(no_key=True).filter(pk=holder.pk).first()
    else:
        Group.objects.select_for_update(no_key=True).filter(pk=holder.pk).first()


def _check_actor(holder: User | Group, *, actor: User) -> None:
    if isinstance(holder, Group):
        if not may_update_group(actor, holder):
            raise Forbidden("Only a Manager of this group, or who may update all groups, can change its contacts.")
    elif holder.pk != actor.pk:
        check_may_change(holder, actor=actor)
    elif not may(actor, Entitlement.OWN_NOTIFICATIONS_UPDATE):
        raise Forbidden("Your roles do not permit you to change your contact methods.")


def _refuse_official(*, moved: bool, renamed: bool, disabled: bool, narrowed: bool) -> None:
    if moved:
        raise OfficialStays("Email-Official follows the e-mail address of the user. Change that instead.")
    if renamed:
        raise OfficialStays("Email-Official cannot be renamed.")
    if disabled:
        raise OfficialStays("Email-Official cannot be disabled: it is how everybody can be reached.")
    if narrowed:
        raise OfficialStays("Email-Official is used at any time: it is how everybody can be reached.")


def _save(method: ContactMethod) -> None:
    if method.group_id is None:
        constraint, who = "contact_label_once", "person"
    else:
        constraint, who = "group_contact_label_once", "group"
        if method.label.lower() == EMAIL_OFFICIAL.lower():
            raise FieldError("label", f"{EMAIL_OFFICIAL} is a person's own address. Use another name.")
    message = f"This {who} has a contact method “{method.label}” already."
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
        raise FieldError("repeat_count", f"Repeat it from 0 to {MAX_REPEATS} times.")
    return count


def _windows(windows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    if len(windows) > weekly.MAX_WINDOWS:
        raise FieldError("windows", f"Use at most {weekly.MAX_WINDOWS} windows.", code="max_length")
    try:
        return [weekly.Window.load(window).dump() for window in windows]
    except ValueError as error:
        raise FieldError("windows", str(error)) from error
