"""Two answers at once, over real connections: the database lets one in, and the other is told what that one did."""

import pytest
from django.db import transaction

from alerting.models import Alert, TimelineEntry
from alerting.states import Action
from escalation.models import Notification, Response
from escalation.selectors import told_in
from escalation.services import responses
from escalation.services.responses import Outcome, respond
from integrations.services.misses import detect_misses
from tests.concurrency.test_detectors import at_once, overtaken, silent_heartbeats
from tests.factories import UserFactory

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.serial]


@pytest.fixture
def told(now):
    silent_heartbeats(1, now=now)
    detect_misses(now=now)
    return Notification.objects.get()


def answer(told, action, *, now, reference=None):
    """Answer as a door does: with rows read over this connection."""
    return respond(told_in(told.pk).get(), action, via=Response.Via.PAGE, reference=reference or str(told.pk), now=now)


def entries(kind):
    return TimelineEntry.objects.filter(kind=kind).count()


def test_a_button_pressed_eight_times_at_once_counts_once(told, now):
    answers = []

    raised = at_once(*[lambda: answers.append(answer(told, Action.ESCALATE, now=now)) for _ in range(8)])

    assert raised == []
    outcomes = [one.outcome for one in answers]
    assert (outcomes.count(Outcome.DONE), outcomes.count(Outcome.ALREADY)) == (1, 7)
    assert entries("escalated") == 1
    assert Response.objects.count() == 1


def test_without_the_row_of_the_use_it_would_count_eight_times(told, now, monkeypatch):
    """The negative control: each use under a reference of its own, and nobody looks whether it is so already."""
    monkeypatch.setattr(responses, "hindrance", lambda *_: "")

    raised = at_once(*[lambda n=n: answer(told, Action.ESCALATE, now=now, reference=f"link {n}") for n in range(8)])

    assert raised == []
    assert entries("escalated") == 8


def test_the_second_waits_for_the_first_and_is_told_what_it_did(told, now):
    answers = []

    overtaken(
        by=lambda: answer(told, Action.ASSIGN, now=now),
        call=lambda: answers.append(answer(told, Action.ASSIGN, now=now)),
    )

    [second] = answers
    assert second.outcome is Outcome.ALREADY
    assert "Ana did this already" in second.said
    assert entries("assigned") == 1


def test_when_the_first_does_not_come_about_the_second_is_done(told, now):
    with transaction.atomic():
        answer(told, Action.ASSIGN, now=now)
        transaction.set_rollback(True)

    assert answer(told, Action.ASSIGN, now=now).outcome is Outcome.DONE
    assert Response.objects.count() == entries("assigned") == 1


def test_two_people_who_take_it_at_once_one_gets_it_and_the_other_is_told_who(told, now):
    ben = UserFactory(organization=told.user.organization, name="Ben", roles=["App Admin"])
    method = ben.contact_methods.get()
    Notification.objects.filter(pk=told.pk).update(envelope=told.pk)
    second = Notification.objects.create(
        organization=ben.organization,
        alert=told.alert,
        run=told.run,
        user=ben,
        contact_method=method,
        channel="email",
        label=method.label,
        address=method.address,
        step=told.step,
        created_at=now,
        next_attempt_at=now,
    )
    answers = []

    overtaken(
        by=lambda: answer(told, Action.ASSIGN, now=now),
        call=lambda: answers.append(answer(second, Action.ASSIGN, now=now)),
    )

    assert [one.outcome for one in answers] == [Outcome.NOT_POSSIBLE]
    assert "Ana took the alert" in answers[0].said
    assert Alert.objects.get().owner == told.user
    assert list(Response.objects.values_list("user__name", flat=True)) == ["Ana"]
