"""Contact methods whose address is refused: they are marked, and cleared once the address works again.

Only what is said about an address counts; DeliveryError.bad_address says which errors these are. All writes here wait
for one lock, so that of two workers with refusals at the same moment the second sees those of the first.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from django.db import connection, transaction
from django.db.models import Q

from accounts.models import ContactMethod
from heartbeat_project.kernel.sql import statement

# When more addresses of one kind than this are refused within this time, it is not the addresses.
MOST_AT_ONCE: Final = 5
AT_ONCE: Final = timedelta(minutes=10)
# How a contact method looks that works.
WORKING: Final[Mapping[str, Any]] = {"failing_since": None, "failing_reason": "", "failures": 0, "failed_at": None}
# A phone may have been out of reach: here one refusal says nothing yet.
TWICE: Final = (ContactMethod.Kind.SMS, ContactMethod.Kind.VOICE)


@dataclass(frozen=True, slots=True)
class Refusal:
    """A message that was refused because of its address; `address` is the one that it was sent to."""

    contact_method_id: int
    address: str
    error: str


def record_refusals(refusals: Sequence[Refusal], *, now: datetime) -> dict[str, list[ContactMethod]]:
    """Count refusals and mark the contact methods that fail; an address that was changed meanwhile is left alone.

    When too many addresses of a kind are refused at once, none of them is marked. Returns these by kind.
    """
    if not refusals:
        return {}
    numbers = Counter(refusal.contact_method_id for refusal in refusals)
    last = {refusal.contact_method_id: refusal for refusal in refusals}
    with transaction.atomic(), connection.cursor() as cursor:
        _take_turns()
        parameters: dict[str, Any] = {
            "ids": list(last),
            "addresses": [refusal.address for refusal in last.values()],
            "errors": [refusal.error.replace("\x00", "")[:1_000] for refusal in last.values()],
            "numbers": [numbers[contact_method_id] for contact_method_id in last],
            "twice": list(TWICE),
            "now": now,
        }
        cursor.execute(statement("accounts", "record_refusals"), parameters)
        kinds = {kind for (kind,) in cursor.fetchall()}
        return _unmark_what_fails_at_once(kinds, now=now)


def record_working(contact_method_ids: Iterable[int]) -> None:
    """Clear the marks and counts of contact methods over which a message has just arrived."""
    marked = ContactMethod.objects.filter(pk__in=list(contact_method_ids), failed_at__isnull=False)
    if marked.exists():
        with transaction.atomic():
            _take_turns()
            marked.update(**WORKING)


def _take_turns() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended('accounts.failing', 0))")


def _unmark_what_fails_at_once(kinds: Iterable[str], *, now: datetime) -> dict[str, list[ContactMethod]]:
    """Take back the marks of kinds of which too many addresses were refused lately; return what was refused.

    What has failed for longer says nothing about this moment. The time of the refusal stays, so that the next address
    that is refused while this lasts is not marked either.
    """
    began = now - AT_ONCE
    lately = ContactMethod.objects.filter(
        Q(failing_since=None) | Q(failing_since__gt=began), kind__in=list(kinds), failed_at__gt=began
    )
    found: dict[str, list[ContactMethod]] = defaultdict(list)
    for method in lately.select_related("user", "group").order_by("id"):
        found[method.kind].append(method)
    too_many = {
        kind: methods
        for kind, methods in found.items()
        if len({method.address.lower() for method in methods}) > MOST_AT_ONCE
    }
    marked = [method.pk for methods in too_many.values() for method in methods]
    ContactMethod.objects.filter(pk__in=marked).update(failing_since=None, failing_reason="", failures=0)
    return too_many
