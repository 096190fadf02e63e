"""Notify people whom only a further problem of an alert names, beside the escalation that is under way."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import chain
from typing import Final

from accounts.models.groups import Group
from accounts.models.users import User
from alerting.models.alerts import AlertRecipient, TimelineEntry
from alerting.services.alerts import add_recipients, write_timeline
from escalation.engine import walk
from escalation.engine.compile_plan import PlanCompiler, Recipients
from escalation.engine.plan import MAX_TRACKS, Plan
from escalation.engine.recipients import RecipientDirectory
from escalation.engine.start import Route
from escalation.engine.write_step import take_step, write_moments
from escalation.models.nights import waits_until
from escalation.models.runs import EscalationRun
from heartbeat_project.kernel.wording import some_of

# The end of the sentence that says why somebody is notified; the subject of the problem stands before it.
HAS_JOINED: Final = "has joined this alert."
_NAMED: Final = 200  # characters of names in a line of the timeline
_Kind = TimelineEntry.Kind


def notify_of_joining(alert_id: int, joining: Mapping[Route, str], *, now: datetime) -> None:
    """Notify those recipients of the routes who are no recipients of the alert yet.

    `joining` gives each route with the subject of the problem that has joined the alert and names its recipients. A
    group is walked by the roles of the route's policy, and the tiers of its play come at their offsets from now, as if
    the problem had an alert of its own. They are notified whoever has the alert; later steps stop with its escalation.
    Call it in the transaction in which the problems join.
    """
    groups, users = _recipients(alert_id)
    routes: dict[Route, str] = {}
    for route, subject in joining.items():
        new = replace(
            route,
            group_ids=tuple(pk for pk in route.group_ids if pk not in groups),
            user_ids=tuple(pk for pk in route.user_ids if pk not in users),
        )
        groups.update(new.group_ids)
        users.update(new.user_ids)
        if new.group_ids or new.user_ids or new.play:
            routes[new] = subject
    if not routes:
        return
    locked = EscalationRun.objects.select_related("alert").select_for_update(no_key=True, of=("self",))
    run = locked.filter(alert=alert_id).first()
    if run is not None:
        _notify(run, routes, now=now)


def _notify(run: EscalationRun, routes: Mapping[Route, str], *, now: datetime) -> None:
    alert, plan, position = run.alert, Plan.load(run.plan), walk.Position.load(run.position)
    plans = _plans(run, plan, routes)
    if not plans:
        return
    directory = RecipientDirectory.of(plans.values(), now=now)
    steps, lines = [], []
    for route, alone in plans.items():
        step = take_step(
            alone,
            walk.start(alone, now),
            directory,
            organization_id=alert.organization_id,
            name=run.name,
            steps_done=run.step,
            opted_out=route.opted_out,
            now=now,
        )
        plan, position = walk.add_tracks(plan, position, alone.tracks, step.advance.position)
        run.step = step.number
        steps.append(replace(step, asked_for=f"{routes[route]} {HAS_JOINED}", runs=[(run.pk, alert.pk)]))
        # Those for whom there was no room are recipients, too: they can see it, and are not tried again.
        add_recipients(alert, group_ids=route.group_ids, user_ids=route.user_ids)
        lines.append((alert.pk, _line(route, routes[route], is_notified=bool(alone.tracks))))
    run.plan, run.position, run.next_step_at = plan.dump(), position.dump(), position.next_at
    run.save(update_fields=["plan", "position", "step", "next_step_at"])
    write_timeline(_Kind.UPDATED, lines, now=now)
    write_moments(steps, now=now)


def _plans(run: EscalationRun, plan: Plan, routes: Iterable[Route]) -> dict[Route, Plan]:
    """Return the further tracks for each route that has some; none for one for which there is no room."""
    priority, rule = run.alert.priority, run.policy or run.play
    waits = waits_until(priority, low_waits_until=rule.low_waits_until) if rule else None
    routes = list(routes)
    compiler = PlanCompiler(
        policies=[route.policy for route in routes if route.policy],
        plays=[route.play for route in routes if route.play],
        group_ids=chain.from_iterable(route.group_ids for route in routes),
    )
    plans: dict[Route, Plan] = {}
    room = MAX_TRACKS - len(plan.tracks)
    for route in routes:
        recipients = Recipients(route.group_ids, route.user_ids)
        if route.policy and not route.why_unusable:
            tracks = compiler.compile_policy(route.policy, recipients).tracks
        else:
            tracks = compiler.compile_responders(recipients, None)
        if len(tracks) > room:
            # All of them at once: rather too many people of a group than nobody.
            tracks = compiler.compile_responders(recipients, None)
        if route.play and route.play.pk != run.play_id:
            tiers = compiler.compile_responders(Recipients(), route.play)
            tracks += tuple(track for track in tiers if track not in plan.tracks)
        if tracks:
            plans[route] = Plan(tracks if len(tracks) <= room else (), priority=priority, low_waits_until=waits)
            room -= len(plans[route].tracks)
    return plans


def _recipients(alert_id: int) -> tuple[set[int], set[int]]:
    """Return the ids of the groups and of the users that an alert has as recipients."""
    rows = list(AlertRecipient.objects.filter(alert=alert_id).values_list("group_id", "user_id"))
    return {group for group, _ in rows if group is not None}, {user for _, user in rows if user is not None}


def _line(route: Route, subject: str, *, is_notified: bool) -> str:
    """Say in the timeline who is notified of what joined, or that too many were before."""
    names = [f"{name} (group)" for name in _names(Group, route.group_ids)] + _names(User, route.user_ids)
    names += [f"“{route.play}” (response play)"] if route.play else []
    listed = some_of(names, count=len(names), room=_NAMED)
    if is_notified:
        return f"{subject} joined, so a rule notifies: {listed}."
    return f"{subject} joined. Too many people were added to this alert before, so these are not notified: {listed}."


def _names(model: type[Group] | type[User], ids: Sequence[int]) -> list[str]:
    return list(model.objects.filter(pk__in=ids).order_by("name", "pk").values_list("name", flat=True)) if ids else []
