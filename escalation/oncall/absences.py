"""Create, change and delete out-of-office entries: who is away, when, and who is notified instead."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final, TypedDict, Unpack

from django.db import transaction
from django.db.models import Q

from accounts.entitlements import Entitlement
from accounts.models.groups import Group, GroupMember, GroupRole
from accounts.models.organizations import Organization
from accounts.models.users import User
from accounts.permissions import may
from accounts.services.saving import unique
from escalation.models.on_call import OutOfOffice
from escalation.oncall import shift_changes
from escalation.oncall.rota.covers import find_cycle
from escalation.oncall.rotas import pure_absence
from escalation.oncall.shifts import EARLIEST, LATEST
from heartbeat_project.kernel.errors import FieldError, Forbidden
from heartbeat_project.kernel.wakeup import wake_on_commit

# Entries that have not ended, of one person and of an organization: each question about who is on call reads them all.
MAX_ENTRIES: Final = 100
MAX_ORGANIZATION_ENTRIES: Final = 5_000


class AbsenceFields(TypedDict, total=False):
    """The fields of an entry that can be changed; `group` None means all groups."""

    cover: User
    starts_at: datetime
    ends_at: datetime
    group: Group | None


def may_edit_absence(actor: User, user: User, *, group: Group | None) -> bool:
    """Answer whether the actor may edit the user's entries in this group, or in all groups if it is None.

    These are their own, those of members of groups that they manage, and all if they may update all groups. A Manager
    edits entries in all groups only of people who are in no group of somebody else.
    """
    if _may_edit_all_of(actor, user):
        return True
    return _is_within(_managed_groups(actor), _groups_of([user])[user.pk], group_id=group.pk if group else None)


def editable_absences(actor: User, entries: Sequence[OutOfOffice]) -> set[int]:
    """Return the ids of those entries that the actor may edit, in a number of queries that does not depend on them."""
    managed, groups = _managed_groups(actor), _groups_of([entry.user for entry in entries])
    return {
        entry.pk
        for entry in entries
        if _may_edit_all_of(actor, entry.user) or _is_within(managed, groups[entry.user_id], group_id=entry.group_id)
    }


def visible_absences(user: User) -> Q:
    """Return the condition for entries that a user may see who does not see all groups.

    These are their own, those in which they cover, and those that apply to members of groups that they manage.
    """
    managed = _managed_groups(user)
    members = GroupMember.objects.filter(group__in=managed).values("user")
    return Q(user=user) | Q(cover=user) | (Q(user__in=members) & (Q(group=None) | Q(group__in=managed)))


def _managed_groups(user: User) -> set[int]:
    """Return the ids of the groups that the user manages and may therefore update."""
    if not may(user, Entitlement.GROUPS_UPDATE_OWN):
        return set()
    return set(user.memberships.filter(role=GroupRole.MANAGER).values_list("group_id", flat=True))


def _may_edit_all_of(actor: User, user: User) -> bool:
    """Answer whether the actor may edit the user's entries whatever groups they are for."""
    if actor.organization_id != user.organization_id:
        return False
    is_own = actor.pk == user.pk and may(actor, Entitlement.OWN_NOTIFICATIONS_UPDATE)
    return is_own or may(actor, Entitlement.GROUPS_UPDATE_ALL)


def _is_within(managed: set[int], groups: set[int], *, group_id: int | None) -> bool:
    """Answer whether an entry of a member of `groups` concerns only groups that are managed."""
    concerned = groups if group_id is None else {group_id}
    return bool(concerned) and concerned <= groups & managed


def _groups_of(users: Iterable[User]) -> defaultdict[int, set[int]]:
    """Return by user id the ids of the groups that each of them is a member of."""
    groups: defaultdict[int, set[int]] = defaultdict(set)
    for user_id, group_id in GroupMember.objects.filter(user__in=users).values_list("user_id", "group_id"):
        groups[user_id].add(group_id)
    return groups


def create_absence(
    user: User,
    *,
    actor: User,
    cover: User,
    starts_at: datetime,
    ends_at: datetime,
    now: datetime,
    group: Group | None = None,
) -> OutOfOffice:
    """Save that a user is out of office and who covers for them, in one group or in all; notify the cover.

    Raises Forbidden, or FieldError for the field that is wrong; then nothing is saved.
    """
    entry = OutOfOffice(user=user, cover=cover, starts_at=starts_at, ends_at=ends_at, group=group)
    if OutOfOffice.objects.filter(user=user, ends_at__gt=now).count() >= MAX_ENTRIES:
        raise FieldError(
            "starts_at",
            f"{user} has {MAX_ENTRIES} entries that have not ended. Merge or delete some of them first.",
            code="max_length",
        )
    planned = OutOfOffice.objects.filter(user__organization_id=user.organization_id, ends_at__gt=now)
    if planned.count() >= MAX_ORGANIZATION_ENTRIES:
        raise FieldError(
            "starts_at",
            f"Your organization has {MAX_ORGANIZATION_ENTRIES} entries that have not ended. Delete some of them first.",
            code="max_length",
        )
    with transaction.atomic():
        _save(entry, actor=actor)
        shift_changes.note_cover(entry, before=None, actor=actor, now=now)
    return entry


def update_absence(entry: OutOfOffice, *, actor: User, now: datetime, **fields: Unpack[AbsenceFields]) -> OutOfOffice:
    """Change the given fields of an entry and notify the cover; its user cannot be changed.

    Raises Forbidden, or FieldError for the field that is wrong; then nothing is saved.
    """
    with transaction.atomic():
        entry = (
            OutOfOffice.objects.select_for_update(of=("self",))
            .select_related("user", "cover", "group")
            .get(pk=entry.pk)
        )
        _permit(entry.user, actor, group=entry.group)
        before = shift_changes.cover_of(entry)
        for field, value in fields.items():
            setattr(entry, field, value)
        _save(entry, actor=actor)
        shift_changes.note_cover(entry, before=before, actor=actor, now=now)
    return entry


def delete_absence(entry: OutOfOffice, *, actor: User) -> None:
    """Delete an entry, so that its user is notified again from now on. Raises Forbidden."""
    _permit(entry.user, actor, group=entry.group)
    entry.delete()


def _permit(user: User, actor: User, *, group: Group | None) -> None:
    if may_edit_absence(actor, user, group=group):
        return
    if group is None and _groups_of([user])[user.pk] & _managed_groups(actor):
        raise FieldError(
            "group", f"{user} is also in groups that you do not manage. Choose a group of yours.", code="required"
        )
    raise Forbidden(
        "You can change your own out-of-office entries, and those of members within a group that you manage. To change "
        "those of others you need the right to update all groups."
    )


def _save(entry: OutOfOffice, *, actor: User) -> OutOfOffice:
    _permit(entry.user, actor, group=entry.group)
    _check(entry)
    message = (
        f"{entry.user} is already out of office in this time. Change that entry, or end it before this one begins."
    )
    with transaction.atomic(), unique("out_of_office_once", field="starts_at", message=message):
        # The check for a cycle reads the other entries of the organization. Without this lock two simultaneous edits
        # could miss each other's entry, and form a cycle together.
        Organization.objects.select_for_update(no_key=True).get(pk=entry.user.organization_id)
        others = OutOfOffice.objects.filter(
            user__organization_id=entry.user.organization_id, starts_at__lt=entry.ends_at, ends_at__gt=entry.starts_at
        )
        closing = find_cycle(pure_absence(entry), [pure_absence(other) for other in others.exclude(pk=entry.pk)])
        if closing is not None:
            absent_cover = User.objects.get(pk=closing.user)
            raise FieldError(
                "cover",
                f"{absent_cover} is also out of office in this time and is covered by {entry.user}, so nobody would be "
                "notified. Choose somebody else.",
                code="circle",
            )
        entry.save()
    # If the absence has begun, notifications that are still due to the user go to the cover at once.
    wake_on_commit("escalation.go_on_without_leavers", queue="engine")
    return entry


def _check(entry: OutOfOffice) -> None:
    for field in ("starts_at", "ends_at"):
        if not EARLIEST <= getattr(entry, field) < LATEST:
            raise FieldError(field, "Enter a date between 2000 and 2099.")
    if entry.ends_at <= entry.starts_at:
        raise FieldError("ends_at", "The end must be after the start.")
    if entry.cover_id == entry.user_id:
        raise FieldError("cover", "Choose somebody else: people cannot cover for themselves.")
    organization = entry.user.organization_id
    if entry.cover.organization_id != organization or not entry.cover.is_active:
        raise FieldError("cover", "There is no such active user.", code="does_not_exist")
    if entry.group is not None and entry.group.organization_id != organization:
        raise FieldError("group", "There is no such group.", code="does_not_exist")
