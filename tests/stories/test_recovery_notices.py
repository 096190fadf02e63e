"""All is well.

One short notice to each person who was notified, over one method, and never by a call (domain: timing 6).
"""

from ipaddress import ip_network

import pytest

from accounts.models.contact_methods import ContactMethod
from accounts.models.users import User
from alerting.services.alerts import assign, close
from escalation.channels import push
from escalation.channels.smtp import EmailBackend
from escalation.models.notifications import Notification
from tests.providers.push import PushService
from tests.providers.server import Provider, answer
from tests.providers.twilio import SID, TOKEN, Twilio
from tests.world import World, minutes, seconds

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("nothing_else_was_sent")]

NUMBERS = {"ana": "+4915110000001", "ben": "+4915110000002"}


@pytest.fixture(autouse=True)
def loopback_is_allowed(settings):
    settings.OUTGOING_ALLOW = [ip_network("127.0.0.1/32")]


@pytest.fixture
def closing():
    """Return a function that keeps a provider until the test has ended."""
    made: list[Provider] = []

    def keep(provider):
        made.append(provider)
        return provider

    yield keep
    for provider in made:
        provider.close()


@pytest.fixture
def twilio(settings, closing):
    server = closing(Twilio())
    settings.TWILIO_URL = server.url
    settings.TWILIO_ACCOUNT_SID, settings.TWILIO_AUTH_TOKEN = SID, TOKEN
    settings.TWILIO_FROM = settings.TWILIO_VOICE_FROM = "+15550001111"
    settings.SMS_PROVIDERS = settings.VOICE_PROVIDERS = ["twilio"]
    server.looked_at = 0
    yield server
    assert len(server.requests) == server.looked_at, "a phone rang that nobody looked at"


def woken(twilio):
    """Return what came over the wire to Ana's phone: `call`, or the text of an SMS."""
    twilio.looked_at = len(twilio.requests)
    forms = [request.form for request in twilio.requests]
    assert {form["To"] for form in forms} <= {NUMBERS["ana"]}
    return [form.get("Body", "call") for form in forms]


def method(world, who, kind, address=None, **fields):
    """Give a person a contact method that was verified."""
    return world.person(who).contact_methods.create(
        **{
            "kind": kind,
            "label": f"{kind.title()}-Own",
            "address": address or NUMBERS[who],
            "position": ContactMethod.objects.filter(user=world.person(who)).count(),
            "verified_at": world.now,
        }
        | fields
    )


def official(world, who):
    return world.person(who).contact_methods.get(label="Email-Official")


def silent(world, name="backup", **fields):
    job = world.heartbeat(name, every=minutes(5), **{"recipients": ["ana"]} | fields)
    world.advance(minutes(5))
    return job


def back(world, *jobs):
    for job in jobs:
        world.ping(job)
    world.beat()
    world.advance(seconds(10))


def notices(about):
    return sorted(
        (str(row.recipient), row.label, row.status)
        for row in Notification.objects.filter(kind="recovery", alert__integration_id=about.pk)
    )


def test_who_was_called_texted_and_mailed_learns_by_one_mail_that_all_is_well(world: World, twilio):
    method(world, "ana", "voice", repeat_count=1, repeat_gap_minutes=1)
    method(world, "ana", "sms")
    job = silent(world)
    world.advance(minutes(1))
    world.expect_page("ana", about=job)
    calls = woken(twilio)
    assert sorted(said[:4] for said in calls) == ["High", "call", "call"]
    back(world, job)
    message = world.expect_recovery("ana", about=job)
    assert message.subject.startswith("[Recovered]")
    assert woken(twilio) == calls
    world.expect_nothing_else()


def test_who_has_nothing_but_a_phone_to_be_called_learns_it_by_mail(world: World, twilio):
    method(world, "ana", "voice")
    policy = world.policy(notify_using="centralized", steps=[{"role": "primary", "contact_labels": ["Voice-Own"]}])
    job = silent(world, escalation_policy=policy)
    back(world, job)
    world.expect_recovery("ana", about=job)
    assert woken(twilio) == ["call"]
    world.expect_nothing_else()


def test_push_comes_before_mail_also_where_the_page_did_not_go_there(world: World, closing):
    service = closing(PushService())
    service.key = push.public_key()
    # Long after the page: the alert is over before it would be used for that.
    method(world, "ana", "push", service.subscription, delay_minutes=30)
    job = silent(world)
    world.expect_page("ana", about=job)
    assert service.shown == []
    back(world, job)
    (shown,) = service.shown
    assert "Recovered" in str(shown)
    world.expect_nothing_else()


@pytest.mark.parametrize(("priority", "pushed"), [("low", 0), ("critical", 2)])
def test_a_recovery_comes_over_what_is_used_for_such_alerts(world: World, closing, priority, pushed):
    service = closing(PushService())
    service.key = push.public_key()
    method(world, "ana", "push", service.subscription, from_priority="critical")
    job = silent(world, escalation_policy=world.policy(priority=priority, steps=[{"role": "primary"}]))
    world.expect_page("ana", about=job)
    back(world, job)
    assert len(service.shown) == pushed
    if not pushed:
        world.expect_recovery("ana", about=job)
    world.expect_nothing_else()


def test_an_sms_is_used_where_every_quieter_address_is_refused(world: World, twilio):
    sms = method(world, "ana", "sms")
    ContactMethod.objects.filter(pk=official(world, "ana").pk).update(failing_since=world.now - minutes(90))
    job = silent(world)
    back(world, job)
    world.expect_page("ana", about=job)
    number = world.alert(job).pk
    page, recovery = woken(twilio)
    assert page.startswith(f"High #{number}: backup is silent.")
    assert recovery.startswith(f"Recovered #{number}: backup. ")
    assert notices(job) == [("Ana", sms.label, "accepted")]


def test_what_is_not_in_its_window_or_not_in_use_or_not_verified_is_not_used(world: World, closing):
    hook = closing(Provider(usual=lambda _: answer(200)))
    for place, (kind, fields) in enumerate(
        {
            "chat": {"windows": [{"days": ["sunday"], "starts": "08:00", "ends": "09:00", "days_later": 0}]},
            "webhook": {"enabled": False},
            "email": {"verified_at": None, "address": "new@example.com", "position": 0},
        }.items()
    ):
        method(world, "ana", kind, **{"address": f"{hook.url}/{place}"} | fields)
    ContactMethod.objects.filter(label="Email-Official").update(failing_since=world.now - minutes(90))
    job = silent(world)
    back(world, job)
    world.expect_page("ana", about=job)
    world.expect_recovery("ana", about=job)
    # For want of another, although its address was refused before.
    assert notices(job) == [("Ana", "Email-Official", "accepted")]
    assert hook.requests == []


def test_what_failed_for_the_page_is_not_what_carries_the_notice(world: World, closing):
    hook = closing(Provider(usual=lambda _: answer(410)))
    chat = method(world, "ana", "chat", f"{hook.url}/1")
    ContactMethod.objects.filter(label="Email-Official").update(failing_since=world.now - minutes(90))
    job = silent(world)
    assert world.alert(job).notifications.get(label=chat.label).status == "failed"
    ContactMethod.objects.filter(pk=chat.pk).update(failing_since=None)
    ContactMethod.objects.filter(label="Email-Official").update(failing_since=None)
    other = closing(Provider(usual=lambda _: answer(200)))
    method(world, "ana", "webhook", f"{other.url}/2")
    back(world, job)
    world.expect_page("ana", about=job)
    world.expect_recovery("ana", about=job)
    assert other.requests == []
    assert notices(job) == [("Ana", "Email-Official", "accepted")]


def test_recoveries_that_come_together_go_in_one_message(world: World, twilio):
    world.bundle(seconds(5))
    method(world, "ana", "voice")
    method(world, "ana", "email", "ana@home.example.com", delay_minutes=30)
    jobs = [silent(world, "first")] + [
        world.heartbeat(name, every=minutes(5), recipients=["ana"]) for name in ("b", "c")
    ]
    world.advance(minutes(6))
    assert len(world.unread()) == 3
    calls = len(woken(twilio))
    for job in jobs:
        world.ping(job)
        world.advance(seconds(1))
    world.advance(minutes(2))
    first, second = (world.alert(job).pk for job in jobs[:2])
    assert [(message.to, message.subject) for message in world.unread()] == [
        (["ana@example.com"], f"[Recovered] 3 heartbeats have recovered: #{first} first, #{second} b and 1 more"),
    ]
    assert len(woken(twilio)) == calls


def test_a_person_may_want_none(world: World, client_for, client):
    job = silent(world, recipients=["ana", "ben"])
    world.expect_page("ana", about=job)
    world.expect_page("ben", about=job)
    ana = world.person("ana")
    api = client_for(ana)
    assert api.get("/api/v1/users/me/").json()["recovery_notices"] is True
    changed = api.patch("/api/v1/users/me/", {"recovery_notices": False}, format="json")
    assert changed.json()["recovery_notices"] is False
    assert "recovery_notices" not in api.get(f"/api/v1/users/{ana.pk}/").json()
    back(world, job)
    world.expect_recovery("ben", about=job)
    world.expect_nothing_else()
    client.force_login(ana)
    client.post("/profile/", {"name": "Ana", "time_zone": "UTC", "recovery_notices": "on"})
    assert User.objects.get(pk=ana.pk).recovery_notices
    assert 'name="recovery_notices"' in client.get("/profile/").content.decode()
    client.post("/profile/", {"name": "Ana", "time_zone": "UTC"})
    assert not User.objects.get(pk=ana.pk).recovery_notices


def test_a_centralized_policy_decides_also_over_what_the_recovery_comes(world: World, twilio):
    method(world, "ana", "sms")
    policy = world.policy(
        notify_using="centralized", steps=[{"role": "primary", "contact_labels": ["SMS-Own", "Voice-Own"]}]
    )
    method(world, "ana", "voice", label="Voice-Own")
    job = silent(world, escalation_policy=policy)
    back(world, job)
    assert sorted(said.split("#")[0] for said in woken(twilio)) == ["High ", "Recovered ", "call"]
    world.expect_nothing_else()


def test_a_stakeholder_learns_it_too_and_whoever_has_left_does_not(world: World):
    world.person("stan", kind="stakeholder")
    job = silent(world, recipients=["ana", "ben", "stan"])
    for name in ("ana", "ben", "stan"):
        world.expect_page(name, about=job)
    User.objects.filter(pk=world.person("ben").pk).update(is_active=False)
    back(world, job)
    for name in ("ana", "stan"):
        world.expect_recovery(name, about=job)
    world.expect_nothing_else()
    assert [who for who, _, _ in notices(job)] == ["Ana", "Stan"]


def test_who_was_paged_assigned_and_the_last_resort_learns_it_once(world: World):
    olga = world.person("olga", roles=["Owner"])
    job = silent(world, recipients=[])
    world.expect_mail("olga", saying="Nobody was reached", about=job)
    assign(world.alert(job), actor=world.person("adam"), to=olga, now=world.now)
    world.advance(seconds(5))
    back(world, job)
    world.expect_recovery("olga", about=job)
    world.expect_nothing_else()


def test_whom_no_message_reached_hears_nothing(world: World, mailbox):
    mailbox.refusals["ana@example.com"] = (451, b"4.3.0 no mail today")
    job = silent(world)
    mailbox.refusals.clear()
    back(world, job)
    assert notices(job) == []
    world.expect_nothing_else()


@pytest.fixture
def comes_back_while_it_is_sent(world, monkeypatch):
    """Let the signal of `job[0]` come back while its page is on its way; the mail server answers as `job[1]` says."""
    job: list = []
    usual = EmailBackend.send_messages

    def send(backend, messages):
        if job and "is silent" in messages[0].subject:
            world.ping(job[0])
            world.work("detector")
            if not job[1]:
                raise OSError("the line broke")
        return usual(backend, messages)

    monkeypatch.setattr(EmailBackend, "send_messages", send)
    return job


@pytest.mark.parametrize("arrives", [True, False])
def test_a_page_that_is_under_way_decides_whether_there_is_anything_to_take_back(
    world: World, comes_back_while_it_is_sent, arrives
):
    job = world.heartbeat("backup", every=minutes(5), recipients=["ana"])
    comes_back_while_it_is_sent += [job, arrives]
    world.advance(minutes(5) + seconds(2))
    assert world.alert(job).close_reason == "closed by heartbeat"
    if arrives:
        world.expect_page("ana", about=job)
        world.expect_recovery("ana", about=job)
    world.expect_nothing_else()
    assert notices(job) == [("Ana", "Email-Official", "accepted" if arrives else "superseded")]
    world.ticking = True
    comes_back_while_it_is_sent.clear()
    world.advance(minutes(4))
    world.expect_nothing_else()


def test_what_a_group_shares_learns_it_as_it_learned_of_the_alert(world: World):
    team = world.team("Ops", primary=["ana"])
    world.share(team, "ops@example.com")
    world.share(team, "desk@example.com", label="Desk")
    job = silent(world, recipients=[], recipient_groups=[team])
    assert len(world.unread()) == 3
    back(world, job)
    assert sorted(message.to[0] for message in world.unread()) == [
        "ana@example.com",
        "desk@example.com",
        "ops@example.com",
    ]


def test_an_alert_that_a_person_closes_takes_nothing_back(world: World):
    job = silent(world, recipients=["ana", "ben"])
    for who in ("ana", "ben"):
        world.expect_page(who, about=job)
    close(world.alert(job), actor=world.person("ana"), now=world.now)
    world.advance(seconds(10))
    back(world, job)
    world.expect_nothing_else()
