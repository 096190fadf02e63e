"""Why somebody would not learn at once of an alert that is assigned to them."""

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime, timedelta

from accounts.models import User
from accounts.selectors import opted_out
from escalation import walk
from escalation.reviews import TAKE_WITHIN
from escalation.rosters import absences
from escalation.services.people import Directory
from escalation.wording import moment, zone


def why_not_reached(users: Iterable[User], *, integration_id: int | None, now: datetime) -> dict[int, list[str]]:
    """Return for each user the reasons, as sentences; those who would be notified at once are left out.

    The number of queries does not depend on how many there are. Who cannot take alerts at all is refused elsewhere.
    """
    people = {user.pk: user for user in users}
    plan = walk.Plan((walk.Track((walk.Stage("", tuple(walk.Target("user", pk) for pk in people)),)),))
    directory = Directory.of([plan], now=now)
    unwilling = opted_out([integration_id]).get(integration_id, frozenset())
    found: defaultdict[int, list[str]] = defaultdict(list)
    for pk, user in people.items():
        tell = walk.Tell(pk, "")
        times = [at for method in directory.methods(tell) for at in directory.times(tell, method)]
        if not times:
            found[pk].append(f"{user} has no verified contact method that is in use now.")
        elif min(times) >= now + TAKE_WITHIN:
            found[pk].append(f"{user} is first notified at {moment(min(times), zone=zone(user.time_zone))}.")
        if pk in unwilling:
            found[pk].append(f"{user} does not want to be notified about this.")
    for entry in absences(people, starts_at=now, ends_at=now + timedelta(microseconds=1)):
        if entry.absence.user in people and entry.absence.group is None:
            until = moment(entry.absence.ends_at, zone=zone(entry.time_zone))
            found[entry.absence.user].append(f"{entry.user_name} is out of office until {until}.")
    return dict(found)
