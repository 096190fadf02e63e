"""Whoever acknowledged has answered.

Their own later methods, repeats and retries end, by whatever way they answered.
"""

import re

import pytest

from alerting.states import Action
from alerting.via import CONSOLE
from escalation.responses.act import act
from tests.chats import known_in_chat
from tests.integration.escalation.posting import bring_mail, press_slack
from tests.stories.phones import BASE, Phones
from tests.world import World, minutes, seconds

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("nothing_else_was_sent")]

AT_ONCE, CALLED, LATE_SMS, LATE_CALL = "+4915112345670", "+4915112345671", "+4915112345672", "+4915112345673"
WAYS = ["link", "sms", "call", "mail", "slack", "console", "api"]


@pytest.fixture(autouse=True)
def endpoints(settings):
    settings.SLACK_SIGNING_SECRET = "slack-secret"
    settings.REPLY_ADDRESS, settings.INBOUND_MAIL_SECRET = "alerts@reply.example.org", "mail-secret"


@pytest.fixture
def ana(world: World, phones: Phones):
    """Ana gets a mail (twice again, a minute apart), an SMS and a call at once; an SMS after 24 s, a call after 36."""
    ana = world.person("ana")
    known_in_chat(ana)
    ana.contact_methods.update(repeat_count=2, repeat_gap_minutes=1)
    phones.give("ana", "sms", AT_ONCE, label="SMS")
    phones.give("ana", "voice", CALLED, label="Call")
    phones.give("ana", "sms", LATE_SMS, label="Late SMS", delay=0.4)
    phones.give("ana", "voice", LATE_CALL, label="Late call", delay=0.6)
    return ana


def silent(world: World, *, secondary=("ben",), repeats=0, **role):
    """Let a heartbeat go silent whose Primary is Ana; the Secondary follows after five minutes."""
    steps = [{"role": "primary", **role}, {"role": "secondary", "wait_minutes": 5}]
    team = world.team("Database", primary=["ana"], secondary=secondary)
    policy = world.policy(steps=steps, repeats=repeats)
    made = world.heartbeat("backup", every=minutes(5), escalation_policy=policy, recipient_groups=[team])
    world.advance(minutes(5))
    return made


def first_messages(world: World, phones: Phones, about):
    """Return the mail, the SMS and the call that Ana gets at once, in whatever order they went."""
    page = world.expect_page("ana", about=about)
    found = phones.expect_any({("sms", AT_ONCE), ("voice", CALLED)})
    phones.expect_nothing_else()
    return page, found[("sms", AT_ONCE)], found[("voice", CALLED)]


def acknowledge(world: World, phones: Phones, about, way: str, messages, client_for) -> None:
    page, _, call = messages
    ana, alert, client = world.person("ana"), world.alert(about), phones.client
    if way == "link":
        link = re.findall(rf"{BASE}(/r/[\w-]+)", page.body)[0]
        assert "You acknowledged" in client.post(link, {"action": "acknowledge"}, follow=True).content.decode()
    elif way == "sms":
        assert "You acknowledged" in phones.reply(AT_ONCE, "7", sid=f"SM{world.now:%H%M%S}")
    elif way == "call":
        assert "You acknowledged" in "".join(phones.press(call, "7").itertext())
    elif way == "mail":
        raw = f"From: Ana <ana@example.com>\r\nTo: {page.reply_to[0]}\r\nMessage-ID: <{world.now:%H%M%S}@x>\r\n\r\nack\r\n"
        _, event = bring_mail(client, raw.encode())
        assert "You acknowledged" in event.result[0]["reason"]
        world.advance(seconds(1))
        world.expect_mail("ana", saying="You acknowledged")
    elif way == "slack":
        notification = alert.notifications.filter(user=ana, channel="email").latest("created_at")
        assert "You acknowledged" in press_slack(client, notification, "acknowledge").json()["text"]
    elif way == "console":
        client.force_login(ana)
        shown = client.get(f"/alerts/{alert.pk}/").content.decode()
        assert f"/alerts/{alert.pk}/acknowledge/" in shown
        assert "Acknowledged." in client.post(f"/alerts/{alert.pk}/acknowledge/", follow=True).content.decode()
    else:
        assert client_for(ana).post(f"/api/v1/alerts/{alert.pk}/acknowledge/").status_code == 200


@pytest.mark.parametrize("way", WAYS)
def test_their_later_methods_repeats_and_retries_end(world: World, phones: Phones, ana, client_for, way):
    backup = silent(world, retries=2, retry_interval_minutes=2)
    messages = first_messages(world, phones, backup)
    world.advance(seconds(10))
    acknowledge(world, phones, backup, way, messages, client_for)
    world.advance(minutes(4))
    phones.expect_nothing_else()
    world.advance(minutes(2))
    world.expect_page("ben", about=backup)
    world.advance(minutes(20))
    phones.expect_nothing_else()


@pytest.mark.parametrize("way", WAYS)
def test_so_it_is_where_somebody_else_had_acknowledged_first(world: World, phones: Phones, ana, client_for, way):
    backup = silent(world)
    messages = first_messages(world, phones, backup)
    world.person("max", roles=["App Admin"])
    act(world.alert(backup), Action.ACKNOWLEDGE, via=CONSOLE, actor=world.person("max"), now=world.now)
    world.advance(seconds(10))
    acknowledge(world, phones, backup, way, messages, client_for)
    world.advance(minutes(4))
    phones.expect_nothing_else()
    world.advance(minutes(1))
    world.expect_page("ben", about=backup)
    phones.expect_nothing_else()


def test_somebody_elses_acknowledgement_or_a_note_ends_nothing_of_theirs(world: World, phones: Phones, ana):
    backup = silent(world)
    first_messages(world, phones, backup)
    world.person("max", roles=["App Admin"])
    act(world.alert(backup), Action.ACKNOWLEDGE, via=CONSOLE, actor=world.person("max"), now=world.now)
    act(world.alert(backup), Action.REPLY, via=CONSOLE, actor=ana, text="Who is there?", now=world.now)
    world.advance(seconds(36))
    phones.expect("sms", LATE_SMS)
    phones.expect("voice", LATE_CALL)
    phones.expect_nothing_else()


@pytest.mark.parametrize("way", WAYS)
def test_a_later_step_notifies_them_again_and_they_can_answer_that_too(
    world: World, phones: Phones, ana, client_for, way
):
    backup = silent(world, secondary=["ana"])
    messages = first_messages(world, phones, backup)
    acknowledge(world, phones, backup, way, messages, client_for)
    world.advance(minutes(4))
    phones.expect_nothing_else()
    world.advance(minutes(1))
    messages = first_messages(world, phones, backup)
    acknowledge(world, phones, backup, way, messages, client_for)
    world.advance(minutes(20))
    phones.expect_nothing_else()
    said = [entry.text for entry in world.alert(backup).timeline.filter(kind="acknowledged")]
    assert said == ["Acknowledged by Ana."] * 2


def test_to_press_it_twice_is_one_answer(world: World, phones: Phones, ana):
    backup = silent(world)
    first_messages(world, phones, backup)
    for _ in range(2):
        act(world.alert(backup), Action.ACKNOWLEDGE, via=CONSOLE, actor=ana, now=world.now)
        world.advance(seconds(5))
    assert world.alert(backup).timeline.filter(kind="acknowledged").count() == 1
    assert "Acknowledged by Ana" in phones.reply(AT_ONCE, "7")
    world.advance(minutes(4))
    phones.expect_nothing_else()


def test_a_repeat_of_the_whole_walk_is_a_new_question(world: World, phones: Phones, ana):
    backup = silent(world, repeats=1)
    first_messages(world, phones, backup)
    act(world.alert(backup), Action.ACKNOWLEDGE, via=CONSOLE, actor=ana, now=world.now)
    world.advance(minutes(5))
    world.expect_page("ben", about=backup)
    phones.expect_nothing_else()
    world.advance(minutes(5))
    first_messages(world, phones, backup)
    act(world.alert(backup), Action.ACKNOWLEDGE, via=CONSOLE, actor=ana, now=world.now)
    world.advance(minutes(5))
    world.expect_page("ben", about=backup)
    world.advance(minutes(20))
    phones.expect_nothing_else()


def test_what_was_acknowledged_is_in_no_bundle_of_theirs(world: World, phones: Phones, ana):
    world.bundle(seconds(5))
    ana.contact_methods.exclude(label__in=["Late SMS", "Email-Official"]).update(enabled=False)
    ana.contact_methods.filter(label="Email-Official").update(delay_minutes=30, repeat_count=0)
    jobs = [world.heartbeat(f"job {number}", every=minutes(5), recipients=["ana"]) for number in range(4)]
    world.advance(minutes(5) + seconds(10))
    act(world.alert(jobs[2]), Action.ACKNOWLEDGE, via=CONSOLE, actor=ana, now=world.now)
    world.advance(seconds(30))
    assert "job 0" in phones.expect("sms", LATE_SMS)["Body"]
    first, second = (world.alert(jobs[number]).pk for number in (1, 3))
    assert f"2 alerts: #{first} job 1, #{second} job 3" in phones.expect("sms", LATE_SMS)["Body"]
    phones.expect_nothing_else()


def test_an_owner_who_acknowledges_a_last_resort_is_not_notified_of_it_again(world: World, phones: Phones, ana):
    olga = world.person("olga", roles=["Owner"])
    olga.contact_methods.update(repeat_count=3, repeat_gap_minutes=1)
    team = world.team("Empty")
    policy = world.policy(steps=[{"role": "primary"}])
    backup = world.heartbeat("backup", every=minutes(5), escalation_policy=policy, recipient_groups=[team])
    world.advance(minutes(5))
    world.expect_mail("olga", saying="Nobody was reached")
    world.advance(minutes(1))
    world.expect_mail("olga", saying="Nobody was reached")
    act(world.alert(backup), Action.ACKNOWLEDGE, via=CONSOLE, actor=olga, now=world.now)
    world.advance(minutes(10))
    phones.expect_nothing_else()


@pytest.mark.parametrize("bundle", [0, 5])
def test_what_was_taken_back_does_not_count_when_another_acknowledges(world: World, phones: Phones, ana, bundle):
    world.bundle(seconds(bundle))
    backup = silent(world)
    first_messages(world, phones, backup)
    others = [world.person("olga", roles=["Owner"]), world.person("max", roles=["App Admin"])]
    for action, actor in zip(
        (Action.ACKNOWLEDGE, Action.UNACKNOWLEDGE, Action.ACKNOWLEDGE), (ana, *others), strict=True
    ):
        act(world.alert(backup), action, via=CONSOLE, actor=actor, now=world.now)
        world.advance(seconds(2))
    world.advance(seconds(40))
    phones.expect_any({("sms", LATE_SMS)})
    phones.expect_any({("voice", LATE_CALL)})


def test_who_was_assigned_it_by_another_says_once_that_they_are_on_it(world: World, phones: Phones, ana):
    backup = silent(world)
    first_messages(world, phones, backup)
    world.advance(seconds(5))
    world.person("max", roles=["App Admin"])
    act(world.alert(backup), Action.ASSIGN, via=CONSOLE, actor=world.person("max"), to=ana, now=world.now)
    world.advance(seconds(1))
    world.expect_mail("ana", saying="Assigned to you")
    phones.expect_any({("sms", AT_ONCE), ("voice", CALLED)})
    phones.expect_nothing_else()
    assert "stays with you" in phones.reply(AT_ONCE, "7")
    world.advance(minutes(9))
    phones.expect_nothing_else()
    assert len(world.mails) == 2
