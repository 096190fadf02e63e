"""Why somebody would not be notified at once of an alert that is assigned to them."""

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime
from itertools import chain

from accounts.models.users import User
from accounts.selectors import opted_out
from escalation.engine import walk
from escalation.engine.plan import Plan, Stage, Target, Track
from escalation.engine.recipients import RecipientDirectory
from escalation.engine.review_times import TAKE_WITHIN
from escalation.oncall.rotas import absences_at
from heartbeat_project.kernel.wording import moment, zone


def why_not_reached(
    users: Iterable[User], *, integration_id: int | None, priority: str, now: datetime
) -> dict[int, list[str]]:
    """Return, by user id, why an alert of this priority would not reach the user at once, as sentences.

    Users who would be notified at once are left out. Users who cannot take alerts at all are refused elsewhere. The
    number of queries does not depend on the number of users.
    """
    users_by_id = {user.pk: user for user in users}
    stage = Stage("", tuple(Target("user", pk) for pk in users_by_id))
    plan = Plan((Track((stage,)),), priority=priority)
    directory = RecipientDirectory.of([plan], now=now).for_plan(plan)
    unwilling = opted_out([integration_id]).get(integration_id, frozenset())
    reasons: defaultdict[int, list[str]] = defaultdict(list)
    for pk, user in users_by_id.items():
        page = walk.Page(pk, "")
        times = list(chain.from_iterable(directory.times(page, method) for method in directory.methods(page)))
        if not times:
            reasons[pk].append(f"{user} has no verified contact method that is in use now.")
        elif min(times) >= now + TAKE_WITHIN:
            reasons[pk].append(f"{user} is first notified at {moment(min(times), zone=zone(user.time_zone))}.")
        if pk in unwilling:
            reasons[pk].append(f"{user} does not want to be notified about this.")
    for entry in absences_at(users_by_id, at=now):
        if entry.absence.user in users_by_id and entry.absence.group is None:
            until = moment(entry.absence.ends_at, zone=zone(entry.time_zone))
            reasons[entry.absence.user].append(f"{entry.user_name} is out of office until {until}.")
    return dict(reasons)
