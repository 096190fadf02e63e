"""What an event does to the alerts of its integration; the table is in docs/integrations/api.md.

The caller holds a transaction and the lock of the integration's EventState.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any, Final

from django.db import connection
from django.db.models import F

from accounts.models.contact_methods import Priority
from alerting.models.alerts import Alert, AlertMember, TimelineEntry
from alerting.services.alerts import AlertDraft, close_alerts, open_alerts, write_timeline
from alerting.states import LIVE, Status
from escalation.engine.restart import start_again
from escalation.engine.start import EscalationStarter, Route
from escalation.models.policies import EscalationPolicy, ResponsePlay
from escalation.notifications.notices.recoveries import write_recovery_notices
from escalation.responses.act import acknowledge_by_integration
from heartbeat_project.kernel.durations import minutes
from heartbeat_project.kernel.ids import digest
from heartbeat_project.kernel.sql import statement
from integrations.heartbeats.routes import route_of
from integrations.inbound.delays import Waiting, dump_event
from integrations.inbound.event import MappedEvent
from integrations.maintenance.windows import suspended_until
from integrations.models.events import EventKey, EventState
from integrations.models.integrations import InboundIntegration

MINUTE: Final = timedelta(minutes=1)
_RANKS: Final = {value: rank for rank, value in enumerate(Priority.values)}
_Kind = TimelineEntry.Kind


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one part of an event; `reason` says why it was ignored or waits."""

    action: str
    alert_id: int | None
    source_id: str
    reason: str = ""

    def as_json(self) -> dict[str, Any]:
        """Return the fields as the API names them."""
        return {
            "action": self.action,
            "alert": self.alert_id,
            "source_id": self.source_id,
            "reason": self.reason,
        }


def key_of(event: MappedEvent) -> str:
    """Return the SHA-256 by which events of one problem find each other."""
    return digest(json.dumps([event.source, event.source_name, event.source_id]))


class EventAlerts:
    """Opens, changes and closes the alerts of one integration."""

    def __init__(self, integration: InboundIntegration, state: EventState, *, now: datetime) -> None:
        self.integration, self.state, self.now = integration, state, now
        self.settings = integration.event_settings
        self.starter = EscalationStarter(now=now)
        self._kept: dict[str, EventKey | None] = {}

    def expect(self, events: Sequence[MappedEvent]) -> None:
        """Read what is kept of the keys of all these events at once: an event may have hundreds of parts."""
        self._kept = dict.fromkeys(map(key_of, events))
        for kept in EventKey.objects.filter(integration=self.integration, key_hash__in=list(self._kept)):
            self._kept[kept.key_hash] = kept

    # -- the actions ----------------------------------------------------------------------------------------------
    def open(self, event: MappedEvent) -> Result:
        """Append the event to the live alert of its key, or open one; it may wait, join a group, or be in a storm."""
        key = key_of(event)
        if (found := self._append(event, key)) is not None:
            return found
        kept = self._kept_of(key)
        if event.event_at and kept and kept.closed_at and kept.closed_at > event.event_at:
            return Result("ignored", None, event.source_id, "older_than_close")
        if suspended_until(self.integration, now=self.now):
            return Result("ignored", None, event.source_id, "maintenance")
        delay = event.then.delay or self.settings.delay
        waiting = Waiting.of(kept, delay, now=self.now)
        if waiting.goes_on:
            self._keep(key, waiting=dump_event(event), waiting_since=waiting.since, due_at=waiting.due_at)
            return Result("waiting", None, event.source_id, waiting.reason)
        if kept is not None and kept.waiting is not None:
            self._keep(key, waiting=None, waiting_since=[], due_at=None)
        return self.open_now(event)

    def open_now(self, event: MappedEvent) -> Result:
        """Open an alert without a delay; the event joins the storm or a group if there is one."""
        key = key_of(event)
        if self._is_over:
            return Result("ignored", None, event.source_id, "disabled")
        if self._is_storm():
            return self._fold(event, key)
        if self.state.group_alert_id and self.state.group_ends_at and self.now < self.state.group_ends_at:
            joined = self._join(self.state.group_alert_id, event, key)
            if joined is not None:
                return joined
        alert_id = self._open(event, key_hash=key)
        if self.settings.group_minutes:
            self.state.group_alert_id = alert_id
            self.state.group_ends_at = self.now + minutes(self.settings.group_minutes)
        return Result("opened", alert_id, event.source_id)

    @cached_property
    def _is_over(self) -> bool:
        """Whether the integration was disabled before its state was locked, and its alerts were closed by that."""
        return not InboundIntegration.objects.filter(pk=self.integration.pk, enabled=True).exists()

    def update(self, event: MappedEvent) -> Result:
        """Append the event to the live alert of its key, if there is one."""
        found = self._append(event, key_of(event))
        return found or Result("ignored", None, event.source_id, "nothing_to_update")

    def acknowledge(self, event: MappedEvent) -> Result:
        """Acknowledge the live alert of the key."""
        alert, _member = self._find(key_of(event))
        if alert is None:
            return Result("ignored", None, event.source_id, "nothing_to_update")
        acknowledge_by_integration(alert, name=self.integration.name, now=self.now)
        return Result("acknowledged", alert.pk, event.source_id)

    def close(self, event: MappedEvent) -> Result:
        """Close the live alert of the key, or its member; an open that waits is dropped."""
        key = key_of(event)
        kept = self._kept_of(key)
        waited = kept is not None and kept.waiting is not None
        if event.event_at or waited:
            newest = max((at for at in (event.event_at, kept and kept.closed_at) if at), default=None)
            self._keep(key, closed_at=newest, waiting=None, waiting_since=[], due_at=None)
        alert, member = self._find(key)
        if alert is None:
            return Result("ignored", None, event.source_id, "settled" if waited else "nothing_to_close")
        self._list_members(alert.pk, event)
        if member is not None and self._close_member(alert.pk, member):
            return Result("closed", alert.pk, event.source_id, "member")
        self.close_alert(alert.pk)
        return Result("closed", alert.pk, event.source_id)

    def close_alert(self, alert_id: int) -> None:
        """Close an alert in the name of the integration, and notify those who were notified of it."""
        closed = close_alerts([alert_id], reason=f"closed by {self.integration.name}", now=self.now)
        write_recovery_notices(closed, now=self.now)

    # -- live alerts ----------------------------------------------------------------------------------------------
    def _find(self, key: str) -> tuple[Alert | None, AlertMember | None]:
        """Return the live alert of the key, and the member with this key if the alert has members."""
        own = Alert.objects.filter(integration_id=self.integration.pk, key_hash=key, status__in=sorted(LIVE)).first()
        if own is not None:
            return own, AlertMember.objects.filter(alert=own, key_hash=key).first()
        member = (
            AlertMember.objects.select_related("alert")
            .filter(integration_id=self.integration.pk, key_hash=key, is_open=True, alert__status__in=sorted(LIVE))
            .order_by("-id")
            .first()
        )
        return (member.alert, member) if member else (None, None)

    def _append(self, event: MappedEvent, key: str) -> Result | None:
        """Append the event to the live alert of its key; return None if there is none."""
        parameters: dict[str, Any] = {
            "integration": self.integration.pk,
            "key": key,
            "now": self.now,
            "closes_at": self._closes_at(),
            "subject": event.subject,
            "short_text": event.short_text,
            "long_text": event.long_text,
            "url": event.url,
            "name": self.integration.name,
        }
        with connection.cursor() as cursor:
            cursor.execute(statement("integrations", "append_event"), parameters)
            row = cursor.fetchone()
        if row is None:
            return self._append_to_member(event, key)
        alert_id, status, priority, member_id = row
        if member_id is not None:
            self._reopen_member(member_id)
        self._list_members(alert_id, event)
        self._raise_priority(alert_id, event, status=status, priority=priority)
        return Result("appended", alert_id, event.source_id)

    def _append_to_member(self, event: MappedEvent, key: str) -> Result | None:
        """Append the event to the member with its key, of another key's alert; return None if there is none."""
        if not self._may_have_members:
            return None
        alert, member = self._find(key)
        if alert is None or member is None or not self._add_event(alert.pk, url=event.url):
            return None
        self._reopen_member(member.pk)
        self._raise_priority(alert.pk, event, status=alert.status, priority=alert.priority)
        return Result("appended", alert.pk, event.source_id)

    @cached_property
    def _may_have_members(self) -> bool:
        """Whether a live alert of the integration has members with keys of their own."""
        return AlertMember.objects.filter(integration_id=self.integration.pk, is_open=True, key_hash__gt="").exists()

    def _reopen_member(self, member_id: int) -> None:
        AlertMember.objects.filter(pk=member_id).update(
            is_open=True, closed_at=None, event_count=F("event_count") + 1, last_event_at=self.now
        )

    def _add_event(self, alert_id: int, *, url: str = "", **changes: Any) -> bool:
        """Count an event of a live alert; return whether it is still live."""
        if url:
            changes["url"] = url
        live = Alert.objects.filter(pk=alert_id, status__in=sorted(LIVE))
        return bool(
            live.update(
                event_count=F("event_count") + 1, last_event_at=self.now, closes_at=self._closes_at(), **changes
            )
        )

    def _raise_priority(self, alert_id: int, event: MappedEvent, *, status: str, priority: str) -> None:
        """Notify people again if the event is more urgent than the alert was, unless somebody has taken it."""
        if not event.priority or _RANKS[event.priority] >= _RANKS[priority]:
            return
        Alert.objects.filter(pk=alert_id).update(priority=event.priority)
        text = f"The priority rises from {priority} to {event.priority}."
        if status == Status.OPEN:
            text = f"{text.removesuffix('.')}: the escalation starts again."
            start_again(alert_id, priority=event.priority, now=self.now)
        write_timeline(_Kind.UPDATED, [(alert_id, text)], now=self.now)

    # -- new alerts -----------------------------------------------------------------------------------------------
    def _open(self, event: MappedEvent, *, key_hash: str) -> int:
        route = self._route(event)
        closes_at = self._closes_at()
        draft = AlertDraft(
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
            key_hash=key_hash,
            url=event.url,
            closes_at=closes_at.isoformat() if closes_at else None,
            bridge_id=self.integration.bridge_id,
            group_ids=route.group_ids,
            user_ids=route.user_ids,
            opened_by=f"Opened by {self.integration.name} ({event.source})",
        )
        (alert_id,) = open_alerts([draft], now=self.now)
        self.starter.start([(route, [alert_id])])
        lines = [
            f"The mapping of {fault.field} failed ({fault.text}), so the default was used." for fault in event.faults
        ]
        lines += [event.then.note] if event.then.note else []
        if lines:
            write_timeline(_Kind.UPDATED, [(alert_id, line) for line in lines], now=self.now)
        self._list_members(alert_id, event)
        return alert_id

    @cached_property
    def _own_route(self) -> Route:
        return route_of(self.integration)

    def _route(self, event: MappedEvent) -> Route:
        """Return whom the alert notifies: as the integration says, unless a rule says otherwise."""
        then, route = event.then, self._own_route
        policy, play = route.policy, route.play
        organization = {"organization_id": self.integration.organization_id}
        if then.escalation_policy is not None:
            chosen = EscalationPolicy.objects.filter(pk=then.escalation_policy, **organization).first()
            policy, play = (chosen, None) if chosen else (policy, play)
        elif then.response_play is not None:
            chosen_play = ResponsePlay.objects.filter(pk=then.response_play, **organization).first()
            policy, play = (None, chosen_play) if chosen_play else (policy, play)
        groups, users = tuple(then.recipient_groups), tuple(then.recipient_users)
        if not (then.replace and (groups or users)):
            groups = tuple(dict.fromkeys((*route.group_ids, *groups)))
            users = tuple(dict.fromkeys((*route.user_ids, *users)))
        return replace(route, policy=policy, play=play, group_ids=groups, user_ids=users, own_priority=event.priority)

    def _closes_at(self) -> datetime | None:
        length = self.settings.auto_close_minutes
        return self.now + minutes(length) if length else None

    # -- members --------------------------------------------------------------------------------------------------
    def _join(self, alert_id: int, event: MappedEvent, key: str) -> Result | None:
        """Make the event's key a member of a live alert; return None if the alert is over."""
        if not self._add_event(alert_id):
            return None
        alert = Alert.objects.get(pk=alert_id)
        first = not AlertMember.objects.filter(alert=alert, key_hash__gt="").exists()
        if first and alert.key_hash:
            self._add_member(alert, alert.source_id, alert.subject, key_hash=alert.key_hash, at=alert.opened_at)
        self._add_member(alert, event.source_id, event.subject, key_hash=key, at=self.now)
        count = AlertMember.objects.filter(alert=alert, is_open=True).count()
        text = f"{event.subject} joined, {count} members."
        write_timeline(_Kind.MEMBER, [(alert.pk, text)], now=self.now)
        self._raise_priority(alert.pk, event, status=alert.status, priority=alert.priority)
        return Result("grouped", alert.pk, event.source_id)

    def _add_member(self, alert: Alert, source_id: str, subject: str, *, key_hash: str, at: datetime) -> None:
        """Store an open member with a key; two keys with one source id, as of two sources, are two members."""
        member = AlertMember(
            alert=alert,
            integration_id=self.integration.pk,
            key_hash=key_hash,
            source_id=source_id[:200],
            subject=subject[:300],
            opened_at=at,
            last_event_at=self.now,
        )
        same_id = AlertMember.objects.filter(alert=alert, source_id=member.source_id)
        if same_id.exclude(key_hash__in=["", key_hash]).exists():
            member.source_id = f"{source_id[:180]} ({key_hash[:8]})"
        AlertMember.objects.bulk_create(
            [member],
            update_conflicts=True,
            unique_fields=["alert", "source_id"],
            update_fields=["key_hash", "subject", "is_open", "opened_at", "closed_at", "last_event_at"],
        )
        self._may_have_members = True  # for the further parts of the same event

    def _close_member(self, alert_id: int, member: AlertMember) -> bool:
        """Close a member; return whether the alert has others that are open."""
        AlertMember.objects.filter(pk=member.pk).update(is_open=False, closed_at=self.now, last_event_at=self.now)
        open_count = AlertMember.objects.filter(alert=alert_id, is_open=True).count()
        if not open_count:
            return False
        if self._add_event(alert_id):
            text = f"{member.subject} closed, {open_count} {'member is' if open_count == 1 else 'members are'} open."
            write_timeline(_Kind.MEMBER, [(alert_id, text)], now=self.now)
        return True

    def _list_members(self, alert_id: int, event: MappedEvent) -> None:
        """Store the members that the sender listed in the event, with their states."""
        if not event.members:
            return
        rows = [
            AlertMember(
                alert_id=alert_id,
                integration_id=self.integration.pk,
                source_id=member.key[:200],
                subject=member.subject[:300],
                is_open=member.is_open,
                opened_at=self.now,
                closed_at=None if member.is_open else self.now,
                last_event_at=self.now,
            )
            for member in {member.key[:200]: member for member in event.members}.values()
        ]
        AlertMember.objects.bulk_create(
            rows,
            update_conflicts=True,
            unique_fields=["alert", "source_id"],
            update_fields=["subject", "is_open", "closed_at", "last_event_at"],
        )

    # -- storms ---------------------------------------------------------------------------------------------------
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

    def _fold(self, event: MappedEvent, key: str) -> Result:
        """Make the event a member of the storm's alert, which opens with the first one beyond the limit."""
        alert = Alert.objects.filter(pk=self.state.storm_alert_id or 0, status__in=sorted(LIVE)).first()
        if alert is None:
            source_id = f"storm {self.now:%Y-%m-%d %H:%M} UTC"
            storm = replace(event, subject=self._storm_subject(1), source_id=source_id, url="", event_at=None)
            storm = replace(storm, short_text=storm.subject, long_text=self._storm_text(), members=())
            alert = Alert.objects.get(pk=self._open(storm, key_hash=key_of(storm)))
            self.state.storm_alert_id = alert.pk
            text = (
                f"{self.settings.storm_per_minute} alerts have opened in this minute; further ones stand in this one."
            )
            write_timeline(_Kind.STORM, [(alert.pk, text)], now=self.now)
        self._add_member(alert, event.source_id, event.subject, key_hash=key, at=self.now)
        subject = self._storm_subject(AlertMember.objects.filter(alert=alert).count())
        self._add_event(alert.pk, subject=subject, short_text=subject)
        self._raise_priority(alert.pk, event, status=alert.status, priority=alert.priority)
        return Result("folded", alert.pk, event.source_id)

    def _storm_subject(self, count: int) -> str:
        events = "event" if count == 1 else "events"
        return f"{count} more {events} from {self.integration.name} in this minute"

    def _storm_text(self) -> str:
        return (
            f"{self.integration.name} has opened {self.settings.storm_per_minute} alerts within a minute. "
            "Further ones stand in this alert as its members, each with its own state, until a minute passes with "
            "fewer. The alert closes when its last member has closed."
        )

    # -- keys -----------------------------------------------------------------------------------------------------
    def _kept_of(self, key: str) -> EventKey | None:
        if key not in self._kept:
            self._kept[key] = EventKey.objects.filter(integration=self.integration, key_hash=key).first()
        return self._kept[key]

    def _keep(self, key: str, **values: Any) -> None:
        self._kept[key], _is_new = EventKey.objects.update_or_create(
            integration=self.integration, key_hash=key, defaults={**values, "changed_at": self.now}
        )
