"""Contact methods: added, verified by a code, ordered, switched, removed; Email-Official always stays usable."""

import secrets
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.mail import EmailMessage
from django.core.validators import validate_email
from django.db import transaction
from django.db.models import F, Q
from django.utils.crypto import salted_hmac

from accounts.entitlements import Entitlement
from accounts.models import EMAIL_OFFICIAL, ContactMethod, User
from accounts.permissions import may
from accounts.services.saving import clean_name, unique
from accounts.services.users import check_may_change
from heartbeat_project.kernel.doorbell import ring
from heartbeat_project.kernel.errors import DomainError, FieldError, Forbidden

CODE_LIVES: Final = timedelta(minutes=30)
CODE_PAUSE: Final = timedelta(minutes=1)
CODE_TRIES: Final = 5
MAX_METHODS: Final = 20
MAX_DELAY_MINUTES: Final = 44_640  # 31 days


class OfficialStays(DomainError):
    """Email-Official cannot be removed, disabled, renamed or given another address."""

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


def create_contact_method(
    user: User,
    *,
    actor: User,
    label: str,
    address: str,
    kind: str = ContactMethod.Kind.EMAIL,
    position: int | None = None,
    enabled: bool = True,
    delay_minutes: Decimal | float = 0,
) -> ContactMethod:
    """Add a way to reach `user`, last in order unless told otherwise, and send it a code.

    It is used only after the user has verified it. Raises Forbidden, and FieldError at the field that is wrong.
    """
    _check_actor(user, actor=actor)
    with transaction.atomic():
        # Held, so that the limit and the last position are counted by one request at a time.
        User.objects.select_for_update(no_key=True).filter(pk=user.pk).first()
        others = list(user.contact_methods.values_list("position", flat=True))
        if len(others) >= MAX_METHODS:
            raise FieldError("label", f"One person has at most {MAX_METHODS} contact methods.", code="max_length")
        method = ContactMethod(
            user=user,
            kind=_kind(kind),
            label=_label(label),
            address=_address(address),
            position=max(others, default=0) + 1 if position is None else position,
            enabled=enabled,
            delay_minutes=_delay(delay_minutes),
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
) -> ContactMethod:
    """Change a contact method; a new address has to be verified again. Email-Official keeps all but order and delay.

    Raises Forbidden, OfficialStays, and FieldError at the field that is wrong; then nothing is saved.
    """
    _check_actor(method.user, actor=actor)
    with transaction.atomic():
        # Held, so that no code is accepted for the old address while a new one is saved.
        method = (
            ContactMethod.objects.select_for_update(of=("self",), no_key=True).select_related("user").get(pk=method.pk)
        )
        moved = address is not None and _address(address) != method.address
        if method.label == EMAIL_OFFICIAL:
            _refuse_official(moved=moved, renamed=label not in {None, EMAIL_OFFICIAL}, disabled=enabled is False)
        if label is not None:
            method.label = _label(label)
        if moved:
            method.address = _address(address or "")
            method.verified_at = method.code_expires_at = None
        if position is not None:
            method.position = position
        if enabled is not None:
            method.enabled = enabled
        if delay_minutes is not None:
            method.delay_minutes = _delay(delay_minutes)
        _save(method)
        if moved:
            _ring_for_code(method)
    return method


def delete_contact_method(method: ContactMethod, *, actor: User) -> None:
    """Remove a contact method. Raises Forbidden, OfficialStays."""
    _check_actor(method.user, actor=actor)
    if method.label == EMAIL_OFFICIAL:
        raise OfficialStays("Email-Official cannot be removed: it is how everybody can be reached.")
    method.delete()


def request_code(method: ContactMethod, *, actor: User) -> None:
    """Have a new code sent to the contact method; one code a minute, whoever asks how often.

    Raises Forbidden, AlreadyVerified. A message lost on its way to the worker costs asking again.
    """
    _check_actor(method.user, actor=actor)
    if method.verified_at is not None:
        raise AlreadyVerified("This contact method is verified already.")
    _ring_for_code(method)


def send_code(contact_method_id: int, *, now: datetime) -> bool:
    """Make a code of six digits, keep its digest, and send it; return whether one was sent.

    The code is made here so that it never passes through the broker. A second call within a minute sends nothing.
    """
    code = f"{secrets.randbelow(10**6):06}"
    due = Q(code_expires_at=None) | Q(code_expires_at__lte=now + CODE_LIVES - CODE_PAUSE)
    claimed = ContactMethod.objects.filter(due, pk=contact_method_id, verified_at=None, user__is_active=True).update(
        code_digest=_digest(contact_method_id, code),
        code_expires_at=now + CODE_LIVES,
        code_tries=0,
    )
    if not claimed:
        return False
    method = ContactMethod.objects.select_related("user").get(pk=contact_method_id)
    try:
        _code_message(method, code).send()
    except Exception:
        # Nobody got this code: a new one may be asked for at once.
        ContactMethod.objects.filter(pk=method.pk, verified_at=None).update(code_digest="", code_expires_at=None)
        raise
    return True


def verify_contact_method(method: ContactMethod, *, code: str, actor: User, now: datetime) -> ContactMethod:
    """Mark the contact method as its owner's when the code is right; it is used from now on.

    Five wrong tries make the code useless. Raises Forbidden for anybody but the person themselves, AlreadyVerified,
    CodeNotUsable, and FieldError for a wrong code.
    """
    if method.user_id != actor.pk:
        raise Forbidden("Only the person themselves can verify a contact method.")
    # Each try is paid for before it is looked at, so that many at once do not get more than five.
    usable = ContactMethod.objects.filter(
        pk=method.pk,
        verified_at=None,
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
        verified_at=None,
        code_digest=_digest(method.pk, code.strip()),
    ).update(verified_at=now, code_digest="", code_expires_at=None, code_tries=0)
    if not right:
        raise FieldError("code", "This is not the code that was sent.", code="wrong_code")
    method.refresh_from_db()
    return method


def _ring_for_code(method: ContactMethod) -> None:
    ring("accounts.send_verification_code", queue="delivery", contact_method_id=method.pk)


def _code_message(method: ContactMethod, code: str) -> EmailMessage:
    text = (
        f"The code is {code}. It is valid for {CODE_LIVES.seconds // 60} minutes.\n\n"
        f"{method.user.name} wants to be told about alerts at this address ({method.label}).\n"
        f"Enter the code at {settings.BASE_URL}/profile/ to confirm it. If this was not you, nothing has to be done:\n"
        "without the code the address is not used.\n"
    )
    return EmailMessage(subject="Confirm this address for Heartbeat", body=text, to=[method.address])


def _digest(contact_method_id: int, code: str) -> str:
    """Return what is kept of a code: keyed, because a million codes are searched in no time."""
    salt = f"accounts.contact_method.{contact_method_id}"
    return salted_hmac(salt, code.encode("utf-8", "surrogatepass"), algorithm="sha256").hexdigest()


def _check_actor(user: User, *, actor: User) -> None:
    if user.pk != actor.pk:
        check_may_change(user, actor=actor)
    elif not may(actor, Entitlement.OWN_NOTIFICATIONS_UPDATE):
        raise Forbidden("Your roles do not permit you to change your contact methods.")


def _refuse_official(*, moved: bool, renamed: bool, disabled: bool) -> None:
    if moved:
        raise OfficialStays("Email-Official follows the e-mail address of the user. Change that instead.")
    if renamed:
        raise OfficialStays("Email-Official cannot be renamed.")
    if disabled:
        raise OfficialStays("Email-Official cannot be disabled: it is how everybody can be reached.")


def _save(method: ContactMethod) -> None:
    message = f"This person has a contact method “{method.label}” already."
    with unique("contact_label_once", field="label", message=message):
        method.save()


def _label(label: str) -> str:
    return clean_name(label, field="label", max_length=40)


def _kind(kind: str) -> str:
    if kind not in ContactMethod.Kind.values:
        raise FieldError("kind", f"The kind is {' or '.join(ContactMethod.Kind.values)}.")
    return kind


def _address(address: str) -> str:
    address = address.strip()
    try:
        validate_email(address)
    except ValidationError as error:
        raise FieldError("address", "Enter an e-mail address such as ana@example.com.") from error
    return address


def _delay(delay_minutes: Decimal | float) -> Decimal:
    delay = Decimal(str(delay_minutes))
    if not 0 <= delay <= MAX_DELAY_MINUTES:
        raise FieldError("delay_minutes", "The delay is from 0 to 44,640 minutes (31 days).")
    return delay
