"""Which integrations a change would leave without anybody to notify, now or in the 14 days after."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from django.db.models import Q

from accounts.models.contact_methods import ContactMethod
from accounts.models.groups import Group, GroupMember, GroupNesting
from accounts.models.users import Role, User
from escalation.models.on_call import OutOfOffice, Shift
from escalation.models.policies import EscalationPolicy, PlayTier, ResponsePlay
from escalation.oncall.rota.covers import covered_by
from escalation.oncall.rotas import pure_absence
from escalation.oncall.selectors import AHEAD
from heartbeat_project.kernel.consequences import Consequence
from heartbeat_project.kernel.wording import moment, zone
from integrations.coverage.gaps import Coverage, CoverageGap, gaps_among
from integrations.coverage.rule_routes import named_by_rules
from integrations.heartbeats.selectors import integrations_of
from integrations.models.integrations import InboundIntegration

# Bounds of the work for one change. The change is tried in a transaction, so its locks are held meanwhile, and the
# engine may wait for them. The answer says when a bound was met.
MAX_INTEGRATIONS: Final = 5_000
MAX_STEPS: Final = 4_000  # first steps that are computed, before the change and after it
MAX_NAMED: Final = 5  # integrations in one sentence


def before_change(things: Sequence[object], *, actor: User, now: datetime) -> Callable[[], list[Consequence]]:
    """Return a function that, called after the change, returns the coverage gaps that the change opened.

    `things` are the rows that are about to change, in the organization of `actor`.
    """
    affected_ids = _affected_integrations(things, organization_id=actor.organization_id, now=now)
    if not affected_ids:
        return list
    ids, is_complete = affected_ids[:MAX_INTEGRATIONS], len(affected_ids) <= MAX_INTEGRATIONS

    def compute_coverage() -> Coverage:
        return gaps_among(ids, organization_id=actor.organization_id, at=now, max_steps=MAX_STEPS)

    before = compute_coverage()

    def after_change() -> list[Consequence]:
        return _new_gaps(before, compute_coverage(), actor=actor, is_complete=is_complete)

    return after_change


def _new_gaps(before: Coverage, after: Coverage, *, actor: User, is_complete: bool) -> list[Consequence]:
    """Return sentences about the gaps that are in `after` and not in `before`."""
    time_zone = zone(actor.time_zone)
    present: list[tuple[datetime, int]] = []
    later: list[tuple[datetime, int]] = []
    for pk, gaps in after.every.items():
        starts_at = _first_new_start(before.every.get(pk, ()), gaps)
        if starts_at is None:
            continue
        if starts_at > after.at:
            later.append((starts_at, pk))
        else:
            present.append((starts_at, pk))
    sentences = []
    noun = _noun([pk for _, pk in (*present, *later)])
    if present:
        text = f"{_count(present, noun)} would reach nobody from now on: {_names(present, actor=actor)}."
        sentences.append(Consequence("reaches_nobody_now", text))
    if later:
        since = moment(min(later)[0], zone=time_zone)
        first = f"from {since}" if len(later) == 1 else f"in the days to come, the first from {since}"
        text = f"{_count(later, noun)} would reach nobody {first}: {_names(later, actor=actor)}."
        sentences.append(Consequence("reaches_nobody_later", text))
    if sentences and not is_complete:
        text = f"Only {MAX_INTEGRATIONS:,} of the {noun}s that this affects were checked."
        sentences.append(Consequence("not_all_looked_at", text))
    if sentences and after.looked_until < after.at + AHEAD:
        text = f"The time after {moment(after.looked_until, zone=time_zone)} was not checked."
        sentences.append(Consequence("not_all_looked_at", text))
    return sentences


def _first_new_start(before: Sequence[CoverageGap], after: Sequence[CoverageGap]) -> datetime | None:
    """Return the first instant that lies in a gap of `after` and in none of `before`; None if there is none."""
    for gap in after:
        same_rule = (earlier_gap for earlier_gap in before if earlier_gap.rule == gap.rule)
        old = next((earlier_gap for earlier_gap in same_rule if _covers(earlier_gap, gap.starts_at)), None)
        if old is None:
            return gap.starts_at
        if old.ends_at is not None and (gap.ends_at is None or gap.ends_at > old.ends_at):
            return old.ends_at
    return None


def _covers(gap: CoverageGap, at: datetime) -> bool:
    return gap.starts_at <= at and (gap.ends_at is None or at < gap.ends_at)


def _noun(ids: Sequence[int]) -> str:
    """Return "heartbeat" if all of these integrations are heartbeats."""
    others = InboundIntegration.objects.filter(pk__in=ids).exclude(type=InboundIntegration.Type.HEARTBEAT)
    return "integration" if ids and others.exists() else "heartbeat"


def _count(entries: Sequence[object], noun: str) -> str:
    return f"1 {noun}" if len(entries) == 1 else f"{len(entries)} {noun}s"


def _names(entries: Sequence[tuple[datetime, int]], *, actor: User) -> str:
    """Return the first names of those that the actor may see, and how many more there are."""
    ids = [pk for _, pk in sorted(entries)]
    visible = integrations_of(actor).filter(pk__in=ids[: 10 * MAX_NAMED]).in_bulk()
    names = [f"“{visible[pk]}”" for pk in ids if pk in visible][:MAX_NAMED]
    more = len(ids) - len(names)
    if not names:
        return "you may not see which"
    return ", ".join(names) + (f" and {more} more" if more else "")


@dataclass(slots=True)
class _Affected:
    """Ids of the rows that a change affects."""

    users: set[int] = field(default_factory=set)
    groups: set[int] = field(default_factory=set)
    policies: set[int] = field(default_factory=set)
    plays: set[int] = field(default_factory=set)
    integrations: set[int] = field(default_factory=set)

    def add(self, thing: object) -> None:
        """Add what a change of this row affects; rows of other models affect nobody's pages."""
        match thing:
            case User():
                self.users.add(thing.pk)
            case ContactMethod():
                self.users |= {thing.user_id} - {None}  # type: ignore[arg-type] # a group's own method reaches nobody
            case Role():
                self.users.update(thing.users.values_list("pk", flat=True))
            case Group():
                self.groups.add(thing.pk)
            case Shift():
                self.groups.add(thing.group_id)
            case OutOfOffice():
                self.users |= {thing.user_id, thing.cover_id}
            case EscalationPolicy():
                self.policies.add(thing.pk)
            case ResponsePlay():
                self.plays.add(thing.pk)
            case InboundIntegration():
                self.integrations.add(thing.pk)


def _affected_integrations(things: Iterable[object], *, organization_id: int, now: datetime) -> list[int]:
    """Return the enabled integrations whose alerts may go to other people once these rows have changed.

    The ids are in order, and at most one more than MAX_INTEGRATIONS.
    """
    affected = _Affected()
    for thing in things:
        affected.add(thing)
    # From people to those whom they cover, to the groups of all of them, to the groups around those, to plays.
    if affected.users:
        absences = OutOfOffice.objects.filter(user__organization_id=organization_id, ends_at__gt=now)
        affected.users = covered_by(affected.users, [pure_absence(row) for row in absences])
        memberships = GroupMember.objects.filter(user_id__in=affected.users)
        affected.groups.update(memberships.values_list("group_id", flat=True))
    if affected.groups:
        affected.groups = _with_parent_groups(affected.groups, organization_id=organization_id)
    if affected.users or affected.groups:
        tiers = PlayTier.objects.filter(
            Q(users__in=affected.users) | Q(groups__in=affected.groups), play__organization_id=organization_id
        )
        affected.plays.update(tiers.values_list("play_id", flat=True))
    to_users = InboundIntegration.recipient_users.through.objects.filter(user_id__in=affected.users)
    to_groups = InboundIntegration.recipient_groups.through.objects.filter(group_id__in=affected.groups)
    everything = InboundIntegration.objects.filter(organization_id=organization_id)
    by_rules = named_by_rules(
        organization_id=organization_id,
        policies=affected.policies,
        plays=affected.plays,
        groups=affected.groups,
        users=affected.users,
    )
    # A union, not conditions with OR: each part has its index, while OR reads all integrations.
    ids = to_users.values("inboundintegration_id").union(
        to_groups.values("inboundintegration_id"),
        everything.filter(pk__in=affected.integrations.union(by_rules)).values("pk"),
        everything.filter(escalation_policy_id__in=affected.policies).values("pk"),
        everything.filter(response_play_id__in=affected.plays).values("pk"),
    )
    integrations = everything.filter(pk__in=ids, enabled=True)
    return list(integrations.order_by("pk").values_list("pk", flat=True)[: MAX_INTEGRATIONS + 1])


def _with_parent_groups(group_ids: set[int], *, organization_id: int) -> set[int]:
    """Return these groups and all in which they are nested, however deep."""
    parents: dict[int, list[int]] = defaultdict(list)
    nestings = GroupNesting.objects.filter(group__organization_id=organization_id)
    for group_id, child_id in nestings.values_list("group_id", "child_id"):
        parents[child_id].append(group_id)
    all_ids, pending = set(group_ids), list(group_ids)
    while pending:
        fresh = set(parents[pending.pop()]) - all_ids
        all_ids |= fresh
        pending += fresh
    return all_ids
