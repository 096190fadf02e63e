"""Out of office: who is away when, and who is told instead."""

from datetime import datetime
from typing import Any

from django.db import transaction

from accounts.entitlements import Entitlement
from accounts.models import Group, Organization, User
from accounts.permissions import may
from accounts.services.saving import unique
from escalation.rosters import pure_absence
from escalation.rota.covers import leads_back
from escalation.services import shift_notices
from escalation.services.shifts import EARLIEST, LATEST
from escalation.shift_models import OutOfOffice
from heartbeat_project.kernel.errors import FieldError, Forbidden


def may_edit_absences(actor: User, user: User) -> bool:
    """Answer whether the actor may say when the user is out: one's own, or who updates all groups."""
    if actor.organization_id != user.organization_id:
        return False
    own = Entitlement.OWN_NOTIFICATIONS_UPDATE
    return (actor.pk == user.pk and may(actor, own)) or may(actor, Entitlement.GROUPS_UPDATE_ALL)


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
    """Say that somebody is out of office and who is told instead, in one group or in all; the cover hears of it.

    Raises Forbidden, and FieldError at the field that is wrong; then nothing is saved.
    """
    entry = OutOfOffice(user=user, cover=cover, starts_at=starts_at, ends_at=ends_at, group=group)
    with transaction.atomic():
        _save(entry, actor=actor)
        shift_notices.note_cover(entry, before=None, actor=actor, now=now)
    return entry


def update_absence(entry: OutOfOffice, *, actor: User, now: datetime, **fields: Any) -> OutOfOffice:
    """Change an entry; whose it is stays. The cover hears of it.

    Raises Forbidden, and FieldError at the field that is wrong; then nothing is saved.
    """
    with transaction.atomic():
        entry = OutOfOffice.objects.select_for_update(of=("self",)).select_related("user", "cover").get(pk=entry.pk)
        before = shift_notices.cover_of(entry)
        for field, value in fields.items():
            setattr(entry, field, value)
        _save(entry, actor=actor)
        shift_notices.note_cover(entry, before=before, actor=actor, now=now)
    return entry


def delete_absence(entry: OutOfOffice, *, actor: User) -> None:
    """Delete an entry: the person is told again from now on. Raises Forbidden."""
    _permit(entry.user, actor)
    entry.delete()


def _permit(user: User, actor: User) -> None:
    if not may_edit_absences(actor, user):
        raise Forbidden(
            "You can say when you are out of office yourself; for others it takes the right to update all groups."
        )


def _save(entry: OutOfOffice, *, actor: User) -> OutOfOffice:
    _permit(entry.user, actor)
    _check(entry)
    message = (
        f"{entry.user} is out of office in this time already. Change that entry, or end it before this one begins."
    )
    with transaction.atomic(), unique("out_of_office_once", field="starts_at", message=message):
        # A circle is seen by looking at other entries: whoever adds one to this organization waits for this lock.
        Organization.objects.select_for_update(no_key=True).get(pk=entry.user.organization_id)
        others = OutOfOffice.objects.filter(
            user__organization_id=entry.user.organization_id, starts_at__lt=entry.ends_at, ends_at__gt=entry.starts_at
        )
        back = leads_back(pure_absence(entry), [pure_absence(other) for other in others.exclude(pk=entry.pk)])
        if back is not None:
            through = User.objects.get(pk=back.user)
            raise FieldError(
                "cover",
                f"{through} is out of office in this time, too, and is covered by {entry.user}: "
                "then nobody would be there. Choose somebody else.",
                code="circle",
            )
        entry.save()
    return entry


def _check(entry: OutOfOffice) -> None:
    for field in ("starts_at", "ends_at"):
        if not EARLIEST <= getattr(entry, field) < LATEST:
            raise FieldError(field, "Enter a date between 2000 and 2099.")
    if entry.ends_at <= entry.starts_at:
        raise FieldError("ends_at", "The end must be after the start.")
    if entry.cover_id == entry.user_id:
        raise FieldError("cover", "Choose somebody else: this is the person who is away.")
    organization = entry.user.organization_id
    if entry.cover.organization_id != organization or not entry.cover.is_active:
        raise FieldError("cover", "There is no such active user.", code="does_not_exist")
    if entry.group is not None and entry.group.organization_id != organization:
        raise FieldError("group", "There is no such group.", code="does_not_exist")
