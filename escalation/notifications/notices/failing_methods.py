"""Notices about failing contact methods: to their owners over another one, to Managers, and to Owners if we cause it.

A notice waits for SETTLED, so that nobody is notified of failures that turn out to be caused by this installation. None
of these notices leads to another: a refusal of one with Notification.about_failing marks nothing.
"""

import logging
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Final

from django.conf import settings
from django.db import transaction
from django.db.models import F, Q

from accounts.contact_kinds import CONTACT_KINDS
from accounts.models.contact_methods import EMAIL_OFFICIAL, ContactMethod
from accounts.models.groups import Group, GroupMember, GroupRole
from accounts.models.users import User
from accounts.selectors import fallback_recipients
from accounts.services.failing_methods import AT_ONCE, MAX_AT_ONCE, Refusal, record_refusals
from accounts.services.restores import unless_held
from accounts.windows import is_open
from escalation.engine.notices import email_to
from escalation.models.notifications import Notification
from escalation.models.sending import RateLimitState
from escalation.notifications.providers.rate_limits import Limit, acquire
from heartbeat_project.kernel.durations import in_words
from heartbeat_project.kernel.wakeup import wake_on_commit
from heartbeat_project.kernel.wording import moment, one_line, zone

log = logging.getLogger(__name__)

# How long a contact method fails before a notice: by then many refusals at once have shown whether we cause them.
SETTLED: Final = timedelta(minutes=1)
# Number of failures from which on the Managers of a person's groups are notified; of a group's own contact at once.
MANAGERS_FROM: Final = 3
# How often one contact method leads to a notice at most, if it works now and then.
NOT_AGAIN_WITHIN: Final = timedelta(days=1)
# Number of contact methods in one transaction.
MAX_IN_A_ROUND: Final = 500
# Refusals of many addresses at once lead to one notice an hour in each organization.
INCIDENT: Final = Limit(1, timedelta(hours=1))
_NAMED: Final = 20


def note_refusals(refusals: Sequence[Refusal], *, now: datetime) -> None:
    """Mark contact methods whose address was refused, in the caller's transaction.

    If too many addresses of a kind are refused at once, this installation is the likely cause: then none is marked, and
    the Owners and App Admins get one notice for the incident. Refusals that follow one another within an hour are one
    incident.
    """
    for kind, methods in record_refusals(refusals, now=now).items():
        methods_by_organization: dict[int, list[ContactMethod]] = defaultdict(list)
        for method in methods:
            methods_by_organization[method.holder.organization_id].append(method)
        log.error("%s addresses refused messages over %s at once; none is marked as failing", len(methods), kind)
        for organization_id, its_methods in methods_by_organization.items():
            key = f"refusals at once {kind} {organization_id}"
            if acquire(key, INCIDENT, now=now) is None:
                _notify_of_our_fault(kind, its_methods, organization_id=organization_id, number=len(methods), now=now)
            else:
                # The incident goes on: an hour without refusals has to pass before the next notice.
                RateLimitState.objects.filter(key=key).update(used_until=now + INCIDENT.per)


@unless_held(0)
def notify_of_failing(*, now: datetime) -> int:
    """Notify owners, and after MANAGERS_FROM failures Managers, of failing contact methods; return how many notices.

    Each person gets one notice about a contact method. If its owner has no other method, the Managers are notified
    instead.
    """
    with transaction.atomic():
        # The rows stay locked until the notices are written, and other workers skip them: nobody is notified twice.
        due = list(_due(now=now))
        if not due:
            return 0
        others = _other_methods({method.user_id for method in due if method.user_id is not None})
        owners: list[ContactMethod] = []
        managers: list[ContactMethod] = []
        notices = []
        due_by_owner: dict[int, list[ContactMethod]] = defaultdict(list)
        for method in due:
            if method.user_id is not None and _is_due(method.owner_notified_at, method, now=now):
                due_by_owner[method.user_id].append(method)
        for user_id, methods in due_by_owner.items():
            usable = others.get(user_id, [])
            notice_method = _open_now(usable, now=now)
            if notice_method is not None:
                notices.append(_notice(notice_method, *_to_owner(methods, reader=notice_method.holder), now=now))
            # If all other methods are closed at this hour, the owner is notified later.
            if notice_method is not None or not usable:
                owners += methods
            if not usable:
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
    """Lock and return contact methods of which the owner or the Managers are to be notified."""
    not_since = now - NOT_AGAIN_WITHIN
    owner_due = Q(owner_notified_at=None) | Q(
        owner_notified_at__lt=F("failing_since"), owner_notified_at__lte=not_since
    )
    managers_due = Q(managers_notified_at=None) | Q(
        managers_notified_at__lt=F("failing_since"), managers_notified_at__lte=not_since
    )
    rows = ContactMethod.objects.filter(
        (Q(user__is_active=True) & owner_due)
        | (Q(user__is_active=True, failures__gte=MANAGERS_FROM) | Q(group__isnull=False)) & managers_due,
        failed_at__isnull=False,  # the condition of the partial index that serves this
        failing_since__lte=now - SETTLED,
    )
    locked = rows.select_for_update(of=("self",), no_key=True, skip_locked=True)
    return locked.select_related("user__organization", "group__organization").order_by("pk")[:MAX_IN_A_ROUND]


def _is_due(notified_at: datetime | None, method: ContactMethod, *, now: datetime) -> bool:
    """Return whether a notice about this failure is due to somebody who had the last one at `notified_at`."""
    assert method.failing_since is not None  # noqa: S101 - a condition of _due
    return notified_at is None or (notified_at < method.failing_since and notified_at <= now - NOT_AGAIN_WITHIN)


def _other_methods(user_ids: Iterable[int]) -> dict[int, list[ContactMethod]]:
    """Return the working methods of these users that are active, by user id, the quietest first."""
    methods_by_user: dict[int, list[ContactMethod]] = defaultdict(list)
    methods = ContactMethod.objects.filter(
        user_id__in=set(user_ids),
        user__is_active=True,
        verified_at__isnull=False,
        enabled=True,
        failing_since=None,
    )
    for method in sorted(
        methods.select_related("user__organization"),
        key=lambda method: (CONTACT_KINDS[method.kind].notice_rank, method.position, method.pk),
    ):
        methods_by_user[method.user_id or 0].append(method)
    return methods_by_user


def _open_now(methods: Iterable[ContactMethod], *, now: datetime) -> ContactMethod | None:
    """Return the first of these methods that is open at this time of the week; None if all are closed."""
    return next(
        (method for method in methods if is_open(method.windows, at=now, time_zone=method.holder.time_zone)), None
    )


def _to_owner(methods: Sequence[ContactMethod], *, reader: User | Group) -> tuple[str, str]:
    """Return the subject and the text of the notice to the owner of these methods."""
    names = ", ".join(method.label for method in methods)
    page = f"{settings.BASE_URL}/profile/contact-methods/"
    remedies = [f"Correct it, remove it or confirm it again at {page}."]
    if all(method.stopped_at is not None for method in methods):
        remedies = [f"Send START from that phone to the number that our messages come from, or remove it at {page}."]
    if any(method.label == EMAIL_OFFICIAL for method in methods):
        remedies.append(f"The address of {EMAIL_OFFICIAL} is that of your account: an App Admin can change it.")
    text = [
        *(_failure_text(method, reader=reader) for method in methods),
        "Until it works again your other contact methods are used first, and nobody waits for you to answer there.",
        *remedies,
    ]
    return f"Alerts do not reach you over {names}", "\n".join(text)


def _to_managers(methods: Sequence[ContactMethod], *, now: datetime) -> list[Notification]:
    """Return one notice for each Manager of the groups concerned, about all failing methods in their groups."""
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
    methods_by_user = _other_methods(managed)
    notices = []
    for manager, groups in sorted(managed.items()):
        # At any hour, unlike the notice to the owner: the method is the quietest of the Manager.
        notice_method = next(iter(methods_by_user.get(manager, ())), None)
        # A Manager is not notified as such of their own methods.
        in_their_groups = [
            method
            for method in methods
            if method.group_id in groups
            or (method.user_id != manager and groups & groups_of.get(method.user_id or 0, set()))
        ]
        if notice_method is not None and in_their_groups:
            notices.append(_notice(notice_method, *_to_manager(in_their_groups, reader=notice_method.holder), now=now))
    return notices


def _to_manager(methods: Sequence[ContactMethod], *, reader: User | Group) -> tuple[str, str]:
    """Return the subject and the text of the notice to a Manager about these methods."""
    names = list(dict.fromkeys(str(method.holder) for method in methods))
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    subject = f"Alerts do not reach {', '.join(names[:3])}{more}"
    text = [f"{method.holder}: {_failure_text(method, reader=reader)}" for method in methods[:_NAMED]]
    if len(methods) > _NAMED:
        text.append(f"… and {len(methods) - _NAMED} more")
    if any(method.user_id is not None for method in methods):
        text.append("Ask them to correct it in their profile: until then they do not count as reached there.")
    text += [
        f"Correct or remove what {group} shares at {settings.BASE_URL}/groups/{group.pk}/."
        for group in dict.fromkeys(method.group for method in methods if method.group is not None)
    ]
    return subject, "\n".join(text)


def _failure_text(method: ContactMethod, *, reader: User | Group) -> str:
    """Return a sentence with the method, since when it fails, and the reason of the refusal."""
    assert method.failing_since is not None  # noqa: S101 - a condition of _due
    since = moment(method.failing_since, zone=zone(reader.time_zone))
    reason = one_line(method.failing_reason)
    return f"{method.label} ({method.masked_address}) has refused messages since {since}: {reason}"


def _notify_of_our_fault(
    kind: str, methods: Sequence[ContactMethod], *, organization_id: int, number: int, now: datetime
) -> None:
    """Write one notice to each Owner and App Admin; over the kind that just fails only if they have no other.

    `methods` are those of the organization, `number` counts those of all organizations.
    """
    name = ContactMethod.Kind(kind).label
    of_organization = "" if len(methods) == number else f", {len(methods)} of them of your organization"
    listed = [f"{method.holder}: {method.label} ({method.masked_address})" for method in methods[:_NAMED]]
    text = [
        f"Within {in_words(AT_ONCE)} {number} addresses refused messages over {name}{of_organization}.",
        "So many addresses are hardly wrong at once. Look first at what sends the messages: server, account, sender.",
        "None of them is marked as failing.",
        f"The last was refused with: {one_line(_last_reason(methods))}",
        *listed,
    ]
    if len(methods) > _NAMED:
        text.append(f"… and {len(methods) - _NAMED} more")
    subject = f"{name}: more than {MAX_AT_ONCE} addresses refuse messages at once"
    people = fallback_recipients([organization_id])[organization_id]
    methods_by_user = _other_methods(user.pk for user in people)
    notices = []
    for user in people:
        usable = sorted(methods_by_user.get(user.pk, ()), key=lambda method: method.kind == kind)
        notice_method = _open_now(usable, now=now)
        if notice_method is not None:
            notices.append(_notice(notice_method, subject, "\n".join(text), now=now))
    _write(notices)


def _last_reason(methods: Sequence[ContactMethod]) -> str:
    reasons = [(method.failed_at, method.failing_reason) for method in methods if method.failed_at is not None]
    return max(reasons, default=(None, ""))[1]


def _notice(notice_method: ContactMethod, subject: str, text: str, *, now: datetime) -> Notification:
    row = email_to(
        notice_method, kind=Notification.Kind.NOTICE, organization_id=notice_method.holder.organization_id, now=now
    )
    row.subject, row.text, row.about_failing = subject[:300], text, True
    return row


def _write(notices: Sequence[Notification]) -> None:
    if notices:
        Notification.objects.bulk_create(notices)
        wake_on_commit("escalation.deliver_due", queue="delivery")
