"""Looks for coverage gaps, and mails about them: once a day while there are any, and ahead of each that is near."""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from django.conf import settings
from django.db import transaction
from django.db.models import Exists, OuterRef

from accounts.models.organizations import Organization
from accounts.models.users import User
from accounts.selectors import fallback_recipients, managers_of
from accounts.services.restores import unless_held
from escalation.engine.notices import Letter, write_letters
from escalation.oncall.selectors import AHEAD
from heartbeat_project.kernel.wording import moment, one_line, zone
from integrations.coverage.gaps import Coverage, CoverageGap, GroupGap, coverage_of
from integrations.coverage.reports import store_coverage
from integrations.heartbeats.selectors import may_preview
from integrations.models.integrations import InboundIntegration
from integrations.models.mails import CoverageWatch

LOOK_EVERY: Final = timedelta(minutes=5)
# A check that took one second is repeated after 60 s at the earliest: checks take at most a sixtieth of the time.
PAUSE_FACTOR: Final = 60
# A gap is mailed once it has lasted this long: an edit in several steps opens gaps for a moment.
MAIL_AFTER: Final = timedelta(minutes=10)
MAIL_EVERY: Final = timedelta(days=1)
WARN_AHEAD: Final = timedelta(days=1)
MAX_NAMED: Final = 20  # integrations, or rotas, in one mail


@dataclass(frozen=True, slots=True)
class _Reading:
    """What a mail to one reader lists: integrations with their gaps, the soonest first, and rotas that end."""

    gaps: Sequence[tuple[InboundIntegration, CoverageGap]]
    groups: Sequence[GroupGap]

    @property
    def noun(self) -> str:
        """What the mail calls the integrations."""
        return "heartbeat" if all(integration.is_heartbeat for integration, _ in self.gaps) else "integration"


@unless_held(0)
def watch_coverage(*, now: datetime, limit: int = 50) -> int:
    """Check up to `limit` organizations that are due for gaps, and write the mails about them; return how many mails.

    What was found is stored for the pages of large organizations.
    A worker claims an organization by moving its due time, and checks it without a lock, since that takes seconds.
    Whether to mail is decided under the row's lock, so that two workers with the same gaps write one mail.
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
        store_coverage(watch.organization, coverage)
        with transaction.atomic():
            watch = CoverageWatch.objects.select_for_update(no_key=True).get(pk=watch.pk)
            watch.due_at = max(watch.due_at, now + pause)
            if _is_mail_due(watch, coverage, now=now):
                written += write_letters(_letters(watch.organization, coverage, now=now), now=now)
            watch.uncovered = sum(gap.starts_at <= coverage.at for gap in coverage.gaps.values())
            watch.save(update_fields=["due_at", "gaps_since", "mailed_at", "gaps_ahead", "uncovered"])
    return written


def uncovered_count(organization_id: int) -> int:
    """Return how many integrations of the organization reached nobody when gaps were last looked for."""
    watches = CoverageWatch.objects.filter(organization_id=organization_id)
    return watches.values_list("uncovered", flat=True).first() or 0


def _add_watches(*, now: datetime) -> None:
    """Add a row, due now, for each organization that has an enabled integration and no row yet."""
    enabled = InboundIntegration.objects.filter(organization=OuterRef("pk"), enabled=True)
    watched = CoverageWatch.objects.filter(organization=OuterRef("pk"))
    fresh = Organization.objects.filter(Exists(enabled), ~Exists(watched))
    CoverageWatch.objects.bulk_create(
        [CoverageWatch(organization=organization, due_at=now) for organization in fresh], ignore_conflicts=True
    )


def _rotas_that_end(coverage: Coverage) -> list[GroupGap]:
    """Return the gaps of groups that are worth a mail: rotas that end, or ended in the last 14 days.

    A hole needs none: if it leaves nobody to notify, the integrations are listed. A calendar that cannot be read has a
    mail of its own. Of a rota that ended longer ago, everybody concerned has been notified.
    """
    return [gap for gap in coverage.groups if gap.code == "rota_ended" and gap.starts_at > coverage.at - AHEAD]


def _is_mail_due(watch: CoverageWatch, coverage: Coverage, *, now: datetime) -> bool:
    """Note the gaps in the row and return whether a mail is due; if it is, note that it was written.

    `gaps_ahead` maps the beginning of each gap of the next day to when it was first seen, or to None once a mail named
    it. The caller saves the row.
    """
    if not coverage.gaps and not _rotas_that_end(coverage):
        watch.gaps_since, watch.gaps_ahead = None, {}
        return False
    watch.gaps_since = watch.gaps_since or now
    coming = {gap.starts_at for gap in coverage.gaps.values() if now < gap.starts_at <= now + WARN_AHEAD + MAIL_AFTER}
    watch.gaps_ahead = {at.isoformat(): watch.gaps_ahead.get(at.isoformat(), now.isoformat()) for at in sorted(coming)}
    daily = now - watch.gaps_since >= MAIL_AFTER and (watch.mailed_at is None or now - watch.mailed_at >= MAIL_EVERY)
    ahead = any(
        seen is not None
        and datetime.fromisoformat(at) <= now + WARN_AHEAD
        and now - datetime.fromisoformat(seen) >= MAIL_AFTER
        for at, seen in watch.gaps_ahead.items()
    )
    if not daily and not ahead:
        return False
    watch.mailed_at = now
    for at in watch.gaps_ahead:
        if datetime.fromisoformat(at) <= now + WARN_AHEAD:
            watch.gaps_ahead[at] = None
    return True


def _letters(organization: Organization, coverage: Coverage, *, now: datetime) -> Iterable[Letter]:
    """Return a mail to each Owner and App Admin about all gaps, and to each Manager about those of their groups."""
    integrations = InboundIntegration.objects.in_bulk(coverage.gaps)
    gaps = [(integrations[pk], gap) for pk, gap in coverage.gaps.items() if pk in integrations]
    gaps.sort(key=lambda row: (row[1].starts_at, row[0].name, row[0].pk))
    ends = _rotas_that_end(coverage)
    everything = _Reading(gaps, ends)
    readers = dict.fromkeys(fallback_recipients([organization.pk])[organization.pk], everything)
    group_ids = {gap.group.pk for gap in ends}.union(*(gap.group_ids for _, gap in gaps))
    for user, own_groups in _groups_of_managers(group_ids).items():
        if user not in readers:
            own_gaps = [(integration, gap) for integration, gap in gaps if own_groups & gap.group_ids]
            readers[user] = _Reading(own_gaps, [gap for gap in ends if gap.group.pk in own_groups])
    return [_letter(user, reading, now=now) for user, reading in readers.items()]


def _groups_of_managers(group_ids: Iterable[int]) -> Mapping[User, set[int]]:
    groups_by_manager: dict[User, set[int]] = {}
    for group_id, managers in managers_of(group_ids).items():
        for user in managers:
            groups_by_manager.setdefault(user, set()).add(group_id)
    return groups_by_manager


def _letter(user: User, reading: _Reading, *, now: datetime) -> Letter:
    parts = []
    if reading.gaps:
        alerts = "fell silent" if reading.noun == "heartbeat" else "opened an alert"
        parts.append(
            f"If one of these {reading.noun}s {alerts} at that time, nobody would be notified of it:\n"
            + _listed(
                f"{integration}, {_when(gap, user=user, now=now)}. {gap.reason}" for integration, gap in reading.gaps
            )
        )
    if reading.groups:
        parts.append(
            "These rotas end:\n"
            + _listed(f"{gap.group}, {_when(gap, user=user, now=now)}. {gap.reason}" for gap in reading.groups)
        )
    parts.append(f"Put somebody on call who can be reached, or give the {reading.noun}s other recipients.")
    if may_preview(user):
        parts.append(f"All gaps: {settings.BASE_URL}/heartbeats/coverage-gaps/")
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
    integrations = f"1 {reading.noun}" if count == 1 else f"{count} {reading.noun}s"
    since = "now" if first.starts_at <= now else f"from {moment(first.starts_at, zone=zone(user.time_zone))}"
    return f"{integrations} would reach nobody {since}"


def _when(gap: CoverageGap | GroupGap, *, user: User, now: datetime) -> str:
    time_zone = zone(user.time_zone)
    since = "now" if gap.starts_at <= now else f"from {moment(gap.starts_at, zone=time_zone)}"
    return f"{since} until {moment(gap.ends_at, zone=time_zone)}" if gap.ends_at else since
