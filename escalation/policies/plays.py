"""Create, change and delete response plays."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from operator import itemgetter
from typing import Unpack

from django.db import transaction

from accounts.models.groups import Group
from accounts.models.organizations import Organization
from accounts.models.users import User
from accounts.services.saving import clean_name, unique
from escalation.models.policies import PlayTier, ResponsePlay
from escalation.policies.edits import follow_change
from escalation.policies.policies import RuleFields, check_morning, delete_unused, set_fields, with_default_reminder
from heartbeat_project.kernel.errors import FieldError


@dataclass(frozen=True, slots=True)
class TierRule:
    """The users and groups who are notified a number of minutes after the alert opened."""

    offset_minutes: Decimal
    users: Sequence[User] = ()
    groups: Sequence[Group] = ()


# Minutes, users, groups: what a tier is compared by.
_TierIds = tuple[Decimal, set[int], set[int]]


def create_play(
    organization: Organization, *, name: str, tiers: Sequence[TierRule], **fields: Unpack[RuleFields]
) -> ResponsePlay:
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
    name: str | None = None,
    tiers: Sequence[TierRule] | None = None,
    stop_running: bool = False,
    **fields: Unpack[RuleFields],
) -> ResponsePlay:
    """Change some fields, or the tiers as a whole.

    Runs that have begun follow the play as it was, and their timelines say so. `stop_running` ends them if the play is
    disabled.

    Raises FieldError at the field that is wrong; then nothing is saved.
    """
    with transaction.atomic():
        play = ResponsePlay.objects.select_for_update().get(pk=play.pk)
        was_enabled = play.enabled
        set_fields(play, name, fields)
        play.version += 1
        _check(play, tiers)
        _save(play)
        if tiers is not None and _ids_of(tiers) != _stored_ids(play):
            play.tiers.all().delete()
            _write_tiers(play, tiers)
        change = "disabled" if was_enabled and not play.enabled else "changed"
        follow_change(play, change, stop_running=stop_running, actor=actor, now=now)
    return play


def delete_play(play: ResponsePlay, *, actor: User | None, now: datetime) -> None:
    """Delete a play that no integration uses; runs that follow it go on, and their timelines say so.

    Raises InUse, which names the integrations.
    """
    delete_unused(play, actor=actor, now=now)


def _check(play: ResponsePlay, tiers: Sequence[TierRule] | None) -> None:
    play.name = clean_name(play.name)
    check_morning(play)
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
            raise FieldError(f"tiers/{index}/users", "Name people or groups to be notified.", code="required")
        for field, rows in (("users", tier.users), ("groups", tier.groups)):
            if any(row.organization_id != play.organization_id for row in rows):
                raise FieldError(f"tiers/{index}/{field}", "There is no such object.", code="does_not_exist")


def _save(play: ResponsePlay) -> None:
    message = f"There is already a response play named “{play.name}”."
    with unique("play_name_unique", field="name", message=message):
        play.save()


def _ids_of(tiers: Sequence[TierRule]) -> list[_TierIds]:
    rows = [
        (Decimal(str(tier.offset_minutes)), {user.pk for user in tier.users}, {group.pk for group in tier.groups})
        for tier in tiers
    ]
    return sorted(rows, key=itemgetter(0))


def _stored_ids(play: ResponsePlay) -> list[_TierIds]:
    tiers = PlayTier.objects.filter(play=play).prefetch_related("users", "groups")
    return [
        (tier.offset_minutes, {user.pk for user in tier.users.all()}, {group.pk for group in tier.groups.all()})
        for tier in tiers
    ]


def _write_tiers(play: ResponsePlay, tiers: Sequence[TierRule]) -> None:
    rows = PlayTier.objects.bulk_create(PlayTier(play=play, offset_minutes=tier.offset_minutes) for tier in tiers)

    tier_user, tier_group = PlayTier.users.through, PlayTier.groups.through
    users, groups = [], []
    for row, tier in zip(rows, tiers, strict=True):
        # The same person or group may be named twice.
        users += [tier_user(playtier_id=row.pk, user_id=user.pk) for user in dict.fromkeys(tier.users)]
        groups += [tier_group(playtier_id=row.pk, group_id=group.pk) for group in dict.fromkeys(tier.groups)]
    tier_user.objects.bulk_create(users)
    tier_group.objects.bulk_create(groups)
