"""A harness around injected time: make heartbeats and people, ping, let time pass, and look who was told.

`advance` ticks through the very services that the periodic tasks call, at each second at which something is due, and
passes over the seconds between: a tick with nothing due changes nothing.
"""

import re
from collections.abc import Sequence
from datetime import datetime, timedelta

from django.core import mail
from django.db.models import Min

from accounts.models import ContactMethod, User
from alerting.models import Alert
from escalation.models import EscalationRun, Notification
from escalation.services.delivery import deliver_due
from escalation.services.engine import advance_escalations
from escalation.services.leavers import go_on_without_leavers
from integrations.ingest.record import Arrival, record_pings, record_pulse
from integrations.models import Heartbeat, InboundIntegration, Listening, MaintenanceWindow
from integrations.services.tick import tick
from tests import factories

SECOND = timedelta(seconds=1)
# What works once a second, in the order in which one depends on the other.
PARTS = {
    "detector": tick,
    "leavers": go_on_without_leavers,
    "engine": advance_escalations,
    "delivery": deliver_due,
}


def minutes(value: float) -> timedelta:
    return timedelta(minutes=value)


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

    def heartbeat(self, name: str, *, every: timedelta, tell=(), **fields) -> InboundIntegration:
        """Return a heartbeat whose silence is told to the people in `tell` (names), in five-minute steps."""
        return factories.HeartbeatFactory(
            organization=self.organization,
            name=name,
            interval_minutes=round(every.total_seconds() / 60, 1),
            recipient_users=[self.person(who) for who in tell],
            now=self.now,
            **fields,
        )

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

    def advance(self, by: timedelta, *, at_most_every: timedelta = SECOND) -> None:
        """Let time pass, ticking whenever something is due, and at the end; ticks may be late where they are many."""
        end = self.now + by
        while self.now < end:
            self.now = min(end, max(self.now + at_most_every, self.next_due() if self.ticking else end))
            if self.listening:
                # the pulses of the seconds that were passed over
                Listening.objects.filter(heard_until__lt=self.now - SECOND).update(heard_until=self.now - SECOND)
            self.beat()

    def next_due(self) -> datetime:
        """Return the whole second at which the next row is due."""
        due = [
            Heartbeat.objects.exclude(state__in=["missed", "disabled"]).aggregate(at=Min("deadline_at"))["at"],
            EscalationRun.objects.filter(next_step_at__gt=self.now).aggregate(at=Min("next_step_at"))["at"],
            Notification.objects.filter(next_attempt_at__gt=self.now).aggregate(at=Min("next_attempt_at"))["at"],
            MaintenanceWindow.objects.filter(applied_at=None).aggregate(at=Min("starts_at"))["at"],
        ]
        at = min((moment for moment in due if moment is not None), default=self.now + timedelta(days=40))
        return at if at.microsecond == 0 else at.replace(microsecond=0) + SECOND

    def beat(self) -> None:
        """Do what happens once a second."""
        if self.listening:
            self.pulse()
        if self.ticking:
            for part in PARTS:
                if part not in self.away:
                    self.work(part)

    def pulse(self) -> None:
        """Commit that somebody is listening."""
        record_pulse(now=self.now)

    def work(self, part: str) -> None:
        """Do what one part does once a second."""
        PARTS[part](now=self.now)

    def sleep(self, by: timedelta) -> None:
        """Let time pass with nobody running: no pulse, no tick."""
        self.now += by

    # -- what there is to see -------------------------------------------------------------------------------------
    def alerts(self, about: InboundIntegration | None = None) -> list[Alert]:
        found = Alert.objects.order_by("id")
        return list(found.filter(integration_id=about.pk) if about else found)

    def alert(self, about: InboundIntegration) -> Alert:
        """Return the newest alert about this heartbeat."""
        return self.alerts(about)[-1]

    def heartbeat_of(self, integration: InboundIntegration):
        return type(integration).objects.get(pk=integration.pk).heartbeat

    def expect_mail(
        self, who: str, *, saying: str, about: InboundIntegration | None = None, address: str | None = None
    ):
        """Assert that the next unread message went to `who` and says `saying` (in subject or text).

        It went to their own address, or to the other `address` that is given.
        """
        address = address or self.person(who).email
        assert self._looked_at < len(mail.outbox), f"no message is left; expected one to {who}"
        theirs = [message for message in mail.outbox[self._looked_at :] if message.to == [address]]
        # What became due in the same moment is sent in any order.
        meant = [
            message for message in theirs if saying in message.body and (about is None or about.name in message.body)
        ]
        if theirs:
            message = (meant or theirs)[0]
            at = next(index for index, other in enumerate(mail.outbox) if other is message)
            mail.outbox.insert(self._looked_at, mail.outbox.pop(at))
        message = mail.outbox[self._looked_at]
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
        """Assert that the next message tells `who` that it recovered."""
        return self.expect_mail(who, saying="recovered", about=about)

    def expect_bundle(self, who: str, *, about: Sequence[InboundIntegration]):
        """Assert that the next message tells `who` about exactly these heartbeats, in one message."""
        message = self.expect_mail(who, saying=f"{len(about)} ")
        told = re.findall(r"(?:/alerts|/r/[\w-]+)/(\d+)/?$", message.body, re.MULTILINE)
        assert sorted(map(int, told)) == sorted(self.alert(integration).pk for integration in about), message.body
        for integration in about:
            assert integration.name in message.body
        return message

    def expect_nothing_else(self) -> None:
        left = [f"{message.to}: {message.subject}" for message in mail.outbox[self._looked_at :]]
        assert not left, left
