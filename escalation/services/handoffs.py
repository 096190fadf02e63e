"""Hand-offs: whoever comes on call is notified of the open alerts that nobody has taken, in one message."""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import chain
from typing import Any, Final
from uuid import uuid4

from django.db import connection, transaction

from accounts.models import User
from accounts.selectors import nested_groups
from alerting.models import TimelineEntry
from alerting.services import add_viewers, write_timeline
from escalation import walk
from escalation.models import EscalationRun, Notification
from escalation.on_call import Turn, turns
from escalation.services.people import Directory
from escalation.wording import at_weekday, zone
from heartbeat_project.kernel.doorbell import ring
from heartbeat_project.kernel.sql import array, records, statement

# So many pairs of an alert and a person are written at once; the others come a minute later.
MOST_PAIRS: Final = 20_000
# A duty that began longer ago is not said with its beginning.
LOOK_BACK: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class _Place:
    """Where some runs stand in one plan, and who is in charge of the stages that they have left."""

    organization_id: int
    plan: walk.Plan
    position: walk.Position
    runs: Sequence[int]


@dataclass(frozen=True, slots=True)
class _Reason:
    """Why somebody is notified: to themselves, and to whoever reads the timeline."""

    to_them: str
    about_them: str


def notify_newly_on_call(*, now: datetime) -> int:
    """Notify who stands in stages that walks have left, and was not there before; return how many alerts and people.

    Nothing is remembered between two calls: whoever is in charge of an open alert now and was never notified of it is.
    That is who came on call, who covers somebody from now on, joined the group, or can be reached again.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        # Two that work at once would both find that nobody was notified.
        cursor.execute("SELECT pg_try_advisory_xact_lock(hashtext('escalation.handoffs'))")
        if not cursor.fetchone()[0]:
            return 0
        places = _places()
        if not places:
            return 0
        directory = Directory.of({place.plan for place in places}, now=now)
        charges = [_in_charge(place, directory, now=now) for place in places]
        pairs = _never_notified(places, charges)
        if pairs:
            _notify(pairs, _ways(pairs, places, charges), directory, now=now)
        return len(pairs)


def _places() -> list[_Place]:
    """Return the places at which some stage was left already."""
    with connection.cursor() as cursor:
        cursor.execute(statement("escalation", "open_places"))
        rows = cursor.fetchall()
    plans = {text: walk.Plan.load(json.loads(text)) for text in {plan for _, plan, *_ in rows}}
    return [
        _Place(organization_id, plans[plan], _position(entered, in_turn, retries), runs)
        for organization_id, plan, entered, in_turn, retries, runs in rows
    ]


def _position(entered: str, in_turn: str, retries: str) -> walk.Position:
    """Return what a hand-off asks of a position: how far each track is, and which retries are to come."""
    places = [[number, None, bool(turn)] for number, turn in zip(json.loads(entered), json.loads(in_turn), strict=True)]
    return walk.Position.load({"places": places, "retries": json.loads(retries), "lap": 0, "told": True, "reached": []})


def _in_charge(place: _Place, directory: Directory, *, now: datetime) -> Mapping[int, walk.InCharge]:
    return walk.in_charge(place.plan, place.position, now=now, people=directory.people, first_use=directory.first_use)


def _never_notified(places: Sequence[_Place], charges: Sequence[Mapping[int, walk.InCharge]]) -> list[tuple[int, int]]:
    """Return pairs of a run and a person in charge of it who was never notified of its alert."""
    runs = [(run_id, number) for number, place in enumerate(places) if charges[number] for run_id in place.runs]
    parameters: dict[str, Any] = {
        "runs": array(run_id for run_id, _ in runs),
        "places": array(number for _, number in runs),
        "people": records(
            {"place": number, "user_id": user_id} for number, charge in enumerate(charges) for user_id in charge
        ),
        "limit": MOST_PAIRS,
    }
    with connection.cursor() as cursor:
        cursor.execute(statement("escalation", "never_notified"), parameters)
        return list(cursor.fetchall())


def _ways(
    pairs: Sequence[tuple[int, int]], places: Sequence[_Place], charges: Sequence[Mapping[int, walk.InCharge]]
) -> dict[int, list[walk.InCharge]]:
    """Return by person how the newcomers are in charge, over all alerts of which they are to be notified."""
    place_of = {run_id: number for number, place in enumerate(places) for run_id in place.runs}
    seen = dict.fromkeys((user_id, place_of[run_id]) for run_id, user_id in pairs)
    found: dict[int, list[walk.InCharge]] = defaultdict(list)
    for user_id, number in seen:
        found[user_id].append(charges[number][user_id])
    return found


def _notify(
    pairs: Sequence[tuple[int, int]],
    ways: Mapping[int, Sequence[walk.InCharge]],
    directory: Directory,
    *,
    now: datetime,
) -> None:
    """Write the pages, the lines that say why, and that these people see the alerts."""
    users = User.objects.in_bulk(ways)
    reasons = _reasons(ways, users, now=now)
    count: dict[int, int] = defaultdict(int)
    for _, user_id in pairs:
        count[user_id] += 1
    pages: list[dict[str, Any]] = []
    for user_id, charges in ways.items():
        tell = charges[0].tell
        for charge in charges[1:]:
            tell = tell.merged(charge.tell)
        pages += [
            {
                "user_id": user_id,
                "contact_method_id": method.pk,
                "channel": method.kind,
                "label": method.label,
                "address": method.address,
                "repeat": repeat,
                "due_at": due_at,
                "in_time": due_at <= now,
                # One alone travels by itself, or with what waits for the letterbox.
                "envelope": uuid4() if count[user_id] > 1 else None,
                "text": reasons[user_id].to_them,
            }
            for method in directory.methods(tell)
            for repeat, due_at in enumerate(directory.times(tell, method))
        ]
    parameters: dict[str, Any] = {
        "runs": array(run_id for run_id, _ in pairs),
        "users": array(user_id for _, user_id in pairs),
        "pages": records(pages),
        "first": Notification.Urgency.FIRST,
        "further": Notification.Urgency.FURTHER,
        "now": now,
    }
    with connection.cursor() as cursor:
        cursor.execute(statement("escalation", "write_handoffs"), parameters)
    alert_of = dict(EscalationRun.objects.filter(pk__in={run_id for run_id, _ in pairs}).values_list("pk", "alert_id"))
    add_viewers([(alert_of[run_id], user_id) for run_id, user_id in pairs])
    lines = [(alert_of[run_id], reasons[user_id].about_them) for run_id, user_id in pairs]
    write_timeline(TimelineEntry.Kind.TOLD, lines, now=now)
    ring("escalation.deliver_due", queue="delivery")


def _reasons(
    ways: Mapping[int, Sequence[walk.InCharge]], users: Mapping[int, User], *, now: datetime
) -> dict[int, _Reason]:
    """Say for each person since when they are on call, or else as what they are notified."""
    since = now - LOOK_BACK
    found = turns(ways, starts_at=since, ends_at=now + timedelta(microseconds=1))
    targets = {charge.target for charge in chain.from_iterable(ways.values())}
    within = nested_groups({target.id for target in targets if target.kind == "group"})
    reasons = {}
    for user_id, charges in ways.items():
        groups = {
            group_id for charge in charges if charge.target.kind == "group" for group_id in within[charge.target.id]
        }
        running = [
            turn for turn in found[user_id] if (turn.ends_at is None or turn.ends_at > now) and turn.group.pk in groups
        ]
        newest = max(running, key=lambda turn: turn.starts_at, default=None)
        reasons[user_id] = _reason(users[user_id], newest, charges[0].tell.stage, since=since)
    return reasons


def _reason(user: User, turn: Turn | None, stage: str, *, since: datetime) -> _Reason:
    if turn is None:
        return _Reason(f"You can be notified now: {stage}.", f"{user} is notified now: {stage}.")
    where = f"on call for {turn.group}{f' instead of {turn.covering}' if turn.covering else ''}"
    if turn.starts_at <= since:
        return _Reason(f"You are {where}.", f"{user} is {where}, and is notified now.")
    at = at_weekday(turn.starts_at, zone=zone(user.time_zone))
    return _Reason(f"You came {where} at {at}.", f"{user} came {where}, and is notified now.")
