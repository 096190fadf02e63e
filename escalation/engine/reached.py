"""Who counts as reached: people who may answer, are still there, and whose page arrived or may still arrive in time."""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from itertools import chain
from typing import Final

from django.db.models import Exists, F, Max, OuterRef, Q, TextField
from django.db.models.functions import Cast

from accounts.models.groups import GroupMember
from accounts.selectors import nested_groups
from alerting.models.alerts import TimelineEntry
from alerting.selectors import people_who_may_answer
from escalation.engine.plan import Plan
from escalation.models.notifications import Notification
from escalation.models.on_call import OutOfOffice
from escalation.models.runs import EscalationRun

_Status = Notification.Status
_ARRIVED: Final = (_Status.ACCEPTED, _Status.DELIVERED)
_ON_THEIR_WAY: Final = (_Status.PENDING, _Status.SENDING)


def last_steps_reached(run_ids: Iterable[int]) -> dict[int, int]:
    """Return, by run, the newest step by which somebody is reached or may still be reached in time.

    Runs that reach nobody are left out. People who were notified do not count any more if they have left since
    (deactivated, out of the group, without the right to answer), or if the alert was opened again after that.
    """
    pages = Notification.objects.filter(
        Q(status__in=_ARRIVED) | Q(status__in=_ON_THEIR_WAY, in_time=True) | Q(answered(), status=_Status.SUPERSEDED),
        alert__run__in=list(run_ids),
        kind=Notification.Kind.PAGE,
        user__in=people_who_may_answer(),
        # People who were notified before the walk began anew were not the right ones.
        step__gt=F("run__begun_at_step"),
    )
    rows = list(pages.order_by().values_list("run", "user").annotate(newest=Max("step")))
    if not rows:
        return {}
    # Alerts of one storm share a plan: as text it is the key by which each plan is read once.
    runs = EscalationRun.objects.filter(pk__in={run_id for run_id, _, _ in rows})
    plan_texts = dict(runs.annotate(plan_text=Cast("plan", TextField())).values_list("pk", "plan_text"))
    people = people_behind({text: Plan.load(json.loads(text)) for text in set(plan_texts.values())})
    newest: dict[int, int] = {}
    for run_id, user_id, step in rows:
        if user_id in people[plan_texts[run_id]]:
            newest[run_id] = max(step, newest.get(run_id, 0))
    return newest


def answered() -> Exists:
    """Return the condition that a page's reader acknowledged the alert before the page was sent; it never is then."""
    return Exists(
        TimelineEntry.objects.filter(
            alert=OuterRef("alert"),
            kind=TimelineEntry.Kind.ACKNOWLEDGED,
            actor=OuterRef("user"),
            at__gte=OuterRef("created_at"),
        )
    )


def runs_that_reach_nobody(run_ids: Iterable[int]) -> set[int]:
    """Return those of the runs that reach nobody, and cannot reach anybody any more with what they have written."""
    ids = set(run_ids)
    return ids - last_steps_reached(ids).keys() if ids else set()


def people_behind(plans: Mapping[str, Plan]) -> dict[str, set[int]]:
    """Return, by the plans' keys, everybody to whom a plan's pages may have gone, in a few queries.

    These are people named in it, members of its groups and of the groups within them, and covers of all of these.
    """
    groups: dict[str, set[int]] = {}
    people: dict[str, set[int]] = {}
    for key, plan in plans.items():
        groups[key] = {target.id for target in plan.targets if target.kind == "group"}
        people[key] = {target.id for target in plan.targets if target.kind == "user"}
    within = nested_groups(chain.from_iterable(groups.values()))
    members: dict[int, set[int]] = defaultdict(set)
    rows = GroupMember.objects.filter(group_id__in=set(chain.from_iterable(within.values())))
    for group_id, user_id in rows.values_list("group_id", "user_id"):
        members[group_id].add(user_id)
    for key, group_ids in groups.items():
        for group_id in set(chain.from_iterable(within[group_id] for group_id in group_ids)):
            people[key] |= members[group_id]
    # A cover may be out of office, too: the entries of the whole organization lead to the covers of covers.
    covers: dict[int, set[int]] = defaultdict(set)
    own_entries = OutOfOffice.objects.filter(user__in=set(chain.from_iterable(people.values())))
    entries = OutOfOffice.objects.filter(user__organization__in=own_entries.values("user__organization"))
    for user_id, cover_id in entries.order_by().values_list("user_id", "cover_id").distinct():
        covers[user_id].add(cover_id)
    return {key: _with_covers(own_people, covers) for key, own_people in people.items()}


def _with_covers(people: set[int], covers: Mapping[int, set[int]]) -> set[int]:
    """Return these people, their covers, and the covers of those."""
    reached, pending = set(people), list(people)
    while pending:
        new_covers = covers.get(pending.pop(), set()) - reached
        reached |= new_covers
        pending += new_covers
    return reached
