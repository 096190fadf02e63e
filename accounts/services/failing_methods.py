"""Mark contact methods whose address is refused as failing, and clear the mark once the address works again.

Only errors that concern the address count (DeliveryError.bad_address). All writes here take one advisory lock, so that
of two workers that record refusals at once the second sees those of the first.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from django.db import connection, transaction
from django.db.models import Q, QuerySet, Value
from django.db.models.functions import Coalesce, Greatest

from accounts.contact_kinds import PHONES
from accounts.models.contact_methods import ContactMethod
from heartbeat_project.kernel.sql import statement

# If more than MAX_AT_ONCE addresses of one kind are refused within AT_ONCE, the cause is not the addresses but our
# provider or our settings.
MAX_AT_ONCE: Final = 5
AT_ONCE: Final = timedelta(minutes=10)
# The fields of a contact method that works.
WORKING: Final[Mapping[str, Any]] = {
    "failing_since": None,
    "failing_reason": "",
    "failures": 0,
    "failed_at": None,
    "stopped_at": None,
}
STOPPED: Final = (
    "Its owner sent STOP. No SMS arrives until they send START from this phone to the number that sends the alerts."
)


@dataclass(frozen=True, slots=True)
class Refusal:
    """A message that was refused because of its address; `address` is the one that the message was sent to."""

    contact_method_id: int
    address: str
    error: str


def record_refusals(refusals: Sequence[Refusal], *, now: datetime) -> dict[str, list[ContactMethod]]:
    """Count refusals and mark the contact methods that fail. A method whose address has changed since is left alone.

    If too many addresses of a kind are refused at once, none of them is marked. Returns those methods by kind.
    """
    if not refusals:
        return {}
    counts = Counter(message.contact_method_id for message in refusals)
    last = {message.contact_method_id: message for message in refusals}
    with transaction.atomic(), connection.cursor() as cursor:
        _lock()
        parameters: dict[str, Any] = {
            "ids": list(last),
            "addresses": [message.address for message in last.values()],
            "errors": [message.error.replace("\x00", "")[:1_000] for message in last.values()],
            "numbers": [counts[contact_method_id] for contact_method_id in last],
            "phones": sorted(PHONES),
            "now": now,
        }
        cursor.execute(statement("accounts", "record_refusals"), parameters)
        kinds = {kind for (kind,) in cursor.fetchall()}
        return _unmark_mass_failures(kinds, now=now)


def record_working(contact_method_ids: Iterable[int]) -> None:
    """Clear the marks and counts of contact methods over which a message has just arrived.

    Methods that were stopped stay marked: a message that arrives after STOP was sent before it.
    """
    failed = ContactMethod.objects.filter(pk__in=list(contact_method_ids), failed_at__isnull=False, stopped_at=None)
    if failed.exists():
        with transaction.atomic():
            _lock()
            failed.update(**WORKING)


def record_stop(number: str, *, now: datetime) -> None:
    """Mark all SMS contact methods with this number as failing, because STOP was sent from it."""
    with transaction.atomic():
        _lock()
        _phones(number).filter(stopped_at=None).update(
            stopped_at=now,
            failing_since=Coalesce("failing_since", Value(now)),
            failing_reason=STOPPED,
            failures=Greatest("failures", Value(1)),
            failed_at=now,
        )


def record_start(number: str) -> int:
    """Clear the marks that STOP set for this number; return the number of contact methods that were marked."""
    with transaction.atomic():
        _lock()
        return _phones(number).filter(stopped_at__isnull=False).update(**WORKING)


def _phones(number: str) -> QuerySet[ContactMethod]:
    return ContactMethod.objects.filter(kind=ContactMethod.Kind.SMS, address=number, verified_at__isnull=False)


def _lock() -> None:
    """Wait for the lock of this module, which is held until the transaction ends."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended('accounts.failing', 0))")


def _unmark_mass_failures(kinds: Iterable[str], *, now: datetime) -> dict[str, list[ContactMethod]]:
    """Clear the marks of the kinds of which too many addresses were refused recently; return those methods by kind.

    Methods that have been failing for longer do not count. `failed_at` stays set, so that the next address that is
    refused during the disturbance is not marked either.
    """
    start = now - AT_ONCE
    recent = ContactMethod.objects.filter(
        Q(failing_since=None) | Q(failing_since__gt=start),
        kind__in=list(kinds),
        failed_at__gt=start,
        stopped_at=None,
    )
    methods_by_kind: dict[str, list[ContactMethod]] = defaultdict(list)
    for method in recent.select_related("user", "group").order_by("id"):
        methods_by_kind[method.kind].append(method)
    mass_failures = {
        kind: methods
        for kind, methods in methods_by_kind.items()
        if len({method.address.lower() for method in methods}) > MAX_AT_ONCE
    }
    ids: list[int] = []
    for methods in mass_failures.values():
        ids += [method.pk for method in methods]
    ContactMethod.objects.filter(pk__in=ids).update(failing_since=None, failing_reason="", failures=0)
    return mass_failures
