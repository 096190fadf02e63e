"""Which heartbeats a change leaves without anybody to notify, now or in the 14 days after."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from django.db.models import Q

from accounts.models import ContactMethod, Group, GroupMember, GroupNesting, Role, User
from escalation.models import EscalationPolicy, PlayTier, ResponsePlay
from escalation.on_call import AHEAD
from escalation.rosters import pure_absence
from escalation.rota.covers import leading_to
from escalation.shift_models import OutOfOffice, Shift
from escalation.wording import moment, zone
from heartbeat_project.kernel.consequences import Consequence
from integrations.coverage import Coverage, CoverageGap, gaps_among
from integrations.models import InboundIntegration
from integrations.selectors import integrations_of

# Bounds of what is looked at for one change; the answer says so where one was met. A page that foretells a change
# holds its locks for so long, and the engine may wait for them.
MAX_INTEGRATIONS: Final = 5_000
MAX_STEPS: Final = 4_000
MAX_NAMED: Final = 5


def before_change(things: Sequence[object], *, actor: User, now: datetime) -> Callable[[], list[Consequence]]:
    """Return a function to be called after the change; it returns what the change brought."""
    touched = _integrations_touched_by(things, organization_id=actor.organization_id, now=now)
    if not touched:
        return list
    ids, all_of_them = touched[:MAX_INTEGRATIONS], len(touched) <= MAX_INTEGRATIONS

    def look() -> Coverage:
        return gaps_among(ids, organization_id=actor.organization_id, at=now, max_steps=MAX_STEPS)

    before = look()

    def after() -> list[Consequence]:
        return _sentences(before, look(), actor=actor, all_of_them=all_of_them)

    return after


def _sentences(before: Coverage, after: Coverage, *, actor: User, all_of_them: bool) -> list[Consequence]:
    here = zone(actor.time_zone)
    present: list[tuple[datetime, int]] = []
    later: list[tuple[datetime, int]] = []
    for pk, gaps in after.every.items():
        begins = _first_new(before.every.get(pk, ()), gaps)
        if begins is not None:
            (later if begins > after.at else present).append((begins, pk))
    found = []
    if present:
        text = f"{_count(present)} would reach nobody from now on: {_names(present, actor=actor)}."
        found.append(Consequence("reaches_nobody_now", text))
    if later:
        since = moment(min(later)[0], zone=here)
        first = f"from {since}" if len(later) == 1 else f"in the days to come, the first from {since}"
        text = f"{_count(later)} would reach nobody {first}: {_names(later, actor=actor)}."
        found.append(Consequence("reaches_nobody_later", text))
    if found and not all_of_them:
        text = f"Only {MAX_INTEGRATIONS} of the heartbeats that this concerns were looked at."
        found.append(Consequence("not_all_looked_at", text))
    if found and after.looked_until < after.at + AHEAD:
        text = f"What comes after {moment(after.looked_until, zone=here)} was not looked at."
        found.append(Consequence("not_all_looked_at", text))
    return found


def _first_new(before: Sequence[CoverageGap], after: Sequence[CoverageGap]) -> datetime | None:
    """Return when the first gap begins that was not there before, or goes beyond one that was."""
    for gap in after:
        old = next((one for one in before if _covers(one, gap.starts_at)), None)
        if old is None:
            return gap.starts_at
        if old.ends_at is not None and (gap.ends_at is None or gap.ends_at > old.ends_at):
            return old.ends_at
    return None


def _covers(gap: CoverageGap, at: datetime) -> bool:
    return gap.starts_at <= at and (gap.ends_at is None or at < gap.ends_at)


def _count(found: Sequence[object]) -> str:
    return "1 heartbeat" if len(found) == 1 else f"{len(found)} heartbeats"


def _names(found: Sequence[tuple[datetime, int]], *, actor: User) -> str:
    """Return the first names of those that the actor may see."""
    ids = [pk for _, pk in sorted(found)]
    visible = integrations_of(actor).filter(pk__in=ids[: 10 * MAX_NAMED]).in_bulk()
    names = [f"“{visible[pk]}”" for pk in ids if pk in visible][:MAX_NAMED]
    more = len(ids) - len(names)
    if not names:
        return "you may not see which"
    return ", ".join(names) + (f" and {more} more" if more else "")


@dataclass(slots=True)
class _Touched:
    """Ids of what a change concerns."""

    users: set[int] = field(default_factory=set)
    groups: set[int] = field(default_factory=set)
    policies: set[int] = field(default_factory=set)
    plays: set[int] = field(default_factory=set)
    integrations: set[int] = field(default_factory=set)

    def add(self, thing: object) -> None:
        """Add what a change of this row concerns; whatever is not known here concerns nobody."""
        match thing:
            case User():
                self.users.add(thing.pk)
            case ContactMethod():
                self.users |= {thing.user_id} - {None}  # type: ignore[arg-type] # what a group shares reaches nobody
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


def _integrations_touched_by(things: Iterable[object], *, organization_id: int, now: datetime) -> list[int]:
    """Return the enabled integrations whose alerts may go to somebody else after these rows were changed."""
    touched = _Touched()
    for thing in things:
        touched.add(thing)
    if touched.users:
        absences = OutOfOffice.objects.filter(user__organization_id=organization_id, ends_at__gt=now)
        touched.users = leading_to(touched.users, [pure_absence(row) for row in absences])
        memberships = GroupMember.objects.filter(user_id__in=touched.users)
        touched.groups.update(memberships.values_list("group_id", flat=True))
    if touched.groups:
        touched.groups = _with_groups_around(touched.groups, organization_id=organization_id)
    if touched.users or touched.groups:
        tiers = PlayTier.objects.filter(
            Q(users__in=touched.users) | Q(groups__in=touched.groups), play__organization_id=organization_id
        )
        touched.plays.update(tiers.values_list("play_id", flat=True))
    to_users = InboundIntegration.recipient_users.through.objects.filter(user_id__in=touched.users)
    to_groups = InboundIntegration.recipient_groups.through.objects.filter(group_id__in=touched.groups)
    found = InboundIntegration.objects.filter(
        Q(pk__in=touched.integrations)
        | Q(escalation_policy_id__in=touched.policies)
        | Q(response_play_id__in=touched.plays)
        | Q(pk__in=to_users.values("inboundintegration_id"))
        | Q(pk__in=to_groups.values("inboundintegration_id")),
        organization_id=organization_id,
        enabled=True,
    )
    return list(found.order_by("pk").values_list("pk", flat=True)[: MAX_INTEGRATIONS + 1])


def _with_groups_around(group_ids: set[int], *, organization_id: int) -> set[int]:
    """Return these groups and all in which they are nested, however deep."""
    around: dict[int, list[int]] = defaultdict(list)
    nestings = GroupNesting.objects.filter(group__organization_id=organization_id)
    for group_id, child_id in nestings.values_list("group_id", "child_id"):
        around[child_id].append(group_id)
    found, pending = set(group_ids), list(group_ids)
    while pending:
        fresh = set(around[pending.pop()]) - found
        found |= fresh
        pending += fresh
    return found
