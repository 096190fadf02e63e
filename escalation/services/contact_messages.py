"""Messages about a contact method itself: the code that verifies it, and a test."""

import logging
import uuid
from datetime import datetime

from django.conf import settings
from django.db import transaction
from django.db.models import Q, QuerySet

from accounts.models import ContactMethod
from accounts.services.contact_methods import CODE_LIVES, issue_code, note_send_error, withdraw_code
from accounts.services.failing import Refusal, record_working
from escalation.channels import NEVER_AGAIN, Switchboard
from escalation.channels.base import DeliveryError, Message
from escalation.models import Notification
from escalation.services.failing import note_refusals
from escalation.services.limits import CODES_PER_HOLDER, take
from heartbeat_project.kernel.durations import in_words
from heartbeat_project.kernel.mail import STORED, mail_is_stored

log = logging.getLogger(__name__)


def send_code(contact_method_id: int, *, now: datetime) -> bool:
    """Make a code and send it over the contact method; return whether it was taken.

    The code is made here, so that it never passes through the broker. Within a minute of another nothing is sent. Why
    it could not be sent is kept for its owner, who may then ask for a new one at once.
    """
    code = issue_code(contact_method_id, now=now)
    if code is None:
        return False
    method = _with_holder().get(pk=contact_method_id)
    whose = f"user {method.user_id}" if method.group_id is None else f"group {method.group_id}"
    wait = take(f"codes of {whose}", CODES_PER_HOLDER, now=now)
    if wait is not None:
        withdraw_code(contact_method_id)
        note_send_error(contact_method_id, f"Too many codes were asked for. Ask again in {in_words(wait)}.")
        return False
    text = (
        f"The code is {code}. It is valid for {CODE_LIVES.seconds // 60} minutes.\n\n"
        f"{method.holder} wants to be told about alerts here ({method.label}).\n"
        f"Enter the code at {settings.BASE_URL}{_page_of(method)} to confirm it. If this was not you, nothing "
        "has to be done: without the code this address is not used.\n"
    )
    error = _send(method, subject="Confirm this address for Heartbeat", text=text, now=now)
    if error is not None and not error.uncertain:
        withdraw_code(contact_method_id)
    return error is None


def send_test(contact_method_id: int, *, now: datetime) -> bool:
    """Send a test message over a verified contact method; return whether it was taken."""
    in_use = Q(user__is_active=True) | Q(user=None)
    method = _with_holder().filter(in_use, pk=contact_method_id, verified_at__isnull=False).first()
    if method is None:
        return False
    text = (
        f"This is a test. {_who_asked(method)} to see that {method.label} works.\n"
        "Nothing has to be done: no alert is open because of it.\n"
    )
    error = _send(method, subject="A test from Heartbeat", text=text, now=now)
    if error is not None and error.bad_address:
        with transaction.atomic():
            note_refusals([Refusal(method.pk, method.address, str(error))], now=now)
    return error is None


def _with_holder() -> QuerySet[ContactMethod]:
    return ContactMethod.objects.select_related("user", "group__organization")


def _page_of(method: ContactMethod) -> str:
    return "/profile/contact-methods/" if method.group_id is None else f"/groups/{method.group_id}/"


def _who_asked(method: ContactMethod) -> str:
    return f"{method.user} asked for it" if method.group_id is None else f"It was asked for in the group {method.group}"


def _send(method: ContactMethod, *, subject: str, text: str, now: datetime) -> DeliveryError | None:
    """Send a notice at once, and keep why it failed; return that."""
    message = Message(
        id=uuid.uuid4(),
        kind=Notification.Kind.NOTICE,
        address=method.address,
        reader=str(method.holder),
        time_zone=method.holder.time_zone,
        at=now,
        subject=subject,
        text=text,
    )
    failure = None
    try:
        with Switchboard() as switchboard:
            switchboard.send(method.kind, message, by_hand=True)
    except DeliveryError as error:
        log.warning("contact method %s was not reached: %s", method.pk, error)
        failure = error
    stored = STORED if method.kind == ContactMethod.Kind.EMAIL and mail_is_stored() else ""
    note_send_error(method.pk, str(failure or stored))
    if failure is None and method.kind not in NEVER_AGAIN and not stored:
        record_working([method.pk])
    return failure
