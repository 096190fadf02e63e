"""Notices that contact methods fail: to their owners over another one, to Managers, and to Owners when it is our fault.

A notice waits for SETTLED, so that what turns out to be our fault reaches nobody as theirs. None of these notices makes
another: Notification.about_failing keeps a refusal of it from marking anything.
"""

import logging
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Final

from django.conf import settings
from django.db import transaction
from django.db.models import F, Q

from accounts.models import EMAIL_OFFICIAL, ContactMethod, Group, GroupMember, GroupRole, User
from accounts.services.failing import AT_ONCE, MOST_AT_ONCE, Refusal, record_refusals
from accounts.windows import is_open
from escalation.models import Allowance, Notification
from escalation.services.last_resort import email_to
from escalation.services.limits import Limit, take
from escalation.services.people import stewards
from escalation.wording import moment, one_line, zone
from heartbeat_project.kernel.doorbell import ring
from heartbeat_project.kernel.durations import in_words

log = logging.getLogger(__name__)

SETTLED: Final = timedelta(minutes=1)
# The Managers of a person's groups are notified from so many failures on; of a group's own contact at once.
MANAGERS_FROM: Final = 3
# A contact method that works now and then is not announced more often than this.
NOT_AGAIN_WITHIN: Final = timedelta(days=1)
MOST_IN_A_ROUND: Final = 500
INCIDENT: Final = Limit(1, timedelta(hours=1))
# The quietest first: a notice should wake nobody who can read it elsewhere.
_QUIETEST_FIRST: Final = ("email", "push", "chat", "apprise", "sms", "webhook", "voice")
_NAMED: Final = 20


def note_refusals(refusals: Sequence[Refusal], *, now: datetime) -> None:
    """Mark contact methods whose address was refused, in the caller's transaction; or say that it is not they.

    When too many addresses of a kind are refused at once, the Owners and App Admins get one notice for the incident:
    refusals that follow one another within an hour are one.
    """
    for kind, methods in record_refusals(refusals, now=now).items():
        concerned: dict[int, list[ContactMethod]] = defaultdict(list)
        for method in methods:
            concerned[method.holder.organization_id].append(method)
        log.error("%s addresses refused messages over %s at once; none is marked as failing", len(methods), kind)
        for organization_id, theirs in concerned.items():
            key = f"refusals at once {kind} {organization_id}"
            if take(key, INCIDENT, now=now) is None:
                _notify_of_our_fault(kind, theirs, organization_id=organization_id, number=len(methods), now=now)
            else:
                Allowance.objects.filter(key=key).update(used_until=now + INCIDENT.per)


def notify_of_failing(*, now: datetime) -> int:
    """Notify owners, and where it is time Managers, of contact methods that fail; return how many notices were written.

    Each is notified once for a contact method. Who has no other method cannot be notified: then the Managers are.
    """
    with transaction.atomic():
        # Two workers share the rows; those of one stay locked until its notices are written.
        due = list(_due(now=now))
        if not due:
            return 0
        others = _other_methods({method.user_id for method in due if method.user_id is not None})
        owners: list[ContactMethod] = []
        managers: list[ContactMethod] = []
        notices = []
        fresh: dict[int, list[ContactMethod]] = defaultdict(list)
        for method in due:
            if method.user_id is not None and _is_due(method.owner_notified_at, method, now=now):
                fresh[method.user_id].append(method)
        for user_id, methods in fresh.items():
            ways = others.get(user_id, [])
            way = _open_now(ways, now=now)
            if way is not None:
                notices.append(_notice(way, *_to_owner(methods, reader=way.holder), now=now))
            if way is not None or not ways:
                owners += methods
            if not ways:
                managers += methods
        managers += [
            method
            for method in due
            if method not in managers and (method.group_id is not None or method.failures >= MANAGERS_FROM)
        ]
        managers = [method for method in managers if _is_due(method.managers_notified_at, method, now=now)]
        notices += _to_managers(managers, now=now)
        ContactMethod.objects.filter(pk__in=[method.pk for method in owners]).update(owner_notified_at=now)
        ContactMethod.objects.filter(pk__in=[method.pk for method in managers]).update(managers_notified_at=now)
        _write(notices)
    return len(notices)


def _due(*, now: datetime) -> Iterable[ContactMethod]:
    def due(field: str) -> Q:
        again = Q(**{f"{field}__lt": F("failing_since"), f"{field}__lte": now - NOT_AGAIN_WITHIN})
        return Q(**{field: None}) | again

    rows = ContactMethod.objects.filter(
        (Q(user__is_active=True) & due("owner_notified_at"))
        | (Q(user__is_active=True, failures__gte=MANAGERS_FROM) | Q(group__isnull=False)) & due("managers_notified_at"),
        failed_at__isnull=False,  # for its index
        failing_since__lte=now - SETTLED,
    )
    held = rows.select_for_update(of=("self",), no_key=True, skip_locked=True)
    return held.select_related("user__organization", "group__organization").order_by("pk")[:MOST_IN_A_ROUND]


def _is_due(notified_at: datetime | None, method: ContactMethod, *, now: datetime) -> bool:
    assert method.failing_since is not None  # noqa: S101 - as _due chose
    return notified_at is None or (notified_at < method.failing_since and notified_at <= now - NOT_AGAIN_WITHIN)


def _other_methods(user_ids: Iterable[int]) -> dict[int, list[ContactMethod]]:
    """Return the methods of active people over which a notice can be sent, the quietest first."""
    found: dict[int, list[ContactMethod]] = defaultdict(list)
    methods = ContactMethod.objects.filter(
        user_id__in=set(user_ids),
        user__is_active=True,
        verified_at__isnull=False,
        enabled=True,
        failing_since=None,
    )
    for method in sorted(
        methods.select_related("user__organization"),
        key=lambda method: (_QUIETEST_FIRST.index(method.kind), method.position, method.pk),
    ):
        found[method.user_id or 0].append(method)
    return found


def _open_now(methods: Iterable[ContactMethod], *, now: datetime) -> ContactMethod | None:
    """Return the first of the methods that may be used at this time of the week."""
    return next(
        (method for method in methods if is_open(method.windows, at=now, time_zone=method.holder.time_zone)), None
    )


def _to_owner(methods: Sequence[ContactMethod], *, reader: User | Group) -> tuple[str, str]:
    names = ", ".join(method.label for method in methods)
    mend = [f"Mend or remove what does not work at {settings.BASE_URL}/profile/contact-methods/, or confirm it anew."]
    if any(method.label == EMAIL_OFFICIAL for method in methods):
        mend.append(f"The address of {EMAIL_OFFICIAL} is that of your account: an App Admin can change it.")
    text = [
        *(f"{_what(method, reader=reader)}" for method in methods),
        "Until then your other contact methods are used first, and nobody counts you as reached by it.",
        *mend,
    ]
    return f"Alerts do not reach you over {names}", "\n".join(text)


def _to_managers(methods: Sequence[ContactMethod], *, now: datetime) -> list[Notification]:
    """Return a notice for each Manager of the groups concerned, about all that fails there."""
    if not methods:
        return []
    people = {method.user_id for method in methods if method.user_id is not None}
    shared = {method.group_id for method in methods if method.group_id is not None}
    groups_of: dict[int, set[int]] = defaultdict(set)
    for user_id, group_id in GroupMember.objects.filter(user_id__in=people).values_list("user_id", "group_id"):
        groups_of[user_id].add(group_id)
    concerned = shared.union(*groups_of.values())
    rows = GroupMember.objects.filter(group_id__in=concerned, role=GroupRole.MANAGER, user__is_active=True)
    managed: dict[int, set[int]] = defaultdict(set)
    for user_id, group_id in rows.values_list("user_id", "group_id"):
        managed[user_id].add(group_id)
    ways = _other_methods(managed)
    notices = []
    for manager, groups in sorted(managed.items()):
        way = next(iter(ways.get(manager, ())), None)
        theirs = [
            method
            for method in methods
            if method.group_id in groups
            or (method.user_id != manager and groups & groups_of.get(method.user_id or 0, set()))
        ]
        if way is not None and theirs:
            notices.append(_notice(way, *_to_manager(theirs, reader=way.holder), now=now))
    return notices


def _to_manager(methods: Sequence[ContactMethod], *, reader: User | Group) -> tuple[str, str]:
    names = list(dict.fromkeys(str(method.holder) for method in methods))
    subject = f"Alerts do not reach {', '.join(names[:3])}{f' and {len(names) - 3} more' if len(names) > 3 else ''}"
    text = [f"{method.holder}: {_what(method, reader=reader)}" for method in methods[:_NAMED]]
    if len(methods) > _NAMED:
        text.append(f"… and {len(methods) - _NAMED} more")
    if any(method.user_id is not None for method in methods):
        text.append("Ask them to mend it in their profile: nobody counts them as reached by it.")
    text += [
        f"Mend or remove what {group} shares at {settings.BASE_URL}/groups/{group.pk}/."
        for group in dict.fromkeys(method.group for method in methods if method.group is not None)
    ]
    return subject, "\n".join(text)


def _what(method: ContactMethod, *, reader: User | Group) -> str:
    """Say what does not work, since when, and how the address was refused."""
    assert method.failing_since is not None  # noqa: S101 - as _due chose
    since = moment(method.failing_since, zone=zone(reader.time_zone))
    return f"{method.label} ({method.shown}) has refused messages since {since}: {one_line(method.failing_reason)}"


def _notify_of_our_fault(
    kind: str, methods: Sequence[ContactMethod], *, organization_id: int, number: int, now: datetime
) -> None:
    """Write one notice to each Owner and App Admin, not over the kind that just fails where they have another."""
    name = ContactMethod.Kind(kind).label
    theirs = "" if len(methods) == number else f", {len(methods)} of them of your organization"
    listed = [f"{method.holder}: {method.label} ({method.shown})" for method in methods[:_NAMED]]
    text = [
        f"Within {in_words(AT_ONCE)} {number} addresses refused messages over {name}{theirs}.",
        "So many at once are hardly wrong: look at what sends these messages first (server, account, sender).",
        "None of them is marked as failing.",
        f"The last was refused with: {one_line(_last_reason(methods))}",
        *listed,
        *([f"… and {len(methods) - _NAMED} more"] if len(methods) > _NAMED else []),
    ]
    subject = f"{name}: more than {MOST_AT_ONCE} addresses refuse messages at once"
    people = stewards([organization_id])[organization_id]
    ways = _other_methods(user.pk for user in people)
    notices = []
    for user in people:
        usable = sorted(ways.get(user.pk, ()), key=lambda method: method.kind == kind)
        way = _open_now(usable, now=now)
        if way is not None:
            notices.append(_notice(way, subject, "\n".join(text), now=now))
    _write(notices)


def _last_reason(methods: Sequence[ContactMethod]) -> str:
    reasons = [(method.failed_at, method.failing_reason) for method in methods if method.failed_at is not None]
    return max(reasons, default=(None, ""))[1]


def _notice(way: ContactMethod, subject: str, text: str, *, now: datetime) -> Notification:
    row = email_to(way, kind=Notification.Kind.NOTICE, organization_id=way.holder.organization_id, now=now)
    row.subject, row.text, row.about_failing = subject[:300], text, True
    return row


def _write(notices: Sequence[Notification]) -> None:
    if notices:
        Notification.objects.bulk_create(notices)
        ring("escalation.deliver_due", queue="delivery")
