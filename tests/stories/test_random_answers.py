"""Whatever goes to one phone, in whatever order, and whatever is answered: the right alert is acted on, or none.

By hand, much longer: `script/test tests/stories/test_random_answers.py --hypothesis-profile=long`.
"""

import uuid
from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple

import pytest
from django.db import transaction
from django.db.models import Count
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from accounts.models.contact_methods import ContactMethod
from alerting.services.alerts import assign, close_alerts
from alerting.states import LIVE
from escalation.channels.base import DeliveryError, Message
from escalation.channels.message_kinds import MessageKind
from escalation.engine.advance import advance_escalations
from escalation.models.notifications import Notification
from escalation.notifications.claim import claim
from escalation.notifications.deliver import deliver_due
from escalation.notifications.notices.recoveries import write_recovery_notices
from escalation.notifications.outcomes import DeliveryOutcome, record
from escalation.notifications.providers import phone
from escalation.notifications.providers.rate_limits import PER_PHONE, acquire
from escalation.responses.replies.answer_replies import answer_sms
from tests import factories
from tests.integration.escalation.posting import PHONE, page

pytestmark = pytest.mark.django_db

PEOPLE = ("Ana", "Ben")
STEPS = st.one_of(
    st.tuples(st.just("open"), st.integers(0, 11)),
    st.tuples(st.just("pass"), st.sampled_from([1, 5, 20, 60])),
    st.tuples(st.just("recover"), st.integers(0, 5)),
    st.tuples(st.just("refuse"), st.integers(1, 3)),
    st.tuples(st.just("unknown"), st.just(1)),
    st.tuples(st.just("late"), st.just(1)),
    st.tuples(st.just("limit"), st.just(1)),
    st.tuples(st.just("take"), st.integers(0, 5)),
    st.tuples(st.just("reply"), st.sampled_from(["8", "8", "8", "7", "9", "6", "8 please", "what?"])),
)


class Went(NamedTuple):
    """A message that went to the phone, or may have."""

    alerts: frozenset[int]
    person: str
    at: datetime
    is_recovery: bool = False


@dataclass
class Story:
    """One phone: what went to it, as the wire saw it, and who of its people was notified of which alerts."""

    now: datetime
    sent: list[Went] = field(default_factory=list)
    doubtful: list[Went] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    claimed: list = field(default_factory=list)
    notified: defaultdict[str, set[int]] = field(default_factory=lambda: defaultdict(set))
    answers: list[str] = field(default_factory=list)

    def send(self, _kind: str, *, message: Message, text: str) -> str:
        """Take what goes over the wire, or fail as the script says."""
        fault = self.faults.pop(0) if self.faults else ""
        if fault == "refuse":
            raise DeliveryError("500 away")
        went = self.went(Notification.objects.filter(message_id=message.id, status="sending"), kind=message.kind)
        for number in went.alerts if len(went.alerts) < 3 else ():
            assert f"#{number}" in text, text
        if fault == "unknown":
            self.doubtful.append(went)
            raise DeliveryError("no answer", uncertain=True, permanent=True)
        self.sent.append(went)
        self.doubtful.clear()
        return f"SM{len(self.sent)}"

    def went(self, carried, *, kind: str) -> Went:
        """Note to whom these notifications go."""
        rows = list(carried.select_related("user"))
        went = Went(frozenset(row.alert_id for row in rows), rows[0].user.name, self.now, kind == MessageKind.RECOVERY)
        self.notified[went.person] |= went.alerts
        return went


@pytest.mark.slow
@pytest.mark.timeout(0)
def test_a_reply_acts_on_the_last_message_or_says_why_not_and_what_is_open(db, now, monkeypatch, settings):
    use_a_fake_twilio(settings)

    def usual(steps, bundles, recoveries_by_sms, two_people):
        with transaction.atomic():
            play(
                steps,
                bundles=bundles,
                recoveries_by_sms=recoveries_by_sms,
                two_people=two_people,
                now=now,
                monkeypatch=monkeypatch,
            )
            transaction.set_rollback(True)

    chosen = {} if _is_long() else {"max_examples": 25, "phases": [Phase.explicit, Phase.reuse, Phase.generate]}
    settings_of = _settings(**chosen, deadline=None, suppress_health_check=list(HealthCheck))
    of_all = given(st.lists(STEPS, min_size=4, max_size=25), st.booleans(), st.booleans(), st.booleans())
    settings_of(of_all(usual))()


@pytest.mark.parametrize("bundles", [False, True])
def test_recoveries_do_reach_the_phone_and_count_as_the_last_message(db, now, monkeypatch, settings, bundles):
    use_a_fake_twilio(settings)
    steps = [("open", 1), ("pass", 20), ("recover", 1), ("pass", 5), ("reply", "9"), ("reply", "8")]
    story = play(steps, bundles=bundles, recoveries_by_sms=True, two_people=False, now=now, monkeypatch=monkeypatch)
    assert story.sent[-1].is_recovery
    assert story.answers[0].startswith("#"), "the alert that is over is named"
    assert "Nothing was changed. Still open" in story.answers[0]
    assert "is over. #" in story.answers[1]
    assert "is yours" in story.answers[1]


def test_of_two_people_each_is_reached_over_the_one_phone(db, now, monkeypatch, settings):
    use_a_fake_twilio(settings)
    steps = [("open", 0), ("pass", 5), ("open", 4), ("pass", 5), ("reply", "8"), ("open", 8), ("pass", 5)]
    story = play(steps, bundles=False, recoveries_by_sms=False, two_people=True, now=now, monkeypatch=monkeypatch)
    assert [went.person for went in story.sent[:2]] == ["Ana", "Ben"]
    assert {went.person for went in story.sent[2:]} == {"Ana", "Ben"}
    assert story.answers[0].startswith("As Ben: #")


def test_who_takes_all_takes_what_came_by_mail_because_the_phone_refused_it(db, now, monkeypatch, settings):
    use_a_fake_twilio(settings)
    steps = [("open", 7), ("pass", 20), ("refuse", 1), ("reply", "8"), ("open", 4), ("pass", 5), ("reply", "8")]
    story = play(steps, bundles=True, recoveries_by_sms=True, two_people=True, now=now, monkeypatch=monkeypatch)
    assert "4 alerts are yours" in story.answers[0]
    assert "1 alert is yours" in story.answers[1]


def use_a_fake_twilio(settings):
    settings.SMS_PROVIDERS = ["twilio"]
    settings.TWILIO_AUTH_TOKEN = "token"


def _is_long():
    return settings.get_current_profile_name() == "long"


_settings = settings


def play(steps, *, bundles, recoveries_by_sms, two_people, now, monkeypatch):
    """Play the steps and check each reply; return the story.

    Recoveries prefer mail; they come by SMS to people whose e-mail is refused. `two_people` share the phone.
    """
    organization = factories.OrganizationFactory()
    organization.bundle_seconds = 5 if bundles else 0
    organization.save()
    people = [factories.UserFactory(organization=organization, name=name) for name in PEOPLE[: 1 + two_people]]
    for person in people:
        person.contact_methods.update(
            delay_minutes=600, position=9, failing_since=now - timedelta(minutes=90) if recoveries_by_sms else None
        )
        ContactMethod.objects.create(
            user=person,
            kind="sms",
            label="SMS",
            address=PHONE,
            verified_at=now,
            repeat_count=2,
            repeat_gap_minutes="0.5",
        )
    policy = factories.PolicyFactory(organization=organization, steps=[{"role": "primary"}])
    story = Story(now)
    monkeypatch.setitem(phone.PROVIDERS, "twilio", phone.Provider("Twilio", story.send))
    other = factories.UserFactory(organization=organization, name="Cem")

    def tick():
        advance_escalations(now=story.now)
        deliver_due(now=story.now)

    def pick(number):
        alerts = list(organization.alerts.filter(status__in=sorted(LIVE)).order_by("id"))
        return alerts[number % len(alerts)] if alerts else None

    for what, value in steps:
        story.now += timedelta(seconds=1)
        if what == "open":
            # One to four alerts, to the first person, to the last or to all.
            users = (people[:1], people[-1:], people)[value // 4]
            for _ in range(value % 4 + 1):
                page(organization, policy=policy, users=users, now=story.now, name=f"job {organization.alerts.count()}")
            tick()
        elif what == "pass":
            for _ in range(min(value, 6)):
                story.now += timedelta(seconds=value / min(value, 6))
                tick()
        elif what == "recover" and (alert := pick(value)):
            close_alerts([alert.pk], reason="closed by heartbeat", now=story.now)
            write_recovery_notices([alert.pk], now=story.now)
            tick()
        elif what in {"refuse", "unknown"}:
            story.faults += [what] * value
        elif what == "limit":
            for pk in ContactMethod.objects.filter(address=PHONE).values_list("pk", flat=True):
                while acquire(f"contact method {pk}", PER_PHONE, now=story.now) is None:
                    pass
        elif what == "late":
            late(story)
        elif what == "take" and (alert := pick(value)):
            assign(alert, actor=other, to=other, now=story.now)
        elif what == "reply":
            reply(story, organization, value, two_people=two_people)
    return story


def late(story):
    """Send what is due, and write down only at the next step what came of it."""
    claimed = list(claim("sms", due_by=story.now, now=story.now, limit=1).messages)
    carried = [
        story.went(Notification.objects.filter(message_id=each.message_id), kind=each.notification.kind)
        for each in claimed
    ]
    story.doubtful += carried
    story.claimed.append((claimed, carried))


def finish(story):
    unsure = []
    for claimed, carried in story.claimed:
        for each, went in zip(claimed, carried, strict=True):
            if record([(each, DeliveryOutcome(provider_id="late"))], now=story.now):
                story.sent.append(went._replace(at=story.now))
            else:  # given up meanwhile, as a message that may have arrived
                unsure.append(went)
    if len(unsure) < sum(len(claimed) for claimed, _ in story.claimed):
        story.doubtful[:] = unsure
    story.claimed.clear()


def reply(story, organization, text, *, two_people):
    def look():
        rows = organization.alerts.annotate(answers=Count("responses"))
        fields = ("status", "owner__name", "acknowledged_by", "answers")
        return {pk: rest for pk, *rest in rows.values_list("pk", *fields)}

    before = look()
    said = answer_sms(PHONE, text, reference=uuid.uuid4().hex[:34], now=story.now)
    after = look()
    story.answers.append(said)
    changed = {pk for pk in before if before[pk] != after[pk]}
    # What went at the same moment as the last message may have been the last as well.
    possible = [went for went in story.sent if went.at == story.sent[-1].at] + story.doubtful
    if not possible:
        assert (said, changed) == ("", set())
        return
    assert said, text
    people = {went.person for went in possible}
    if two_people:
        assert said.startswith(tuple(f"As {person}: " for person in people)), (said, people)
        people = {person for person in people if said.startswith(f"As {person}: ")}
    by_mail = Notification.objects.filter(user__name__in=people, accepted_at__isnull=False).exclude(channel="sms")
    waiting = {pk for person in people for pk in story.notified[person]} | set(
        by_mail.values_list("alert_id", flat=True)
    )
    waiting = {pk for pk in waiting if before[pk][0] in LIVE and before[pk][1] is None}
    if changed:
        check_change(changed, possible, waiting=waiting, said=said)
        if after_owner := {after[pk][1] for pk in changed if before[pk][1] != after[pk][1]}:
            assert after_owner == people, (after_owner, said)
    else:
        why = ("Nothing", "nothing", "already did this", "is on hold")
        assert any(word in said for word in why), said
        named = any(f"#{pk} " in said or f" {pk}" in said for pk in waiting)
        assert named or not waiting or "/r/" in said or "Nothing else" in said, (said, waiting)
    finish(story)


def check_change(changed: Collection[int], possible: Collection[Went], *, waiting: Collection[int], said: str):
    """Check that what was acted on is what the last message was about, and that there was no doubt about that."""
    assert all(f"#{pk}" in said for pk in changed) or len(changed) > 1, said
    meant = {went.alerts for went in possible}
    assert len(meant) == 1, (changed, possible, said)
    (last,) = meant
    own = last & set(waiting)
    if not own and len(changed) == 1 and changed == waiting - last:
        return  # the last is over, and the only other one takes its place
    if len(last) > 1:
        # All of a bundle, and with them whatever else its reader was notified of.
        assert own <= changed <= own | set(waiting), (changed, possible, said)
    else:
        assert changed <= last, (changed, possible, said)
