"""Who counts as reached: by pages that arrived, or still may, of people who may answer them and are still there."""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from itertools import chain
from typing import Final

from django.db.models import Max, Q, TextField
from django.db.models.functions import Cast

from accounts.models import GroupMember
from accounts.selectors import nested_groups
from alerting.selectors import people_who_may_answer
from escalation import walk
from escalation.models import EscalationRun, Notification
from escalation.shift_models import OutOfOffice

_Status = Notification.Status
_ARRIVED: Final = (_Status.ACCEPTED, _Status.DELIVERED)
_ON_THEIR_WAY: Final = (_Status.PENDING, _Status.SENDING)


def last_steps_reached(run_ids: Iterable[int]) -> dict[int, int]:
    """Return for each run the newest step by which somebody is reached, or still may be in time.

    Runs that reach nobody are left out. Somebody who was notified and has left since (deactivated, out of the group,
    without the right to answer) does not count any more.
    """
    pages = Notification.objects.filter(
        Q(status__in=_ARRIVED) | Q(status__in=_ON_THEIR_WAY, in_time=True),
        alert__run__in=list(run_ids),
        kind=Notification.Kind.PAGE,
        user__in=people_who_may_answer(),
    )
    rows = list(pages.order_by().values_list("run", "user").annotate(newest=Max("step")))
    if not rows:
        return {}
    plans = EscalationRun.objects.filter(pk__in={run_id for run_id, _, _ in rows})
    text_of = dict(plans.annotate(plan_text=Cast("plan", TextField())).values_list("pk", "plan_text"))
    there = people_behind({text: walk.Plan.load(json.loads(text)) for text in set(text_of.values())})
    newest: dict[int, int] = {}
    for run_id, user_id, step in rows:
        if user_id in there[text_of[run_id]]:
            newest[run_id] = max(step, newest.get(run_id, 0))
    return newest


def runs_that_reach_nobody(run_ids: Iterable[int]) -> set[int]:
    """Return those of the runs by which nobody is reached, and nobody may be any more."""
    asked = set(run_ids)
    return asked - last_steps_reached(asked).keys() if asked else set()


def people_behind(plans: Mapping[str, walk.Plan]) -> dict[str, set[int]]:
    """Return for each plan, by its key, everybody to whom its pages may have gone, in a few queries.

    These are people named in it, members of its groups and of the groups within them, and covers of all of these.
    """
    groups: dict[str, set[int]] = {}
    people: dict[str, set[int]] = {}
    for key, plan in plans.items():
        targets = {target for track in plan.tracks for stage in track.stages for target in stage.targets}
        groups[key] = {target.id for target in targets if target.kind == "group"}
        people[key] = {target.id for target in targets if target.kind == "user"}
    within = nested_groups(chain.from_iterable(groups.values()))
    members: dict[int, set[int]] = defaultdict(set)
    rows = GroupMember.objects.filter(group_id__in=set(chain.from_iterable(within.values())))
    for group_id, user_id in rows.values_list("group_id", "user_id"):
        members[group_id].add(user_id)
    for key, group_ids in groups.items():
        for group_id in set(chain.from_iterable(within[group_id] for group_id in group_ids)):
            people[key] |= members[group_id]
    covers: dict[int, set[int]] = defaultdict(set)
    organizations = OutOfOffice.objects.filter(user__in=set(chain.from_iterable(people.values())))
    entries = OutOfOffice.objects.filter(user__organization__in=organizations.values("user__organization"))
    for user_id, cover_id in entries.order_by().values_list("user_id", "cover_id").distinct():
        covers[user_id].add(cover_id)
    return {key: _with_covers(found, covers) for key, found in people.items()}


def _with_covers(people: set[int], covers: Mapping[int, set[int]]) -> set[int]:
    """Return these people, their covers, and the covers of those."""
    found, pending = set(people), list(people)
    while pending:
        fresh = covers.get(pending.pop(), set()) - found
        found |= fresh
        pending += fresh
    return found
