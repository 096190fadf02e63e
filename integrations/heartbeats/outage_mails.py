"""Mails after an outage of ours, to the recipients of heartbeats whose job may have run or not."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import chain, groupby
from operator import itemgetter
from typing import Final

from django.conf import settings
from django.db import transaction
from django.db.models import Q, QuerySet

from accounts.models.users import User
from accounts.selectors import fallback_recipients
from escalation.engine.notices import Letter, write_letters
from escalation.models.policies import PlayTier
from escalation.oncall.rotas import group_rotas
from heartbeat_project.kernel.durations import in_words
from heartbeat_project.kernel.wording import moment, one_line, zone
from integrations.heartbeats.routes import routes_of
from integrations.heartbeats.timing import MAX_TOLERANCE
from integrations.models.heartbeats import Heartbeat
from integrations.models.integrations import InboundIntegration
from integrations.models.outages import Outage

LONG_MINUTES: Final = 60  # a shorter interval is over before the mail is read
MAX_HEARTBEATS: Final = 50_000  # of one outage; nobody reads that far
MAX_NAMED: Final = 50  # in one mail


def mail_recipients(*, now: datetime) -> int:
    """Write one e-mail to each recipient of heartbeats that got a new interval over an hour; return how many.

    Each outage is mailed once: its mails, and the mark that they are written, are one transaction.
    """
    written = 0
    while True:
        with transaction.atomic():
            due = Outage.objects.select_for_update(skip_locked=True).filter(mail_due=True).exclude(done_at=None)
            outage = due.order_by("id").first()
            if outage is None:
                return written
            written += write_letters(_letters(outage, now=now), now=now)
            outage.mail_due = False
            outage.save(update_fields=["mail_due"])


def unknown_since(outage: Outage) -> QuerySet[Heartbeat]:
    """Return the heartbeats that got a new interval over an hour by this outage and have not pinged since."""
    return Heartbeat.objects.filter(
        Q(last_ping_at=None) | Q(last_ping_at__lt=outage.ended_at),
        state__in=[Heartbeat.State.WAITING, Heartbeat.State.HEALTHY],
        # Not equal: a later outage may have moved it on.
        armed_at__gte=outage.ended_at,
        excused_until__range=(outage.started_at - MAX_TOLERANCE, outage.ended_at + MAX_TOLERANCE),
        interval_minutes__gt=LONG_MINUTES,
    )


def _letters(outage: Outage, *, now: datetime) -> Iterable[Letter]:
    unknown = unknown_since(outage).order_by("integration__organization_id", "deadline_at", "pk")
    rows = list(unknown.values_list("integration__organization_id", "pk")[:MAX_HEARTBEATS])
    for organization_id, pairs in groupby(rows, key=itemgetter(0)):
        ids = [pk for _, pk in pairs]
        ids_by_user = _heartbeats_by_recipient(ids, organization_id=organization_id, now=now)
        listed_ids = set(chain.from_iterable(own_ids[:MAX_NAMED] for own_ids in ids_by_user.values()))
        heartbeats = Heartbeat.objects.select_related("integration").in_bulk(listed_ids)
        for user in User.objects.filter(pk__in=ids_by_user, is_active=True).order_by("pk"):
            own_ids = ids_by_user[user.pk]
            listed = [heartbeats[pk] for pk in own_ids[:MAX_NAMED] if pk in heartbeats]
            if listed:
                yield _letter(user, listed, more=len(own_ids) - len(listed), outage=outage)


@dataclass(frozen=True, slots=True)
class _Recipients:
    """Ids of groups and users that are notified first."""

    groups: tuple[int, ...]
    users: tuple[int, ...]


def _heartbeats_by_recipient(ids: Sequence[int], *, organization_id: int, now: datetime) -> Mapping[int, list[int]]:
    """Return by user the heartbeats of which they are a recipient now, in the order of `ids`.

    Recipients are the users that the integration and the first tier of its play name, and the people on call in the
    groups of both. If there are none, Owners and App Admins are.
    """
    routes = routes_of(InboundIntegration.objects.filter(pk__in=ids), organization_id=organization_id)
    tiers = _first_tiers({route.play.pk for route, _ in routes if route.play})
    group_ids: set[int] = set()
    group_ids.update(*(route.group_ids for route, _ in routes), *(tier.groups for tier in tiers.values()))
    rotas = group_rotas(group_ids, starts_at=now)
    on_call = {pk: {path[-1] for path in rotas[pk].paths(now, None)} for pk in group_ids}
    fallback = {user.pk for user in fallback_recipients([organization_id])[organization_id]}
    position = {pk: number for number, pk in enumerate(ids)}
    ids_by_user: defaultdict[int, list[int]] = defaultdict(list)
    for route, shared_ids in routes:
        tier = _Recipients((), ())
        if route.play:
            tier = tiers.get(route.play.pk, tier)
        people = {*route.user_ids, *tier.users}.union(*(on_call[pk] for pk in (*route.group_ids, *tier.groups)))
        for user_id in (people or fallback) - route.opted_out:
            ids_by_user[user_id] += shared_ids
    for own_ids in ids_by_user.values():
        own_ids.sort(key=position.__getitem__)
    return ids_by_user


def _first_tiers(play_ids: Iterable[int]) -> dict[int, _Recipients]:
    """Return the recipients of each play's first tier, by the id of the play."""
    first = PlayTier.objects.filter(play_id__in=list(play_ids)).order_by("play_id", "offset_minutes", "id")
    return {
        tier.play_id: _Recipients(
            groups=tuple(group.pk for group in tier.groups.all()), users=tuple(user.pk for user in tier.users.all())
        )
        for tier in first.distinct("play_id").prefetch_related("groups", "users")
    }


def _letter(user: User, listed: Sequence[Heartbeat], *, more: int, outage: Outage) -> Letter:
    time_zone = zone(user.time_zone)
    count = len(listed) + more
    heartbeats_text = one_line(listed[0].integration.name) if count == 1 else f"{count} heartbeats"
    length = in_words(outage.ended_at - outage.started_at)
    start, end = moment(outage.started_at, zone=time_zone), moment(outage.ended_at, zone=time_zone)
    intro = (
        f"From {start} until {end} ({length}) Heartbeat "
        "could not receive pings. A ping was expected in that time, so nobody knows whether the job ran. You need not "
        "do anything, unless a job matters today: then look whether it ran. If the next ping does not come in time, an "
        "alert opens."
    )
    lines = [intro, ""]
    for heartbeat in listed:
        name, expected_at = one_line(heartbeat.integration.name), heartbeat.deadline_at or outage.ended_at
        expected = f"the next ping is expected by {moment(expected_at, zone=time_zone)}"
        lines.append(f"- {name}: not known since the outage; {expected}.")
        lines.append(f"  {settings.BASE_URL}/heartbeats/{heartbeat.pk}/")
    if more:
        lines.append(f"- and {more:,} more")
    return Letter(user, f"{heartbeats_text}: not known since the outage", "\n".join(lines))
