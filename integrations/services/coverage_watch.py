"""Mails about coverage gaps: before the night they matter, and no more than one a day and one ahead of a gap."""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from django.conf import settings
from django.db import transaction
from django.db.models import Exists, OuterRef

from accounts.models import Organization, User
from escalation.on_call import AHEAD
from escalation.services.notices import Letter, write_letters
from escalation.services.people import managers_of, stewards
from escalation.wording import moment, one_line, zone
from integrations.coverage import Coverage, CoverageGap, GroupGap, coverage_of
from integrations.models import CoverageWatch, InboundIntegration
from integrations.selectors import may_foresee

LOOK_EVERY: Final = timedelta(minutes=5)
# A look that takes long is repeated that much more seldom: looking takes at most a sixtieth of the time.
PAUSE_FACTOR: Final = 60
MAIL_AFTER: Final = timedelta(minutes=10)  # An edit in several steps leaves gaps between them.
MAIL_EVERY: Final = timedelta(days=1)
WARN_AHEAD: Final = timedelta(days=1)
MAX_NAMED: Final = 20


@dataclass(frozen=True, slots=True)
class _Reading:
    """What one reader is written about: integrations with their gaps, the soonest first, and rotas that end."""

    gaps: Sequence[tuple[InboundIntegration, CoverageGap]]
    groups: Sequence[GroupGap]


def watch_coverage(*, now: datetime, limit: int = 50) -> int:
    """Look for the gaps of the organizations that are due, and write the mails that are; return how many mails.

    A look is claimed by moving its due time. What was mailed is decided under the row's lock, so that workers who look
    at the same time write one mail.
    """
    _add_watches(now=now)
    written = 0
    for _ in range(limit):
        with transaction.atomic():
            due = CoverageWatch.objects.select_for_update(skip_locked=True, no_key=True, of=("self",))
            watch = due.filter(due_at__lte=now).select_related("organization").order_by("due_at").first()
            if watch is None:
                break
            watch.due_at = now + LOOK_EVERY
            watch.save(update_fields=["due_at"])
        began = time.monotonic()
        coverage = coverage_of(watch.organization, at=now)
        pause = PAUSE_FACTOR * timedelta(seconds=time.monotonic() - began)
        with transaction.atomic():
            watch = CoverageWatch.objects.select_for_update(no_key=True).get(pk=watch.pk)
            watch.due_at = max(watch.due_at, now + pause)
            if _is_mail_due(watch, coverage, now=now):
                written += write_letters(_letters(watch.organization, coverage, now=now), now=now)
            watch.save(update_fields=["due_at", "gaps_since", "mailed_at", "foreseen"])
    return written


def _add_watches(*, now: datetime) -> None:
    enabled = InboundIntegration.objects.filter(organization=OuterRef("pk"), enabled=True)
    watched = CoverageWatch.objects.filter(organization=OuterRef("pk"))
    fresh = Organization.objects.filter(Exists(enabled), ~Exists(watched))
    CoverageWatch.objects.bulk_create(
        [CoverageWatch(organization=organization, due_at=now) for organization in fresh], ignore_conflicts=True
    )


def _rotas_that_end(coverage: Coverage) -> list[GroupGap]:
    """Return the rows about groups that are worth a mail.

    In a hole that leaves somebody to be notified nothing is lost; where nobody is, the heartbeats say so. A calendar
    that cannot be read has a mail of its own. Whoever lets a rota rest that ended two weeks ago knows of it.
    """
    return [gap for gap in coverage.groups if gap.code == "rota_ended" and gap.starts_at > coverage.at - AHEAD]


def _is_mail_due(watch: CoverageWatch, coverage: Coverage, *, now: datetime) -> bool:
    """Take down what was seen, and answer whether a mail is due; if so, the row says that it was written."""
    if not coverage.gaps and not _rotas_that_end(coverage):
        watch.gaps_since, watch.foreseen = None, {}
        return False
    watch.gaps_since = watch.gaps_since or now
    coming = {gap.starts_at for gap in coverage.gaps.values() if now < gap.starts_at <= now + WARN_AHEAD + MAIL_AFTER}
    watch.foreseen = {at.isoformat(): watch.foreseen.get(at.isoformat(), now.isoformat()) for at in sorted(coming)}
    daily = now - watch.gaps_since >= MAIL_AFTER and (watch.mailed_at is None or now - watch.mailed_at >= MAIL_EVERY)
    ahead = any(
        seen is not None
        and datetime.fromisoformat(at) <= now + WARN_AHEAD
        and now - datetime.fromisoformat(seen) >= MAIL_AFTER
        for at, seen in watch.foreseen.items()
    )
    if not daily and not ahead:
        return False
    watch.mailed_at = now
    for at in watch.foreseen:
        if datetime.fromisoformat(at) <= now + WARN_AHEAD:
            watch.foreseen[at] = None
    return True


def _letters(organization: Organization, coverage: Coverage, *, now: datetime) -> Iterable[Letter]:
    """Return a mail to each Owner and App Admin about all of it, and to each Manager about their own groups."""
    integrations = InboundIntegration.objects.in_bulk(coverage.gaps)
    gaps = [(integrations[pk], gap) for pk, gap in coverage.gaps.items() if pk in integrations]
    gaps.sort(key=lambda row: (row[1].starts_at, row[0].name, row[0].pk))
    ends = _rotas_that_end(coverage)
    everything = _Reading(gaps, ends)
    readers = dict.fromkeys(stewards([organization.pk])[organization.pk], everything)
    concerned = {group_id for _, gap in gaps for group_id in gap.group_ids} | {gap.group.pk for gap in ends}
    for user, own in _groups_of_managers(concerned).items():
        if user not in readers:
            mine = [(integration, gap) for integration, gap in gaps if own & gap.group_ids]
            readers[user] = _Reading(mine, [gap for gap in ends if gap.group.pk in own])
    return [_letter(user, reading, now=now) for user, reading in readers.items()]


def _groups_of_managers(group_ids: Iterable[int]) -> Mapping[User, set[int]]:
    found: dict[User, set[int]] = {}
    for group_id, managers in managers_of(group_ids).items():
        for user in managers:
            found.setdefault(user, set()).add(group_id)
    return found


def _letter(user: User, reading: _Reading, *, now: datetime) -> Letter:
    parts = []
    if reading.gaps:
        parts.append(
            "If one of these heartbeats fell silent at that time, nobody would be notified:\n"
            + _listed(
                f"{integration}, {_when(gap, user=user, now=now)}. {gap.reason}" for integration, gap in reading.gaps
            )
        )
    if reading.groups:
        parts.append(
            "These rotas end:\n"
            + _listed(f"{gap.group}, {_when(gap, user=user, now=now)}. {gap.reason}" for gap in reading.groups)
        )
    parts.append("Put somebody on call who can be reached, or give the heartbeats other recipients.")
    if may_foresee(user):
        parts.append(f"All gaps: {settings.BASE_URL}/heartbeats/readiness/")
    return Letter(user, _subject(reading, user=user, now=now), "\n\n".join(parts))


def _listed(lines: Iterable[str]) -> str:
    lines = list(lines)
    more = [f"- and {len(lines) - MAX_NAMED} more"] if len(lines) > MAX_NAMED else []
    return "\n".join([*(f"- {one_line(line)}" for line in lines[:MAX_NAMED]), *more])


def _subject(reading: _Reading, *, user: User, now: datetime) -> str:
    if not reading.gaps:
        count = len(reading.groups)
        return f"The rota of {reading.groups[0].group} ends" if count == 1 else f"{count} rotas end"
    count = len(reading.gaps)
    first = reading.gaps[0][1]
    heartbeats = "1 heartbeat" if count == 1 else f"{count} heartbeats"
    since = "now" if first.starts_at <= now else f"from {moment(first.starts_at, zone=zone(user.time_zone))}"
    return f"{heartbeats} would reach nobody {since}"


def _when(gap: CoverageGap | GroupGap, *, user: User, now: datetime) -> str:
    here = zone(user.time_zone)
    since = "now" if gap.starts_at <= now else f"from {moment(gap.starts_at, zone=here)}"
    return f"{since} until {moment(gap.ends_at, zone=here)}" if gap.ends_at else since
