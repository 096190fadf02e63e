"""Mails to Email integrations and heartbeats: what opens, pairs, closes and is ignored, and who is notified of it."""

import pytest

from integrations.configuration.edits import rotate_token
from integrations.heartbeats.edits import update_heartbeat
from integrations.inbound.edits import create_event_integration, update_event_integration
from integrations.inbound.mail_events import MAX_OF_SENDER
from integrations.inbound.mail_storing import store_received
from integrations.inbound.mails import read_events
from integrations.inbound.replays import NotReadYet, replay, sample, try_mapping
from integrations.inbound.selectors import email_address
from integrations.models.events import EventState, InboundEvent
from integrations.models.history import Ping
from tests import factories
from tests.world import World, minutes, seconds

pytestmark = pytest.mark.django_db
AT = "@heartbeat.example.org"


@pytest.fixture
def shop(world):
    return world.email("Shop", recipients=["ana"])


def address(integration, key=""):
    return f"{integration.mail_token}{f'+{key}' if key else ''}{AT}"


def what(events):
    """Return what became of a mail to one integration: the action and the reason of its event."""
    (event,) = events
    return event.result[0]["action"], event.result[0]["reason"]


def test_problem_and_recovery_pair_without_configuration(world: World, shop):
    events = world.mail(
        address(shop), From="Nagios <n@x.org>", Subject="PROBLEM: web1 is DOWN", body="Connection refused"
    )
    assert what(events) == ("opened", "")
    world.advance(seconds(2))
    world.expect_mail("ana", saying="web1 is DOWN")
    assert what(world.mail(address(shop), From="n@x.org", Subject="PROBLEM: web2 is DOWN")) == ("opened", "")
    world.advance(seconds(2))
    world.expect_mail("ana", saying="web2 is DOWN")
    assert what(world.mail(address(shop), From="n@x.org", Subject="RECOVERY: web1 is UP")) == ("closed", "")
    one, two = world.alerts(shop)
    assert (one.status, one.source, one.integration_type) == ("closed", "Email", "email")
    assert (two.status, two.subject) == ("open", "web2 is DOWN")
    assert one.long_text == "Connection refused"
    assert events[0].headers["subject"] == "PROBLEM: web1 is DOWN"
    assert EventState.objects.get(pk=shop.pk).event_count == 3


def test_open_words_win_over_close_words(world: World, shop):
    assert what(world.mail(address(shop), Subject="1 Successful Backup, 1 Failed Copy")) == ("opened", "")


def test_a_mail_without_a_word_opens_and_one_that_closes_nothing_is_kept(world: World, shop):
    assert what(world.mail(address(shop), Subject="Disk space on db1", body="Follow up please")) == ("opened", "")
    assert what(world.mail(address(shop), Subject="Backup completed")) == ("ignored", "nothing_to_close")
    assert InboundEvent.objects.filter(state="read").count() == 2


def test_the_key_behind_the_plus_sign_pairs_whatever_the_subjects_are(world: World, shop):
    world.mail(address(shop, "Job-7").upper(), Subject="it failed")
    (alert,) = world.alerts(shop)
    assert alert.source_id == "JOB-7"
    assert what(world.mail(address(shop, "JOB-7"), Subject="all fixed, ok")) == ("closed", "")


def test_the_same_message_id_is_a_replay_and_an_answer_belongs_to_the_first_mails_alert(world: World, shop):
    first = {"Message_ID": "<1@x>", "Subject": "Disk full on db1"}
    (opened,) = world.mail(address(shop), **first)
    assert what(world.mail(address(shop), **first)) == ("replayed", "opened")
    events = world.mail(address(shop), Message_ID="<2@x>", In_Reply_To="<1@x>", Subject="Storage: resolved")
    assert what(events) == ("closed", "")
    assert events[0].result[0]["alert"] == opened.result[0]["alert"]
    # Two keys of one mail are two events.
    keys = world.mail(address(shop, "a"), address(shop, "b"), address(shop, "a"), Message_ID="<3@x>", Subject="down")
    assert [event.result[0]["source_id"] for event in keys] == ["a", "b"]
    assert {event.result[0]["action"] for event in keys} == {"opened"}


@pytest.mark.parametrize(
    ("headers", "sender"),
    [
        ({"Auto_Submitted": "auto-replied (vacation)"}, ""),
        ({"X_Heartbeat_Alert": "7"}, ""),
        ({"Message_ID": "<0190f3c2-0000-7000-8000-000000000000@127.0.0.1>"}, ""),
        ({"In_Reply_To": "<0190f3c2-0000-7000-8000-000000000000@127.0.0.1>"}, ""),
        ({"Content_Type": "multipart/report; boundary=x"}, "<>"),
        ({"Content_Type": "multipart/report; boundary=x", "Return_Path": "<>"}, ""),
    ],
)
def test_a_loop_neither_opens_nor_pings(world: World, shop, settings, headers, sender):
    settings.BASE_URL = "http://127.0.0.1:8000"
    backup = world.heartbeat("backup", every=minutes(5))
    events = world.mail(address(shop), address(backup), sender=sender, Subject="web1 is DOWN", **headers)
    assert [(event.result[0]["action"], event.result[0]["reason"]) for event in events] == [("ignored", "loop")] * 2
    assert world.alerts() == []
    assert not Ping.objects.exists()


@pytest.mark.parametrize(
    "headers",
    [
        {"Auto_Submitted": "auto-generated"},
        {"Precedence": "bulk", "List_Id": "<alerts.x.org>", "X_Auto_Response_Suppress": "All"},
        {"Message_ID": "<cron.1@127.0.0.1>"},
        {"Return_Path": "<>"},
    ],
)
def test_what_monitoring_systems_mark_as_automatic_opens_and_pings(world: World, shop, settings, headers):
    settings.BASE_URL = "http://127.0.0.1:8000"
    backup = world.heartbeat("backup", every=minutes(5))
    events = world.mail(address(shop), address(backup), Subject="[alerts] web1 is DOWN", **headers)
    assert [event.result[0]["action"] for event in events] == ["opened", "pinged"]


def test_a_mail_is_a_ping_received_when_the_mail_was(world: World):
    backup = world.heartbeat("backup", every=minutes(5), recipients=["ana"])
    world.ping(backup)
    world.advance(minutes(4))
    (event,) = world.mail(address(backup), From="Cron <root@db1>", Subject="anything")
    assert event.result == [{"action": "pinged", "alert": None, "source_id": "", "reason": ""}]
    ping = Ping.objects.order_by("received_at").last()
    assert (ping.received_at, ping.user_agent) == (world.now, "mail from root@db1")
    world.advance(minutes(4))
    assert world.alerts() == []
    world.advance(minutes(2))
    assert [alert.status for alert in world.alerts()] == ["open"]
    update_heartbeat(backup, actor=None, now=world.now, enabled=False)
    assert what(world.mail(address(backup), Subject="x")) == ("pinged", "")  # as a ping over HTTP, it is recorded
    backup.heartbeat.refresh_from_db()
    assert backup.heartbeat.state == "disabled"


def test_only_allowed_senders_open_and_no_rule_can_change_that(world: World, shop):
    rules = [{"name": "all", "when": {"all": [{"path": "subject", "op": "exists"}]}, "then": {"action": "open"}}]
    update_event_integration(shop, actor=None, now=world.now, allowed_senders=["@Monitor.org", "root@db1"], rules=rules)
    assert what(world.mail(address(shop), From="M <a@monitor.org>", Subject="a")) == ("opened", "")
    assert what(world.mail(address(shop), From="ROOT@DB1", Subject="b")) == ("opened", "")
    assert what(world.mail(address(shop), From="a@monitor.org.evil", Subject="c")) == ("ignored", "untrusted")
    assert what(world.mail(address(shop), Subject="d")) == ("ignored", "untrusted")


def test_authentication_is_believed_of_the_trusted_server_alone(world: World, shop, settings):
    settings.MAIL_AUTHSERV_ID = "mx.example.org"
    update_event_integration(shop, actor=None, now=world.now, require_authenticated=True)

    def came(*results):
        lines = [f"Authentication-Results: {result}" for result in results]
        raw = "\r\n".join([*lines, "From: a@x.org", f"Subject: mail {InboundEvent.objects.count()}", "", "x"]).encode()
        return what(world.mail(address(shop), raw=raw))

    assert came("mx.example.org; spf=fail smtp.mailfrom=x; dmarc=pass header.from=x.org") == ("opened", "")
    assert came("mx.example.org 1; dkim=fail; dkim=pass header.d=x.org; spf=softfail") == ("opened", "")
    assert came("mx.example.org; dmarc=temperror; spf=fail") == ("opened", "")
    assert came("mx.example.org; dmarc=fail; dkim=pass") == ("ignored", "untrusted")
    # The sender wrote the second one.
    assert came("mx.example.org; dmarc=fail", "mx.example.org; dmarc=pass") == ("ignored", "untrusted")
    assert came("evil.example; dmarc=pass") == ("ignored", "untrusted")
    assert came() == ("ignored", "untrusted")


def test_rules_see_the_parts_of_a_mail(world: World, settings):
    settings.MAIL_AUTHSERV_ID = "mx"
    conditions = [
        ("from.address", "ana@x.org"),
        ("from.name", "Ana"),
        ("to[0]", "shop@x.org"),
        ("subject", "Grüße"),
        ("body", "some text"),
        ('headers["x-host"]', "db1"),
        ("auth.spf", "pass"),
        ("spam", "yes"),
    ]
    for path, value in conditions:
        rule = {
            "name": path,
            "when": {"all": [{"path": path, "op": "equals", "value": value}]},
            "then": {"priority": "low"},
        }
        shop = world.email(f"by {path}", recipients=["ana"], rules=[rule], no_rule="ignore")
        came = {
            "From": "Ana <ana@x.org>",
            "To": "<shop@x.org>",
            "Subject": "=?iso-8859-1?q?Gr=FC=DFe?=",
            "X_Host": "db1",
        }
        came |= {"X_Spam_Flag": "YES", "Authentication_Results": "mx; spf=pass", "body": "some text"}
        assert what(world.mail(address(shop), **came)) == ("opened", ""), path
        assert world.alerts(shop)[0].priority == "low"
        assert what(world.mail(address(shop), Subject="other")) == ("ignored", "rule"), path


def test_fields_are_extracted_and_what_is_not_found_has_its_default(world: World):
    extract = {
        "source_id": {"from": "body", "start": "Host:", "end": "\n"},
        "priority": {"from": "subject", "regex": r"\[(sev\d)\]"},
        "status": {"from": "header:X-State", "regex": "^(.*)$"},
        "url": {"from": "body", "start": "<<", "end": ">>"},
    }
    shop = world.email("Shop", recipients=["ana"], extract=extract)
    text = "host: db-1 \r\nsee <<https://x.org/1>>"
    assert what(world.mail(address(shop), Subject="[sev1] it failed", body=text)) == ("opened", "")
    (alert,) = world.alerts(shop)
    assert (alert.source_id, alert.priority, alert.url) == ("db-1", "critical", "https://x.org/1")
    closing = world.mail(address(shop), Subject="failed no more", X_State="resolved", body="Host: db-1")
    assert what(closing) == ("closed", "")
    assert what(world.mail(address(shop), Subject="nothing is found", body="x")) == ("opened", "")
    assert EventState.objects.get(pk=shop.pk).fault is None


def test_every_mail_opens_an_alert_of_its_own_if_asked_for(world: World):
    shop = world.email("Shop", recipients=["ana"], every_mail_opens=True)
    for _ in range(2):
        assert what(world.mail(address(shop), Subject="RECOVERY: web1 is UP")) == ("opened", "")
    assert len(world.alerts(shop)) == 2


def test_phrases_of_the_integration_are_read_in_any_case(world: World):
    shop = world.email(
        "Shop", recipients=["ana"], status_words={"close": ["error cleared"], "ignore": ["weekly report"]}
    )
    assert what(world.mail(address(shop), Subject="Error on db1")) == ("opened", "")
    assert what(world.mail(address(shop), Subject="ERROR  CLEARED on db1")) == ("closed", "")
    assert what(world.mail(address(shop), Subject="Your Weekly Report: 3 errors")) == ("ignored", "rule")


def test_an_alias_is_tried_in_the_order_of_its_sequence(world: World):
    def email(name, word, sequence):
        rule = {"when": {"all": [{"path": "subject", "op": "contains", "value": word}]}, "then": {}}
        return world.email(name, aliases=["Alerts@Corp.org"], sequence=sequence, rules=[rule], no_rule="ignore")

    late, early = email("late", "db", 2), email("early", "db1", 1)
    assert what(world.mail("alerts@corp.org", Subject="db1 down")) == ("opened", "")
    assert what(world.mail("ALERTS@corp.org", Subject="db2 down")) == ("opened", "")
    assert what(world.mail("alerts@corp.org", Subject="web down")) == ("ignored", "rule")
    taken = list(InboundEvent.objects.order_by("id").values_list("integration__name", flat=True))
    assert taken == ["early", "late", "early"]
    assert [len(world.alerts(one)) for one in (early, late)] == [1, 1]


def test_an_alias_belongs_to_one_organization(world: World):
    world.email("Shop", aliases=["alerts@corp.org"])
    other = factories.OrganizationFactory()
    rule = {"escalation_policy": other.escalation_policies.first()}
    with pytest.raises(Exception, match="belongs to another organization"):
        create_event_integration(other, type="email", now=world.now, name="Mine", aliases=["Alerts@corp.org"], **rule)


def test_the_headers_say_to_whom_a_mail_is_if_the_mail_server_does_not(world: World, shop):
    assert what(world.mail(To=f"Ana <ana@x.org>,\r\n <{address(shop, 'k')}>", Subject="down")) == ("opened", "")
    assert world.alerts(shop)[0].source_id == "k"
    # In any other header it is no recipient.
    (stranger,) = world.mail(From=address(shop), Subject=address(shop), To="x@y.org")
    assert (stranger.integration_id, stranger.result[0]["action"]) == (None, "ignored")


def test_a_mail_that_cannot_be_read_opens_an_alert_of_its_own(world: World, shop):
    nested = b"Content-Type: message/rfc822\n\n" * 3_000
    for _ in range(2):
        (event,) = world.mail(address(shop), raw=nested)
        assert event.result[0]["action"] == "opened"
        assert event.fault.startswith("payload: The mail could not be read: its parts are nested too deeply")
    assert [alert.subject for alert in world.alerts(shop)] == ["(unreadable)"] * 2
    backup = world.heartbeat("backup", every=minutes(5))
    (event,) = world.mail(address(backup), raw=nested)
    assert (event.state, Ping.objects.count()) == ("unreadable", 0)


def test_beyond_twenty_mails_of_a_sender_in_a_minute_they_stand_in_one_alert(world: World, shop):
    for number in range(MAX_OF_SENDER + 5):
        raw = f"From: a@x.org\r\nSubject: host{number} is down\r\n\r\n".encode()
        store_received(raw, recipients=[address(shop)], now=world.now)
    while read_events(now=world.now):
        pass
    assert len(world.alerts(shop)) == MAX_OF_SENDER + 1
    assert world.alerts(shop)[-1].subject == "5 more events from Shop in this minute"


def test_former_addresses_work_as_long_as_former_urls(world: World, shop, settings):
    settings.MAIL_DOMAIN = "heartbeat.example.org"
    old = email_address(shop)
    assert old == address(shop)
    rotated = rotate_token(shop, actor=None, now=world.now, overlap=minutes(10))
    assert email_address(rotated) != old
    assert what(world.mail(old, Subject="a")) == ("opened", "")
    rotate_token(shop, actor=None, now=world.now)
    (event,) = world.mail(old, Subject="b")
    assert event.integration_id is None


def test_a_mail_is_tried_and_replayed_from_what_was_read_in_it(world: World, shop):
    (event,) = world.mail(address(shop, "db9"), Subject="web1 is DOWN", body="x")
    update_event_integration(shop, actor=None, now=world.now, extract={"subject": {"from": "body", "regex": "(.)"}})
    shop.refresh_from_db()
    again = replay(shop, event, actor=world.person("ana"), now=world.now, dry_run=True)
    assert (again.mapped.events[0].subject, again.mapped.events[0].source_id) == ("x", "db9")
    assert again.results[0].action == "appended"
    tried = try_mapping(shop, sample({"subject": "RECOVERY: a", "from": "b@x"}, {}, now=world.now), {"extract": {}})
    assert (tried.events[0].action, tried.events[0].source_id) == ("close", "a")
    event.content = None
    with pytest.raises(NotReadYet):
        replay(shop, event, actor=world.person("ana"), now=world.now, dry_run=True)


def test_a_disabled_integration_keeps_the_mail_and_opens_nothing(world: World, shop):
    update_event_integration(shop, actor=None, now=world.now, enabled=False)
    assert what(world.mail(address(shop), Subject="down")) == ("ignored", "disabled")
