"""A harness around injected time: make heartbeats and people, ping, let time pass, and look who was notified.

`advance` ticks through the very services that the periodic tasks call, at each second at which something is due, and
passes over the seconds between: a tick with nothing due changes nothing.
"""

import json
import re
from collections.abc import Sequence
from datetime import datetime, timedelta

from django.core import mail
from django.db.models import F, Min
from django.db.models.functions import Coalesce

from accounts.models.contact_methods import ContactMethod
from accounts.models.users import User
from alerting.models.alerts import Alert
from alerting.states import LIVE
from escalation.engine.advance import advance_escalations
from escalation.engine.handoffs import notify_newly_on_call
from escalation.models.notifications import Notification
from escalation.models.runs import EscalationRun
from escalation.models.sending import CircuitBreaker
from escalation.notifications.after_failures import TOO_LONG, go_on_without_what_fails
from escalation.notifications.deliver import deliver_due
from escalation.notifications.leavers import go_on_without_leavers
from escalation.notifications.notices.failing_methods import SETTLED, notify_of_failing
from escalation.notifications.providers.circuit_breakers import PAUSE, send_probes
from integrations.heartbeats.clock_steps import claim_step, watch_clock
from integrations.heartbeats.tick import tick
from integrations.inbound.event import ReceivedEvent
from integrations.inbound.mail_storing import store_received
from integrations.inbound.mails import read_events
from integrations.inbound.receive import Received, receive
from integrations.inbound.timers import run_due
from integrations.models.events import EventKey, InboundEvent
from integrations.models.heartbeats import Heartbeat
from integrations.models.integrations import InboundIntegration
from integrations.models.outages import IngestState
from integrations.models.windows import MaintenanceWindow
from integrations.ping_lane.batch import Arrival, record_pings, record_pulse
from integrations.upkeep.engine_work import is_work_due
from tests import factories

SECOND = timedelta(seconds=1)


def deliver(*, now: datetime) -> None:
    """Do what the dispatcher of a delivery worker does."""
    send_probes(now=now)
    deliver_due(now=now)
    go_on_without_what_fails(now=now)


# What works once a second, in the order in which one depends on the other.
PARTS = {
    "detector": tick,
    "events": run_due,
    "leavers": go_on_without_leavers,
    "engine": advance_escalations,
    "failing": notify_of_failing,
    "handoffs": notify_newly_on_call,
    "delivery": deliver,
}
# Those that the engine runs only if work is due. The real engine runs them every few seconds anyway; stories do not, so
# that they fail if `is_work_due` does not know a kind of work.
IF_DUE = {"detector", "events", "engine"}


def minutes(value: float) -> timedelta:
    return timedelta(minutes=value)


def hours(value: float) -> timedelta:
    return timedelta(hours=value)


def days(value: float) -> timedelta:
    return timedelta(days=value)


def seconds(value: float) -> timedelta:
    return timedelta(seconds=value)


class World:
    def __init__(self, *, now: datetime) -> None:
        self.now = now
        self.listening = True
        self.ticking = True
        self.away: set[str] = set()
        self.organization = factories.OrganizationFactory()
        self.people: dict[str, User] = {}
        self._looked_at = 0
        record_pulse(now=now)

    # -- who and what there is ------------------------------------------------------------------------------------
    def person(self, name: str, *, roles=("Basic",), **fields) -> User:
        """Return the person of this name, made when first named."""
        if name not in self.people:
            self.people[name] = factories.UserFactory(
                organization=self.organization, name=name.title(), email=f"{name}@example.com", roles=roles, **fields
            )
        return self.people[name]

    def team(self, name: str, *, primary=(), secondary=(), managers=()):
        """Return a new group of people named by name."""
        members = {"primary": primary, "secondary": secondary, "managers": managers}
        return factories.GroupFactory(
            organization=self.organization,
            name=name,
            **{role: [self.person(who) for who in names] for role, names in members.items()},
        )

    def share(self, team, address: str, *, label: str = "Mailbox", **fields) -> ContactMethod:
        """Give a group a contact of its own, which was verified."""
        return ContactMethod.objects.create(
            **{"group": team, "address": address, "label": label, "verified_at": self.now, **fields}
        )

    def policy(self, *, steps=None, **fields):
        return factories.PolicyFactory(organization=self.organization, steps=steps, **fields)

    def heartbeat(self, name: str, *, every: timedelta, recipients=(), **fields) -> InboundIntegration:
        """Return a heartbeat whose silence is asked to the people in `recipients` (names), in five-minute steps."""
        return factories.HeartbeatFactory(
            organization=self.organization,
            name=name,
            interval_minutes=round(every.total_seconds() / 60, 1),
            recipient_users=[self.person(who) for who in recipients],
            now=self.now,
            **fields,
        )

    def api(self, name: str, *, recipients=(), **fields) -> InboundIntegration:
        """Return an API integration whose alerts are for the people in `recipients` (names)."""
        return factories.ApiIntegrationFactory(
            organization=self.organization,
            name=name,
            recipient_users=[self.person(who) for who in recipients],
            now=self.now,
            **fields,
        )

    def email(self, name: str, *, recipients=(), **fields) -> InboundIntegration:
        """Return an Email integration whose alerts are for the people in `recipients` (names)."""
        return self.api(name, recipients=recipients, type="email", **fields)

    def chat(self, name: str, *, recipients=(), **fields) -> InboundIntegration:
        """Return a Chat integration of Slack whose alerts are for the people in `recipients` (names)."""
        fields = {"platform": "slack", "secrets": {"signing_secret": "slack-secret"}, **fields}
        return self.api(name, recipients=recipients, type="chat", **fields)

    def heartbeats(self) -> list[InboundIntegration]:
        """Return all heartbeats, as they were made."""
        return list(InboundIntegration.objects.order_by("id"))

    def bundle(self, window: timedelta) -> None:
        """Let what hits one person within so long go out together, as it does in a new organization."""
        self.organization.bundle_seconds = int(window.total_seconds())
        self.organization.save(update_fields=["bundle_seconds"])

    # -- what happens ---------------------------------------------------------------------------------------------
    def ping(self, integration: InboundIntegration, *, received_at: datetime | None = None, method: str = "POST"):
        """Record a ping that arrives now and return its receipt (None: refused)."""
        integration.refresh_from_db(fields=["token"])
        arrival = Arrival(token=integration.token, received_at=received_at or self.now, method=method)
        return record_pings([arrival])[0]

    def post(self, integration: InboundIntegration, payload, *, external_id: str = "", **event) -> Received:
        """Let an event arrive at an API integration."""
        related = ("event_settings", "escalation_policy", "response_play", "bridge")
        stored = InboundIntegration.objects.select_related(*related).get(pk=integration.pk)
        received = ReceivedEvent(
            **{"raw": json.dumps(payload).encode(), "received_at": self.now, "payload": payload, **event}
        )
        return receive(stored, received, now=self.now, external_id=external_id)

    def mail(self, *recipients: str, raw: bytes | None = None, sender: str = "", **headers: str) -> list[InboundEvent]:
        """Let a mail arrive and be read; `body` is its text, and the other names are headers. Return its events."""
        body = headers.pop("body", "")
        lines = [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        raw = raw if raw is not None else "\r\n".join([*lines, "", body]).encode()
        ids = store_received(raw, recipients=recipients, sender=sender, now=self.now)
        while read_events(now=self.now):
            pass
        return [InboundEvent.objects.get(pk=pk) for pk in ids]

    def advance(self, by: timedelta, *, at_most_every: timedelta = SECOND) -> None:
        """Let time pass, ticking whenever something is due, and at the end; ticks may be late where they are many."""
        end = self.now + by
        while self.now < end:
            self.now = min(end, max(self.now + at_most_every, self.next_due() if self.ticking else end))
            if self.listening:
                # the pulses of the seconds that were passed over
                IngestState.objects.filter(stored_until__lt=self.now - SECOND).update(stored_until=self.now - SECOND)
            self.beat()

    def next_due(self) -> datetime:
        """Return the whole second at which the next row is due."""
        due = [
            Heartbeat.objects.exclude(state__in=["missed", "disabled"]).aggregate(at=Min("deadline_at"))["at"],
            EscalationRun.objects.filter(next_step_at__gt=self.now).aggregate(at=Min("next_step_at"))["at"],
            EscalationRun.objects.filter(review_at__gt=self.now).aggregate(at=Min("review_at"))["at"],
            Notification.objects.filter(next_attempt_at__gt=self.now).aggregate(at=Min("next_attempt_at"))["at"],
            MaintenanceWindow.objects.filter(applied_at=None).aggregate(at=Min("starts_at"))["at"],
            EventKey.objects.aggregate(at=Min("due_at"))["at"],
            Alert.objects.filter(status__in=sorted(LIVE)).aggregate(at=Min("closes_at"))["at"],
        ]
        failing = ContactMethod.objects.filter(failing_since__gt=self.now - SETTLED).aggregate(at=Min("failing_since"))[
            "at"
        ]
        due.append(failing and failing + SETTLED)
        # messages that will have failed for too long
        lasting = Notification.objects.filter(failing_since__gt=self.now - TOO_LONG).aggregate(at=Min("failing_since"))[
            "at"
        ]
        due.append(lasting and lasting + TOO_LONG)
        # providers that will have failed for as long as their pause
        providers = CircuitBreaker.objects.annotate(probed_at=Coalesce("open_until", F("failed_at") + PAUSE))
        due.append(providers.filter(probed_at__gt=self.now).aggregate(at=Min("probed_at"))["at"])
        at = min((moment for moment in due if moment is not None), default=self.now + timedelta(days=40))
        return at if at.microsecond == 0 else at.replace(microsecond=0) + SECOND

    def beat(self) -> None:
        """Do what happens once a second."""
        if self.listening:
            self.pulse()
        if self.ticking:
            for part in PARTS:
                if part not in self.away and (part not in IF_DUE or is_work_due(now=self.now)):
                    self.work(part)

    def pulse(self) -> None:
        """Commit that pings can be stored."""
        record_pulse(now=self.now)

    def work(self, part: str) -> None:
        """Do what one part does once a second."""
        PARTS[part](now=self.now)

    def sleep(self, by: timedelta) -> None:
        """Let time pass with nobody running: no pulse, no tick."""
        self.now += by

    def set_clock(self, by: timedelta) -> None:
        """Set the database's clock ahead (or back, below zero) between two ticks; a tick follows."""
        watch_clock(now=self.now)
        self.now += by
        claim_step(now=self.now)
        self.beat()

    # -- what there is to see -------------------------------------------------------------------------------------
    def alerts(self, about: InboundIntegration | None = None) -> list[Alert]:
        found = Alert.objects.order_by("id")
        return list(found.filter(integration_id=about.pk) if about else found)

    def alert(self, about: InboundIntegration) -> Alert:
        """Return the newest alert about this heartbeat."""
        return self.alerts(about)[-1]

    def heartbeat_of(self, integration: InboundIntegration):
        return type(integration).objects.get(pk=integration.pk).heartbeat

    @property
    def mails(self) -> list:
        """The mails that arrived; what sends them (SMTP in stories, else memory) adds them to Django's `mail.outbox`."""
        return mail.outbox

    def unread(self) -> list:
        """Return the mails that were not expected one by one, and have them read."""
        left = self.mails[self._looked_at :]
        self._looked_at = len(self.mails)
        return left

    def expect_mail(
        self, who: str, *, saying: str, about: InboundIntegration | None = None, address: str | None = None
    ):
        """Assert that the next unread message went to `who` and says `saying` (in subject or text).

        It went to their own address, or to the other `address` that is given.
        """
        address = address or self.person(who).email
        assert self._looked_at < len(self.mails), f"no message is left; expected one to {who}"
        theirs = [message for message in self.mails[self._looked_at :] if message.to == [address]]
        # What became due in the same moment is sent in any order.
        meant = [
            message for message in theirs if saying in message.body and (about is None or about.name in message.body)
        ]
        if theirs:
            message = (meant or theirs)[0]
            at = next(index for index, other in enumerate(self.mails) if other is message)
            self.mails.insert(self._looked_at, self.mails.pop(at))
        message = self.mails[self._looked_at]
        self._looked_at += 1
        assert message.to == [address], f"{message.subject!r} went to {message.to}, expected {who}"
        said = f"{message.subject}\n{message.body}"
        assert saying in said, said
        if about is not None:
            assert about.name in said, said
        return message

    def expect_page(self, who: str, *, about: InboundIntegration, address: str | None = None):
        """Assert that the next message pages `who` about this heartbeat."""
        return self.expect_mail(who, saying="silent", about=about, address=address)

    def expect_recovery(self, who: str, *, about: InboundIntegration):
        """Assert that the next message notifies `who` that it recovered."""
        return self.expect_mail(who, saying="recovered", about=about)

    def expect_bundle(self, who: str, *, about: Sequence[InboundIntegration]):
        """Assert that the next message notifies `who` about exactly these heartbeats, in one message."""
        message = self.expect_mail(who, saying=f"{len(about)} ")
        numbers = re.findall(r"(?:/alerts|/r/[\w-]+)/(\d+)/?$", message.body, re.MULTILINE)
        assert sorted(map(int, numbers)) == sorted(self.alert(integration).pk for integration in about), message.body
        for integration in about:
            assert integration.name in message.body
        return message

    def expect_nothing_else(self) -> None:
        """Assert that no mail is left that was not expected."""
        left = [f"{message.to}: {message.subject}" for message in self.mails[self._looked_at :]]
        assert not left, left
