"""Two answers at once, over real connections: the database lets one in, and the other is shown what that one did."""

import uuid

import pytest
from django.db import transaction

from alerting.models.alerts import Alert, TimelineEntry
from alerting.states import Action
from escalation.models.notifications import Notification
from escalation.models.responses import Response
from escalation.responses import respond as responses
from escalation.responses.respond import ResponseOutcome, respond, take_all
from escalation.responses.selectors import notifications_in
from integrations.heartbeats.detection import detect_misses
from tests.concurrency.test_detectors import at_once, overtaken, silent_heartbeats
from tests.factories import UserFactory

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.serial]


@pytest.fixture
def notification(now):
    silent_heartbeats(1, now=now)
    detect_misses(now=now)
    return Notification.objects.get()


def answer(notification, action, *, now, reference=None):
    """Answer as a endpoint does: with rows read over this connection."""
    return respond(
        notifications_in(notification.pk).get(),
        action,
        via=Response.Via.PAGE,
        reference=reference or str(notification.pk),
        now=now,
    )


def entries(kind):
    return TimelineEntry.objects.filter(kind=kind).count()


def test_a_button_pressed_eight_times_at_once_counts_once(notification, now):
    answers = []

    raised = at_once(*[lambda: answers.append(answer(notification, Action.ESCALATE, now=now)) for _ in range(8)])

    assert raised == []
    outcomes = [one.outcome for one in answers]
    assert (outcomes.count(ResponseOutcome.DONE), outcomes.count(ResponseOutcome.ALREADY)) == (1, 7)
    assert entries("escalated") == 1
    assert Response.objects.count() == 1


def test_without_the_row_of_the_use_it_would_count_eight_times(notification, now, monkeypatch):
    """The negative control: each use under a reference of its own, and nobody looks whether it is so already."""
    monkeypatch.setattr(responses, "why_not_allowed", lambda *_: "")

    raised = at_once(
        *[lambda n=n: answer(notification, Action.ESCALATE, now=now, reference=f"link {n}") for n in range(8)]
    )

    assert raised == []
    assert entries("escalated") == 8


def test_the_second_waits_for_the_first_and_is_shown_what_it_did(notification, now):
    answers = []

    overtaken(
        by=lambda: answer(notification, Action.ASSIGN, now=now),
        call=lambda: answers.append(answer(notification, Action.ASSIGN, now=now)),
    )

    [second] = answers
    assert second.outcome is ResponseOutcome.ALREADY
    assert "Ana already did this" in second.answer_text
    assert entries("assigned") == 1


def test_when_the_first_does_not_come_about_the_second_is_done(notification, now):
    with transaction.atomic():
        answer(notification, Action.ASSIGN, now=now)
        transaction.set_rollback(True)

    assert answer(notification, Action.ASSIGN, now=now).outcome is ResponseOutcome.DONE
    assert Response.objects.count() == entries("assigned") == 1


def test_two_people_who_take_it_at_once_one_gets_it_and_the_other_is_shown_who(notification, now):
    ben = UserFactory(organization=notification.user.organization, name="Ben", roles=["App Admin"])
    method = ben.contact_methods.get()
    Notification.objects.filter(pk=notification.pk).update(message_id=notification.pk)
    second = Notification.objects.create(
        organization=ben.organization,
        alert=notification.alert,
        run=notification.run,
        user=ben,
        contact_method=method,
        channel="email",
        label=method.label,
        address=method.address,
        step=notification.step,
        created_at=now,
        next_attempt_at=now,
    )
    answers = []

    overtaken(
        by=lambda: answer(notification, Action.ASSIGN, now=now),
        call=lambda: answers.append(answer(second, Action.ASSIGN, now=now)),
    )

    assert [one.outcome for one in answers] == [ResponseOutcome.NOT_POSSIBLE]
    assert "Ana took the alert" in answers[0].answer_text
    assert Alert.objects.get().owner == notification.user
    assert list(Response.objects.values_list("user__name", flat=True)) == ["Ana"]


def test_two_people_who_take_all_at_once_get_each_alert_once_whichever_messages_they_answer(now):
    heartbeats = silent_heartbeats(20, now=now)
    detect_misses(now=now)
    Notification.objects.update(status="accepted", accepted_at=now, next_attempt_at=None)
    ana = Notification.objects.first().user
    ben = UserFactory(organization=ana.organization, name="Ben", roles=["App Admin"])
    method = ben.contact_methods.get()
    theirs = list(Notification.objects.order_by("alert_id"))
    for row in theirs:
        row.pk, row.user, row.contact_method, row.address = uuid.uuid4(), ben, method, method.address
    Notification.objects.bulk_create(theirs)
    answers = []

    def take(who, place):
        notification = Notification.objects.filter(user=who).order_by("alert_id")[place]
        notification = notifications_in(notification.pk).get()
        answers.append(
            take_all(
                notification,
                {notification.alert_id or 0},
                via=Response.Via.PAGE,
                reference=str(notification.pk),
                now=now,
            )
        )

    raised = at_once(*[lambda who=who, n=n: take(who, n * 5) for who in (ana, ben) for n in range(4)])

    assert raised == []
    assert entries("assigned") == Response.objects.count() == len(heartbeats)
    assert not Alert.objects.exclude(status="assigned").exists()
    assert [one.outcome for one in answers].count(ResponseOutcome.DONE) >= 1
