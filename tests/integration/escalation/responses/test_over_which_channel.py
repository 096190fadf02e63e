"""Each line of a timeline about what a person did says over which channel, for people and for programs."""

import pytest

from alerting.models.alerts import TimelineEntry
from alerting.states import Action
from alerting.via import by_link
from escalation.models.responses import Response
from escalation.responses.respond import answer, answer_as, on_it, respond, take_all
from tests.chats import known_in_chat

pytestmark = pytest.mark.django_db
CHANNELS = [
    (Response.Via.SMS, "sms", "by SMS"),
    (Response.Via.VOICE, "voice", "by phone"),
    (Response.Via.CHAT, "chat", "in Slack"),
    (Response.Via.EMAIL, "email", "by e-mail"),
    (Response.Via.PAGE, "link", "by the link in an SMS"),
]


def lines(alert_id):
    rows = TimelineEntry.objects.filter(alert=alert_id, actor__isnull=False).order_by("id")
    return list(rows.values_list("kind", "via", "how"))


@pytest.mark.parametrize(("via", "channel", "how"), CHANNELS)
def test_what_is_answered_to_a_message_says_so(notification, now, via, channel, how):
    note = notification("sms")
    for action, text in ((Action.ACKNOWLEDGE, "On my way"), (Action.ASSIGN, ""), (Action.CLOSE, "The disk")):
        respond(note, action, via=via, reference=f"{action}", now=now, note=text)
    kinds = ["acknowledged", "replied", "assigned", "closed"]
    assert lines(note.alert_id) == [(kind, channel, how) for kind in kinds]


def test_what_is_answered_to_many_at_once_says_so(notification, now):
    one, two = notification("sms", name="one"), notification("sms", name="two")
    ids = [one.alert_id, two.alert_id]
    take_all(one, ids, via=Response.Via.SMS, reference="SM1", now=now)
    on_it(one, ids, via=Response.Via.EMAIL, reference="M1", now=now)
    for pk in ids:
        assert lines(pk) == [("assigned", "sms", "by SMS"), ("replied", "email", "by e-mail")]


def test_who_presses_in_slack_acts_in_slack(notification, now):
    note = notification("chat", "https://hooks.slack.com/services/x")
    known = known_in_chat(note.user)
    answer_as(note.pk, Action.ESCALATE, scope=known.scope, member=known.member, now=now)
    assert lines(note.alert_id) == [("escalated", "chat", "in Slack")]


def test_who_has_pressed_a_key_acts_by_phone(notification, now):
    note = notification("voice")
    answer(note.pk, Action.ASSIGN, via=Response.Via.VOICE, reference="CA1", now=now)
    assert lines(note.alert_id) == [("assigned", "voice", "by phone")]


@pytest.mark.parametrize(
    ("action", "fields"),
    [
        ("acknowledge", {}),
        ("assign", {}),
        ("give-back", {}),
        ("hold", {}),
        ("resume", {}),
        ("reply", {"text": "On it"}),
        ("responders", {"users": ["ben"]}),
        ("close", {"reason": "done"}),
    ],
)
def test_the_api_says_so_and_shows_it(client_for, notification, person, now, action, fields):
    note = notification("email")
    ana, ben = note.user, person("ben")
    client = client_for(ana)
    if action in {"give-back", "resume"}:
        client.post(
            f"/api/v1/alerts/{note.alert_id}/{'assign' if action == 'give-back' else 'hold'}/", {}, format="json"
        )
    given = {name: [ben.pk] if name == "users" else value for name, value in fields.items()}
    assert client.post(f"/api/v1/alerts/{note.alert_id}/{action}/", given, format="json").status_code == 200
    timeline = client.get(f"/api/v1/alerts/{note.alert_id}/timeline/").json()["results"]
    by_ana = [entry for entry in timeline if entry["actor"] == ana.pk]
    assert by_ana
    assert {(entry["via"], entry["how"]) for entry in by_ana} == {("api", "by API")}
    assert {(entry["via"], entry["how"]) for entry in timeline if entry["actor"] is None} <= {("", "")}


def test_a_sentence_takes_it_in():
    entry = TimelineEntry(text="Closed by Ana: a test.", how="by SMS")
    assert entry.sentence == "Closed by Ana: a test (by SMS)."
    assert TimelineEntry(text="Opened: backup.").sentence == "Opened: backup."
    assert by_link("apprise", signed_in="Cem").how == "by the link in a message, while Cem was signed in"
