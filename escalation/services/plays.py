"""Create, change and delete response plays."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.db import transaction

from accounts.models import Group, Organization, User
from accounts.services.saving import clean_name, unique
from escalation.models import PlayTier, ResponsePlay
from escalation.services.policies import delete_unused, with_default_reminder, without_nothing
from escalation.services.running import follow_change
from heartbeat_project.kernel.errors import FieldError


@dataclass(frozen=True, slots=True)
class TierRule:
    """Who is told so many minutes after the alert opened."""

    offset_minutes: Decimal
    users: Sequence[User] = ()
    groups: Sequence[Group] = ()


def create_play(organization: Organization, *, name: str, tiers: Sequence[TierRule], **fields: Any) -> ResponsePlay:
    """Create a play with its tiers.

    Raises FieldError at the field that is wrong; then nothing is saved.
    """
    play = ResponsePlay(organization=organization, name=name, **with_default_reminder(fields))
    _check(play, tiers)
    with transaction.atomic():
        _save(play)
        _write_tiers(play, tiers)
    return play


def update_play(
    play: ResponsePlay,
    *,
    actor: User | None,
    now: datetime,
    tiers: Sequence[TierRule] | None = None,
    stop_running: bool = False,
    **fields: Any,
) -> ResponsePlay:
    """Change some fields, or the tiers as a whole.

    Runs that have begun follow what they began with, and their timelines say so; `stop_running` ends them, where the
    play is disabled.

    Raises FieldError at the field that is wrong; then nothing is saved.
    """
    with transaction.atomic():
        play = ResponsePlay.objects.select_for_update().get(pk=play.pk)
        was_enabled = play.enabled
        for field, value in without_nothing(fields).items():
            setattr(play, field, value)
        play.version += 1
        _check(play, tiers)
        _save(play)
        if tiers is not None:
            play.tiers.all().delete()
            _write_tiers(play, tiers)
        what = "disabled" if was_enabled and not play.enabled else "changed"
        follow_change(play, what, stop_running=stop_running, actor=actor, now=now)
    return play


def delete_play(play: ResponsePlay, *, actor: User | None, now: datetime) -> None:
    """Delete a play that no integration uses; runs that follow it go on, and their timelines say so.

    Raises InUse, which names the integrations.
    """
    delete_unused(play, actor=actor, now=now)


def _check(play: ResponsePlay, tiers: Sequence[TierRule] | None) -> None:
    play.name = clean_name(play.name)
    if tiers is None:
        return
    if not tiers:
        raise FieldError("tiers", "Add at least one tier.", code="required")
    seen: set[Decimal] = set()
    for index, tier in enumerate(tiers):
        if tier.offset_minutes in seen:
            raise FieldError(f"tiers/{index}/offset_minutes", "Another tier has the same offset.", code="unique")
        seen.add(tier.offset_minutes)
        if not tier.users and not tier.groups:
            raise FieldError(f"tiers/{index}/users", "Name users or groups to be told.", code="required")
        for field, rows in (("users", tier.users), ("groups", tier.groups)):
            if any(row.organization_id != play.organization_id for row in rows):
                raise FieldError(f"tiers/{index}/{field}", "There is no such object.", code="does_not_exist")


def _save(play: ResponsePlay) -> None:
    message = f"There is already a response play named “{play.name}”."
    with unique("play_name_unique", field="name", message=message):
        play.save()


def _write_tiers(play: ResponsePlay, tiers: Sequence[TierRule]) -> None:
    rows = PlayTier.objects.bulk_create(PlayTier(play=play, offset_minutes=tier.offset_minutes) for tier in tiers)
    pairs = list(zip(rows, tiers, strict=True))
    PlayTier.users.through.objects.bulk_create(
        PlayTier.users.through(playtier_id=row.pk, user_id=user.pk)
        for row, tier in pairs
        for user in dict.fromkeys(tier.users)
    )
    PlayTier.groups.through.objects.bulk_create(
        PlayTier.groups.through(playtier_id=row.pk, group_id=group.pk)
        for row, tier in pairs
        for group in dict.fromkeys(tier.groups)
    )
