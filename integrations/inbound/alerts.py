"""What events do to the alerts of their integration; the table is in docs/integrations/api.md.

An event may have hundreds of parts, and other events of its integration wait meanwhile: parts with keys that differ are
carried out together, in a number of statements that does not depend on how many there are. The caller holds a
transaction and the lock of the integration's EventState.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final

from django.db.models import F

from accounts.models.contact_methods import Priority
from alerting.models.alerts import Alert, AlertMember, TimelineEntry
from alerting.services.alerts import AlertDraft, close_alerts, open_alerts, write_timeline
from alerting.states import Status
from escalation.engine.joining import notify_of_joining
from escalation.engine.restart import start_again
from escalation.engine.reviews import notify_holder
from escalation.engine.start import EscalationStarter, Route
from escalation.notifications.notices.recoveries import write_recovery_notices
from escalation.responses.act import acknowledge_by_integration
from heartbeat_project.kernel.durations import minutes
from heartbeat_project.kernel.prepared import fetch_prepared
from heartbeat_project.kernel.sql import records, statement
from integrations.inbound.delays import Waiting, dump_event
from integrations.inbound.event import Action, Fault, MappedEvent
from integrations.inbound.keys import KeptKeys
from integrations.inbound.live_alerts import LIVE_STATES, LiveAlert, live_alerts, members_with_keys
from integrations.inbound.members import Members
from integrations.inbound.opening import Opening
from integrations.inbound.parts import Part, Result, key_of, rounds_of
from integrations.models.events import EventKey, EventState
from integrations.models.integrations import InboundIntegration

MINUTE: Final = timedelta(minutes=1)
# So long after a close, what a sender repeats may be from before it: the nodes of a pair learn from each other late.
# What comes later is true: Alertmanager also closes what it heard nothing of, and then goes on with the time it began.
REPEATS_ARE_OLD_FOR: Final = timedelta(minutes=2)
_RANKS: Final = {value: rank for rank, value in enumerate(Priority.values)}
_Kind = TimelineEntry.Kind


def _line_of(fault: Fault) -> str:
    """Return what the timeline says of a fault."""
    if fault.field == "payload":
        return f"The event could not be read as it should: {fault.text}"
    if fault.field == "rules":
        return f"A rule failed. {fault.text}"
    return f"The mapping of {fault.field} failed ({fault.text.removesuffix('.')}), so the default was used."


class EventAlerts:
    """Opens, changes and closes the alerts of one integration."""

    def __init__(self, integration: InboundIntegration, state: EventState, *, now: datetime) -> None:
        self.integration, self.state, self.now = integration, state, now
        self.settings = integration.event_settings
        self.starter = EscalationStarter(now=now)
        self.opening = Opening(integration, now=now)
        self.members = Members(integration.pk, now=now)
        self.keys = KeptKeys(integration.pk, now=now)
        self._has_members = False
        self._results: dict[int, Result] = {}

    def carry_out(self, events: Sequence[MappedEvent]) -> list[Result]:
        """Do what the parts of an event say; return a result for each of them.

        The parts of one key are carried out in their order. Of different keys, those that open come before those that
        close, so that a group whose members change stays the same alert.
        """
        self._results = {}
        for parts in rounds_of(events, name=self.integration.name):
            by_action = defaultdict(list)
            for part in parts:
                by_action[part.event.action].append(part)
            for part in by_action[Action.IGNORE]:
                self._results[part.number] = part.result("ignored", None, part.event.reason)
            self._open_or_update([part for part in parts if part.event.action in {Action.OPEN, Action.UPDATE}])
            self._acknowledge(by_action[Action.ACKNOWLEDGE])
            self._close(by_action[Action.CLOSE])
            self.keys.save()
        return [self._results[number] for number in range(len(events))]

    # -- open and update ------------------------------------------------------------------------------------------
    def _open_or_update(self, parts: Sequence[Part]) -> None:
        """Append events to the live alerts of their keys, or open alerts for those that ask for it."""
        if not parts:
            return
        for part in self._append(parts):
            if part.event.action is Action.UPDATE:
                self._results[part.number] = part.result("ignored", None, "nothing_to_update")
        opens = [part for part in parts if part.number not in self._results]
        if not opens:
            return
        self.keys.load(part.key for part in opens)
        for part in opens:
            if (result := self._why_not_now(part)) is not None:
                self._results[part.number] = result
        self._open_now([part for part in opens if part.number not in self._results])

    def _why_not_now(self, part: Part) -> Result | None:
        """Return the result of an event that opens no alert now; None if it does."""
        event, kept = part.event, self.keys.get(part.key)
        if kept is not None and self._is_older_than_close(event, kept) and not self._has_burnt_on(part):
            return part.result("ignored", None, "older_than_close")
        if self.opening.is_suspended:
            return part.result("ignored", None, "maintenance")
        waiting = Waiting.of(kept, event.then.delay or self.settings.delay, now=self.now)
        if waiting.goes_on:
            self.keys.change(part.key, waiting=dump_event(event), waiting_since=waiting.since, due_at=waiting.due_at)
            return part.result("waiting", None, waiting.reason)
        if kept is not None and kept.waiting is not None:
            self.keys.change(part.key, waiting=None, waiting_since=[], due_at=None)
        return None

    def _is_older_than_close(self, event: MappedEvent, kept: EventKey) -> bool:
        if event.event_at is None or kept.closed_at is None or kept.closed_at <= event.event_at:
            return False
        return not event.repeats or self.now < kept.changed_at + REPEATS_ARE_OLD_FOR

    def _has_burnt_on(self, part: Part) -> bool:
        """Return whether a member that the event lists as open was open when the last alert of the key closed.

        Alertmanager leaves out members that somebody has silenced, and closes the group when the others end. When the
        silence is over, what it sends is as old as its members, and still news.
        """
        listed = [member.key[:200] for member in part.event.members if member.is_open]
        if not listed:
            return False
        last = Alert.objects.filter(integration_id=self.integration.pk, key_hash=part.key).order_by("-id").first()
        return AlertMember.objects.filter(alert=last, source_id__in=listed, is_open=True).exists()

    def open_now(self, events: Mapping[str, MappedEvent]) -> list[Result]:
        """Open alerts for events that have waited, by their keys; they join a storm or a group if there is one."""
        self._results = {}
        self._open_now([Part(number, event, key) for number, (key, event) in enumerate(events.items())])
        return [self._results[number] for number in range(len(events))]

    def _open_now(self, parts: Sequence[Part]) -> None:
        if not parts:
            return
        if self.opening.is_over:
            for part in parts:
                self._results[part.number] = part.result("ignored", None, "disabled")
            return
        stormy: list[Part] = []
        others: list[Part] = []
        for part in parts:
            (stormy if self._is_storm() else others).append(part)
        if others:
            others = self._join_group(others)
        if others and self.settings.group_minutes:
            first, *others = others
            self._open_alone([first])
            self.state.group_alert_id = self._results[first.number].alert_id
            self.state.group_ends_at = self.now + minutes(self.settings.group_minutes)
            if others:
                others = self._join_group(others)
        self._open_alone(others)
        if stormy:
            self._fold(stormy)

    def _open_alone(self, parts: Sequence[Part]) -> None:
        for part, alert_id in zip(parts, self._open(parts), strict=True):
            self._results[part.number] = part.result("opened", alert_id)

    def _open(self, parts: Sequence[Part]) -> list[int]:
        """Open an alert for each of the events, and start their escalations; return the ids of the alerts."""
        if not parts:
            return []
        routes = [self.opening.route(part.event) for part in parts]
        drafts = [self._draft(part, route) for part, route in zip(parts, routes, strict=True)]
        alert_ids = open_alerts(drafts, now=self.now)
        starts: dict[Route, list[int]] = defaultdict(list)
        for route, alert_id in zip(routes, alert_ids, strict=True):
            starts[route].append(alert_id)
        self.starter.start(list(starts.items()))
        lines = []
        for part, alert_id in zip(parts, alert_ids, strict=True):
            faults = part.event.faults
            texts = [_line_of(fault) for fault in faults]
            texts += [part.event.then.note] if part.event.then.note else []
            lines += [(alert_id, text) for text in texts]
        if lines:
            write_timeline(_Kind.UPDATED, lines, now=self.now)
        self.members.list((alert_id, part.event) for part, alert_id in zip(parts, alert_ids, strict=True))
        return alert_ids

    def _draft(self, part: Part, route: Route) -> AlertDraft:
        event, closes_at = part.event, self._closes_at()
        return AlertDraft(
            organization_id=self.integration.organization_id,
            subject=event.subject,
            short_text=event.short_text,
            long_text=event.long_text,
            facts=[],
            source=event.source,
            source_name=event.source_name,
            source_id=event.source_id,
            priority=route.priority,
            integration_id=self.integration.pk,
            integration_type=self.integration.type,
            key_hash=part.key,
            url=event.url,
            closes_at=closes_at.isoformat() if closes_at else None,
            bridge_id=self.integration.bridge_id,
            group_ids=route.group_ids,
            user_ids=route.user_ids,
            opened_by=event.opened_by or f"Opened by {self.integration.name} ({event.source})",
        )

    def _closes_at(self) -> datetime | None:
        length = self.settings.auto_close_minutes
        return self.now + minutes(length) if length else None

    # -- live alerts ----------------------------------------------------------------------------------------------
    def _append(self, parts: Sequence[Part]) -> list[Part]:
        """Append events to the live alerts of their keys; return those that have none."""
        events = (
            {
                "number": part.number,
                "key": part.key,
                "subject": part.event.subject,
                "short_text": part.event.short_text,
                "long_text": part.event.long_text,
                "url": part.event.url,
            }
            for part in parts
        )
        parameters: dict[str, Any] = {
            "events": records(events),
            "integration": self.integration.pk,
            "now": self.now,
            "closes_at": self._closes_at(),
            "name": self.integration.name,
        }
        rows = fetch_prepared(statement("integrations", "append_events"), parameters)
        found = {number: LiveAlert(pk, status, priority, member) for number, pk, status, priority, member in rows}
        self.members.reopen([one.member_id for one in found.values() if one.member_id is not None])
        self.members.list((found[part.number].alert_id, part.event) for part in parts if part.number in found)
        rest = [part for part in parts if part.number not in found]
        if rest and (self._has_members or self.opening.may_have_members):
            found |= self._append_to_members(rest)
        by_alert: dict[int, list[Part]] = defaultdict(list)
        for part in parts:
            if part.number in found:
                alert_id = found[part.number].alert_id
                self._results[part.number] = part.result("appended", alert_id)
                by_alert[alert_id].append(part)
        for own in by_alert.values():
            self._raise_priority(found[own[0].number], own)
        return [part for part in parts if part.number not in found]

    def _append_to_members(self, parts: Sequence[Part]) -> dict[int, LiveAlert]:
        """Append events to members of other keys' alerts; return these by the number of the part."""
        found = members_with_keys(self.integration.pk, [part.key for part in parts])
        by_alert: dict[int, list[Part]] = defaultdict(list)
        for part in parts:
            if part.key in found:
                by_alert[found[part.key].alert_id].append(part)
        live: dict[int, LiveAlert] = {}
        for alert_id, own in sorted(by_alert.items()):
            url = next((part.event.url for part in reversed(own) if part.event.url), "")
            if self._add_events(alert_id, len(own), url=url):
                live |= {part.number: found[part.key] for part in own}
        self.members.reopen([one.member_id for one in live.values() if one.member_id is not None])
        return live

    def _add_events(self, alert_id: int, count: int, *, url: str = "", **changes: Any) -> bool:
        """Count events of a live alert; return whether it is still live."""
        if url:
            changes["url"] = url
        live = Alert.objects.filter(pk=alert_id, status__in=LIVE_STATES)
        return bool(
            live.update(
                event_count=F("event_count") + count, last_event_at=self.now, closes_at=self._closes_at(), **changes
            )
        )

    def _raise_priority(self, alert: LiveAlert, parts: Sequence[Part], *, are_new: bool = False) -> None:
        """Notify people again if one of the events is more urgent than the alert was: whoever has taken it, or all.

        Events without a priority leave it, unless they `are_new` problems: these have that of their policy.
        """
        priorities = (self.opening.route(part.event).priority if are_new else part.event.priority for part in parts)
        urgent = min(filter(None, priorities), key=_RANKS.__getitem__, default="")
        if not urgent or _RANKS[urgent] >= _RANKS[alert.priority]:
            return
        Alert.objects.filter(pk=alert.alert_id).update(priority=urgent)
        text = f"The priority rises from {alert.priority} to {urgent}."
        if alert.status == Status.OPEN:
            text = f"{text.removesuffix('.')}: the escalation starts again."
            start_again(alert.alert_id, priority=urgent, now=self.now)
        else:
            notify_holder(alert.alert_id, text=text, now=self.now)
        write_timeline(_Kind.UPDATED, [(alert.alert_id, text)], now=self.now)

    # -- acknowledge and close ------------------------------------------------------------------------------------
    def _acknowledge(self, parts: Sequence[Part]) -> None:
        """Acknowledge the live alerts of the keys."""
        live = live_alerts(self.integration.pk, [part.key for part in parts])
        for part in parts:
            self._results[part.number] = (
                part.result("acknowledged", live[part.key].alert_id)
                if part.key in live
                else part.result("ignored", None, "nothing_to_update")
            )
        alert_ids = sorted({one.alert_id for one in live.values()})
        acknowledge_by_integration(alert_ids, name=self.integration.name, now=self.now)

    def _close(self, parts: Sequence[Part]) -> None:
        """Close the live alerts of the keys, or their members; an open that waits is dropped."""
        if not parts:
            return
        self.keys.load(part.key for part in parts)
        settled = {part.number for part in parts if self._note_close(part)}
        live = live_alerts(self.integration.pk, [part.key for part in parts])
        self.members.list((live[part.key].alert_id, part.event) for part in parts if part.key in live)
        of_members, whole = [], []
        for part in parts:
            if part.key not in live:
                reason = "settled" if part.number in settled else "nothing_to_close"
                self._results[part.number] = part.result("ignored", None, reason)
            elif live[part.key].member_id is not None:
                of_members.append(part)
            else:
                whole.append(part)
        if of_members:
            whole += self._close_members(of_members, live)
        for part in whole:
            self._results[part.number] = part.result("closed", live[part.key].alert_id)
        closed = close_alerts(
            sorted({live[part.key].alert_id for part in whole}),
            reason=f"closed by {self.integration.name}",
            now=self.now,
        )
        write_recovery_notices(closed, now=self.now)

    def _note_close(self, part: Part) -> bool:
        """Keep when the sender closed the key, and drop an open that waits; return whether one waited."""
        event, kept = part.event, self.keys.get(part.key)
        waited = kept is not None and kept.waiting is not None
        if event.event_at or waited:
            newest = max((at for at in (event.event_at, kept and kept.closed_at) if at), default=None)
            self.keys.change(part.key, closed_at=newest, waiting=None, waiting_since=[], due_at=None)
        return waited

    def _close_members(self, parts: Sequence[Part], live: dict[str, LiveAlert]) -> list[Part]:
        """Close members; return the part that closed the last one of each alert that has no open member any more."""
        by_alert = defaultdict(list)
        for part in parts:
            by_alert[live[part.key].alert_id].append(part)
        member_ids = [one.member_id for part in parts if (one := live[part.key]).member_id is not None]
        open_counts: Counter[int] = self.members.close(member_ids, of=by_alert)
        lines, last = [], []
        for alert_id, own in sorted(by_alert.items()):
            if not open_counts[alert_id]:
                last.append(own.pop())
            for part in own:
                self._results[part.number] = part.result("closed", alert_id, "member")
            if own and self._add_events(alert_id, len(own)):
                left = open_counts[alert_id] + len(own) + (not open_counts[alert_id])
                for part in own:
                    left -= 1
                    are = "member is" if left == 1 else "members are"
                    lines.append((alert_id, f"{live[part.key].member_subject} closed, {left} {are} open."))
        if lines:
            write_timeline(_Kind.MEMBER, lines, now=self.now)
        return last

    # -- groups and storms ----------------------------------------------------------------------------------------
    def _join_group(self, parts: Sequence[Part]) -> list[Part]:
        """Make the events members of the alert that other keys may join now; return them if there is none."""
        alert_id, ends_at = self.state.group_alert_id, self.state.group_ends_at
        if alert_id is None or ends_at is None or self.now >= ends_at or not self._add_events(alert_id, len(parts)):
            return list(parts)
        alert = Alert.objects.get(pk=alert_id)
        self._add_members(alert, parts, with_own=True)
        last = AlertMember.objects.filter(alert=alert, is_open=True).count()
        counts = range(last - len(parts) + 1, last + 1)
        lines = [
            (alert.pk, f"{part.event.subject} joined, {count} members.")
            for part, count in zip(parts, counts, strict=True)
        ]
        write_timeline(_Kind.MEMBER, lines, now=self.now)
        self._raise_priority(LiveAlert(alert.pk, alert.status, alert.priority), parts, are_new=True)
        self._notify_named_by_rules(alert.pk, parts)
        for part in parts:
            self._results[part.number] = part.result("grouped", alert.pk)
        return []

    def _notify_named_by_rules(self, alert_id: int, parts: Sequence[Part]) -> None:
        """Notify the people whom only the rules of these events name: the alert that they joined is not for them."""
        joining: dict[Route, str] = {}
        for part in parts:
            if (route := self.opening.route_of_rules(part.event)) is not None:
                joining.setdefault(route, part.event.subject)
        if joining:
            notify_of_joining(alert_id, joining, now=self.now)

    def _add_members(self, alert: Alert, parts: Sequence[Part], *, with_own: bool) -> None:
        self.members.add(alert, [(part.key, part.event) for part in parts], with_own=with_own)
        self._has_members = True  # for the further parts of the same event

    def _is_storm(self) -> bool:
        """Count an alert that is to open; return whether it is beyond the limit, or the storm goes on."""
        state, limit = self.state, self.settings.storm_per_minute
        minute = self.now.replace(second=0, microsecond=0)
        if state.minute != minute:
            was_busy = state.minute == minute - MINUTE and state.opened_in_minute > limit
            if state.storm_alert_id and not was_busy:
                state.storm_alert_id = None
            state.minute, state.opened_in_minute = minute, 0
        state.opened_in_minute += 1
        return bool(limit) and (state.storm_alert_id is not None or state.opened_in_minute > limit)

    def _fold(self, parts: Sequence[Part]) -> None:
        """Make the events members of the storm's alert, which opens with the first one beyond the limit."""
        alert = Alert.objects.filter(pk=self.state.storm_alert_id or 0, status__in=LIVE_STATES).first()
        if alert is None:
            alert = self._open_storm(parts[0])
        self._add_members(alert, parts, with_own=False)
        subject = self._storm_subject(AlertMember.objects.filter(alert=alert).count())
        self._add_events(alert.pk, len(parts), subject=subject, short_text=subject)
        self._raise_priority(LiveAlert(alert.pk, alert.status, alert.priority), parts, are_new=True)
        self._notify_named_by_rules(alert.pk, parts)
        for part in parts:
            self._results[part.number] = part.result("folded", alert.pk)

    def _open_storm(self, part: Part) -> Alert:
        subject, source_id = self._storm_subject(1), f"storm {self.now:%Y-%m-%d %H:%M} UTC"
        event = replace(part.event, subject=subject, short_text=subject, source_id=source_id, url="", event_at=None)
        event = replace(event, long_text=self._storm_text(), members=())
        (alert_id,) = self._open([Part(part.number, event, key_of(event, name=self.integration.name))])
        self.state.storm_alert_id = alert_id
        text = f"{self.settings.storm_per_minute} alerts have opened in this minute; further ones stand in this one."
        write_timeline(_Kind.STORM, [(alert_id, text)], now=self.now)
        return Alert.objects.get(pk=alert_id)

    def _storm_subject(self, count: int) -> str:
        events = "event" if count == 1 else "events"
        return f"{count} more {events} from {self.integration.name} in this minute"

    def _storm_text(self) -> str:
        return (
            f"{self.integration.name} has opened {self.settings.storm_per_minute} alerts within a minute. "
            "Further ones stand in this alert as its members, each with its own state, until a minute passes with "
            "fewer. The alert closes when its last member has closed."
        )
