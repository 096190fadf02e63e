"""Messages about a contact method itself: the code that verifies it, and a test."""

import logging
from collections.abc import Callable
from datetime import datetime
from functools import partial

from django.conf import settings
from django.db import transaction
from django.db.models import Q, QuerySet

from accounts.contact_kinds import PHONES
from accounts.models.contact_methods import ContactMethod
from accounts.services.contact_methods import CODE_LIVES, issue_code, note_send_error, withdraw_code
from accounts.services.failing_methods import Refusal, record_working
from accounts.services.restores import unless_held
from escalation.channels.base import DeliveryError
from escalation.channels.send_deadline import send_deadline
from escalation.channels.speech import code_call
from escalation.notifications.message import notice_over
from escalation.notifications.notices.failing_methods import note_refusals
from escalation.notifications.providers.channel_pool import ChannelPool
from escalation.notifications.providers.rate_limits import CODES_PER_HOLDER, acquire
from escalation.notifications.providers.sender_pool import SENDER_POOL
from heartbeat_project.kernel.durations import in_words
from heartbeat_project.kernel.mail import STORED, mail_is_stored

log = logging.getLogger(__name__)


@unless_held(None)
def send_from_slot(send: Callable[..., bool], contact_method_id: int, *, now: datetime) -> None:
    """Run `send_code` or `send_test` in a slot of the method's channel, and return at once.

    A test that hangs then takes no more room than a page does. It is lost if the process ends before; its owner may ask
    for another.
    """
    kind = ContactMethod.objects.filter(pk=contact_method_id).values_list("kind", flat=True).first()
    if kind is not None:
        SENDER_POOL.start_unclaimed(kind, partial(_send_and_log, send, contact_method_id, now=now))


def _send_and_log(send: Callable[..., bool], contact_method_id: int, *, now: datetime) -> None:
    try:
        send(contact_method_id, now=now)
    except Exception:
        log.exception("no message could be sent to contact method %s", contact_method_id)


@unless_held(False)
def send_code(contact_method_id: int, *, now: datetime) -> bool:
    """Make a code and send it over the contact method; return whether it was accepted.

    The code is made here, so that it never passes through the broker. Within a minute of the last code nothing is sent.
    If the send fails, the error is kept for the owner, who may then ask for a new code at once.
    """
    code = issue_code(contact_method_id, now=now)
    if code is None:
        return False
    method = _with_holder().filter(pk=contact_method_id).first()
    if method is None:  # deleted while its code was made
        return False
    holder = f"user {method.user_id}" if method.group_id is None else f"group {method.group_id}"
    wait = acquire(f"codes of {holder}", CODES_PER_HOLDER, now=now)
    if wait is not None:
        withdraw_code(contact_method_id)
        note_send_error(contact_method_id, f"Too many codes were asked for. Ask again in {in_words(wait)}.")
        return False
    text = (
        f"The code is {code}. It is valid for {CODE_LIVES.seconds // 60} minutes.\n\n"
        f"{method.holder} wants to get alerts here ({method.label}).\n"
        f"Enter the code at {settings.BASE_URL}{_page_of(method)} to confirm it. If this was not you, do "
        "nothing: without the code this address is not used.\n"
    )
    speech = code_call(code, caller=str(method.holder), minutes=CODE_LIVES.seconds // 60)
    error = _send(method, subject="Confirm this address for Heartbeat", text=text, speech=speech, now=now)
    # If it may have arrived, the code stays valid.
    if error is not None and not error.uncertain:
        withdraw_code(contact_method_id)
    return error is None


@unless_held(False)
def send_test(contact_method_id: int, *, now: datetime) -> bool:
    """Send a test message over a verified contact method; return whether it was accepted."""
    in_use = Q(user__is_active=True) | Q(user=None)
    method = _with_holder().filter(in_use, pk=contact_method_id, verified_at__isnull=False).first()
    if method is None:
        return False
    text = (
        f"This is a test from Heartbeat. {_who_asked(method)} to see that {method.label} works.\n"
        "You need not do anything: no alert is open because of it.\n"
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
    return (
        f"{method.user} asked for it"
        if method.group_id is None
        else f"Somebody asked for it in the group {method.group}"
    )


def _send(method: ContactMethod, *, subject: str, text: str, now: datetime, speech: str = "") -> DeliveryError | None:
    """Send a notice at once, and keep why it failed; return that."""
    message = notice_over(method, subject=subject, text=text, speech=speech, now=now)
    failure = None
    try:
        with send_deadline(), ChannelPool() as channel_pool:
            channel_pool.send(method.kind, message, by_hand=True)
    except DeliveryError as error:
        log.warning("contact method %s was not reached: %s", method.pk, error)
        failure = error
    stored = STORED if method.kind == ContactMethod.Kind.EMAIL and mail_is_stored() else ""
    note_send_error(method.pk, str(failure or stored))
    if failure is None and method.kind not in PHONES and not stored:
        record_working([method.pk])
    return failure
