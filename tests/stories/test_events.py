"""Events of API integrations: what opens, joins, waits and closes, and who is notified of it."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from alerting.models.alerts import Alert, AlertMember
from alerting.services import alerts as alerting
from alerting.via import CONSOLE
from escalation.responses.act import act
from integrations.inbound import timers
from integrations.inbound.alerts import EventAlerts
from integrations.maintenance import windows
from integrations.models.events import EventState, InboundEvent
from tests.world import World, hours, minutes, seconds

pytestmark = pytest.mark.django_db


def problem(key="db1", status="firing", **more):
    return {"alertKey": key, "status": status, "title": f"{key} is down", **more}


def what(received):
    """Return what became of an event: action, reason of its first part."""
    return received.results[0].action, received.results[0].reason


@pytest.fixture
def shop(world):
    return world.api("Shop", recipients=["ana"])


def timeline(alert, kind):
    return list(alert.timeline.filter(kind=kind).values_list("text", flat=True))


def test_an_event_opens_one_alert_further_ones_append_and_a_close_closes_it(world: World, shop):
    opened = world.post(shop, problem())
    world.advance(seconds(2))
    world.expect_mail("ana", saying="db1 is down")
    for _ in range(3):
        world.advance(minutes(1))
        assert what(world.post(shop, problem(title="db1 is still down"))) == ("appended", "")
    assert what(world.post(shop, problem(status="resolved"))) == ("closed", "")
    world.advance(seconds(2))

    (alert,) = world.alerts(shop)
    assert opened.results[0].alert_id == alert.pk
    assert (alert.source, alert.source_name, alert.source_id) == ("API", "Shop", "db1")
    assert (alert.subject, alert.event_count, alert.integration_type) == ("db1 is still down", 4, "api")
    assert (alert.status, alert.close_reason) == ("closed", "closed by Shop")
    assert timeline(alert, "opened") == ["Opened by Shop (API): db1 is down."]
    assert timeline(alert, "updated") == [f"Update {n} from Shop: db1 is still down." for n in (1, 2, 3)]
    assert timeline(alert, "closed") == ["Closed by Shop."]
    world.expect_mail("ana", saying="(closed by Shop)")
    world.expect_nothing_else()


def test_updates_have_one_line_in_a_minute_with_their_count(world: World, shop):
    world.post(shop, problem())
    for _ in range(30):
        world.advance(seconds(4))
        world.post(shop, problem())
    assert timeline(world.alert(shop), "updated") == [f"Update {n} from Shop: db1 is down." for n in (1, 16)]
    assert world.alert(shop).event_count == 31


def test_a_close_without_an_open_is_kept_and_opens_nothing(world: World, shop):
    assert what(world.post(shop, problem(status="resolved"))) == ("ignored", "nothing_to_close")
    assert world.alerts() == []
    assert InboundEvent.objects.get().result == [
        {"action": "ignored", "alert": None, "source_id": "db1", "reason": "nothing_to_close"}
    ]


def test_an_open_that_is_older_than_a_close_of_its_key_opens_nothing(world: World, shop):
    closed_at = world.now - minutes(1)
    world.post(shop, problem(status="resolved", endsAt=closed_at.isoformat(), timestamp=closed_at.isoformat()))
    older = (closed_at - seconds(1)).isoformat()
    newer = (closed_at + seconds(1)).isoformat()
    shop.event_settings.mapping = {"event_at": "{{ payload.timestamp }}"}
    shop.event_settings.save()
    world.post(shop, problem(status="resolved", timestamp=closed_at.isoformat()))
    assert what(world.post(shop, problem(timestamp=older))) == ("ignored", "older_than_close")
    assert what(world.post(shop, problem(timestamp=newer))) == ("opened", "")


def group(world, state, **members):
    """Return an event of Alertmanager's about a group, with the state and the minute in which each member began."""
    return {
        "version": "4",
        "groupKey": "{}:{alertname=Disk}",
        "status": state,
        "alerts": [
            {
                "status": status,
                "labels": {"alertname": "Disk", "instance": name},
                "startsAt": began.isoformat(),
                "endsAt": world.now.isoformat() if status == "resolved" else "0001-01-01T00:00:00Z",
                "fingerprint": name,
            }
            for name, (status, began) in members.items()
        ],
    }


def test_a_member_that_was_silenced_while_its_group_closed_opens_when_the_silence_is_over(world: World, shop):
    began = world.now
    world.post(shop, group(world, "firing", db1=("firing", began), db2=("firing", began)))
    world.advance(minutes(10))
    # At Alertmanager db1 is silenced: it is left out, and burns on.
    assert what(world.post(shop, group(world, "resolved", db2=("resolved", began)))) == ("closed", "")
    assert what(world.post(shop, group(world, "firing", db2=("firing", began)))) == ("ignored", "older_than_close")
    world.advance(minutes(30))
    assert what(world.post(shop, group(world, "firing", db1=("firing", began)))) == ("opened", "")
    assert world.alert(shop).status == "open"


@pytest.mark.parametrize("each", ["", "{{ payload.alerts }}"], ids=["groups", "alerts"])
def test_what_alertmanager_closed_because_it_heard_nothing_opens_again_as_it_goes_on(world: World, shop, each):
    """Its times are those of the beginning, so what goes on is older than the close. The other node of a pair is not."""
    shop.event_settings.mapping = {"each": each} if each else {}
    shop.event_settings.save()
    began = world.now
    world.post(shop, group(world, "firing", db1=("firing", began)))
    world.advance(minutes(10))
    assert what(world.post(shop, group(world, "resolved", db1=("resolved", began)))) == ("closed", "")
    world.advance(minutes(1))
    assert what(world.post(shop, group(world, "firing", db1=("firing", began)))) == ("ignored", "older_than_close")
    world.advance(minutes(1))
    assert what(world.post(shop, group(world, "firing", db1=("firing", began)))) == ("opened", "")


@pytest.mark.parametrize("by", ["event", "person"])
def test_after_a_close_the_key_is_free(world: World, shop, by):
    world.post(shop, problem())
    if by == "event":
        world.post(shop, problem(status="ok"))
    else:
        act(world.alert(shop), "close", actor=world.person("ana"), via=CONSOLE, now=world.now)
    assert what(world.post(shop, problem())) == ("opened", "")
    assert len(world.alerts(shop)) == 2


@pytest.mark.parametrize("state", ["assigned", "on_hold"])
def test_a_close_ends_an_alert_that_somebody_has_taken(world: World, shop, state):
    world.post(shop, problem())
    ana, alert = world.person("ana"), world.alert(shop)
    if state == "assigned":
        alerting.assign(alert, actor=ana, to=ana, now=world.now)
    else:
        alerting.hold(alert, actor=ana, now=world.now)
    assert what(world.post(shop, problem(status="resolved"))) == ("closed", "")
    assert world.alert(shop).status == "closed"


def test_an_acknowledge_names_the_integration_and_nobody(world: World, shop):
    assert what(world.post(shop, problem(status="acknowledged"))) == ("ignored", "nothing_to_update")
    world.post(shop, problem())
    assert what(world.post(shop, problem(status="acknowledged"))) == ("acknowledged", "")
    alert = world.alert(shop)
    assert (alert.acknowledged_at, alert.acknowledged_by) == (world.now, None)
    assert timeline(alert, "acknowledged") == ["Acknowledged in Shop."]


def test_an_acknowledge_stops_the_escalation_if_the_policy_says_so_and_the_alert_is_not_forgotten(world: World):
    policy = world.policy(
        steps=[{"role": "primary"}, {"role": "secondary", "wait_minutes": 5}],
        acknowledge_stops=True,
        reopen_after_minutes=60,
    )
    team = world.team("Team", primary=["ana"], secondary=["ben"])
    shop = world.api("Shop", recipient_groups=[team], escalation_policy=policy)
    world.post(shop, problem())
    world.advance(seconds(2))
    world.expect_mail("ana", saying="db1 is down")
    world.post(shop, problem(status="acknowledged"))
    world.advance(minutes(20))
    world.expect_nothing_else()
    world.advance(minutes(60))
    world.expect_mail("ben", saying="db1 is down")
    assert timeline(world.alert(shop), "reopened")


def test_a_higher_priority_notifies_again_and_a_lower_one_does_not(world: World, shop):
    world.post(shop, problem(severity="low"))
    world.post(shop, problem(severity="info"))
    world.advance(seconds(2))
    before = len(world.mails)
    world.post(shop, problem(severity="critical"))
    world.advance(seconds(2))
    alert = world.alert(shop)
    assert alert.priority == "critical"
    assert len(world.mails) > before
    assert timeline(alert, "updated")[-1] == "The priority rises from low to critical: the escalation starts again."
    world.unread()
    world.post(shop, problem(severity="low"))
    world.advance(seconds(2))
    world.expect_nothing_else()


@pytest.mark.parametrize("state", ["assigned", "on_hold"])
def test_who_has_an_alert_hears_that_its_priority_rises_and_nobody_else_does(world: World, shop, state):
    world.post(shop, problem(severity="low"))
    world.advance(seconds(2))
    ana, alert = world.person("ana"), world.alert(shop)
    if state == "assigned":
        alerting.assign(alert, actor=ana, to=ana, now=world.now)
    else:
        alerting.hold(alert, actor=ana, now=world.now)
    world.unread()
    world.post(shop, problem(severity="critical"))
    world.advance(seconds(2))
    world.expect_mail("ana", saying="The priority rises from low to critical. This alert is yours.")
    assert timeline(alert, "updated")[-1] == "The priority rises from low to critical."
    world.post(shop, problem(severity="critical"))
    world.advance(seconds(2))
    world.expect_nothing_else()


def test_a_delay_in_minutes_opens_unless_a_close_comes_before(world: World):
    shop = world.api("Shop", recipients=["ana"], delay={"mode": "minutes", "minutes": 5})
    assert what(world.post(shop, problem())) == ("waiting", "delay")
    world.advance(minutes(3))
    assert what(world.post(shop, problem())) == ("waiting", "delay")
    assert what(world.post(shop, problem(status="resolved"))) == ("ignored", "settled")
    world.advance(minutes(10))
    assert world.alerts() == []

    world.post(shop, problem("db2"))
    world.advance(minutes(5) - seconds(1))
    assert world.alerts() == []
    world.advance(seconds(2))
    assert [alert.source_id for alert in world.alerts(shop)] == ["db2"]
    world.expect_mail("ana", saying="db2 is down")
    assert what(world.post(shop, problem("db2"))) == ("appended", "")


def test_a_new_name_of_the_integration_keeps_an_open_that_waits_and_its_close_together(world: World, shop):
    shop.event_settings.delay = {"mode": "minutes", "minutes": 5}
    shop.event_settings.save()
    world.post(shop, problem())
    shop.name = "Shop of Rome"
    shop.save()
    assert what(world.post(shop, problem())) == ("waiting", "delay")
    shop.name = "Shop of Milan"
    shop.save()
    world.advance(minutes(6))
    assert world.alert(shop).status == "open"
    assert what(world.post(shop, problem(status="resolved"))) == ("closed", "")


def test_a_waiting_open_that_fails_is_tried_again_and_holds_up_no_other(world: World, monkeypatch):
    shop = world.api("Shop", recipients=["ana"], delay={"mode": "minutes", "minutes": 5})
    for key in ("db1", "db2"):
        world.post(shop, problem(key))
    real = EventAlerts.open_now

    def fail(alerts, events):
        if "db1" in {event.source_id for event in events.values()}:
            raise RuntimeError("broken")
        return real(alerts, events)

    monkeypatch.setattr(EventAlerts, "open_now", fail)
    world.advance(minutes(5) + seconds(1))
    assert [alert.source_id for alert in world.alerts(shop)] == ["db2"]
    monkeypatch.setattr(EventAlerts, "open_now", real)
    world.advance(minutes(1))
    assert [alert.source_id for alert in world.alerts(shop)] == ["db2", "db1"]


def test_a_delay_by_count_opens_at_the_nth_event(world: World):
    shop = world.api("Shop", recipients=["ana"], delay={"mode": "count", "count": 3})
    assert [what(world.post(shop, problem()))[0] for _ in range(4)] == ["waiting", "waiting", "opened", "appended"]


def test_a_delay_by_count_within_minutes_forgets_old_events(world: World):
    shop = world.api("Shop", recipients=["ana"], delay={"mode": "count_within", "count": 3, "minutes": 10})
    for _ in range(5):
        assert what(world.post(shop, problem()))[0] == "waiting"
        world.advance(minutes(6))
    world.post(shop, problem())
    assert what(world.post(shop, problem()))[0] == "opened"


def test_within_the_window_other_keys_join_and_the_alert_closes_with_its_last_member(world: World):
    shop = world.api("Shop", recipients=["ana"], group_minutes=10)
    world.post(shop, problem("db1"))
    world.advance(minutes(2))
    assert what(world.post(shop, problem("db2"))) == ("grouped", "")
    assert what(world.post(shop, problem("db3"))) == ("grouped", "")
    (alert,) = world.alerts(shop)
    assert timeline(alert, "member") == ["db2 is down joined, 2 members.", "db3 is down joined, 3 members."]
    assert what(world.post(shop, problem("db1", "resolved"))) == ("closed", "member")
    assert what(world.post(shop, problem("db3", "resolved"))) == ("closed", "member")
    assert world.alert(shop).status == "open"
    assert dict(AlertMember.objects.values_list("source_id", "is_open")) == {"db1": False, "db2": True, "db3": False}
    assert what(world.post(shop, problem("db1"))) == ("appended", "")
    assert what(world.post(shop, problem("db1", "resolved"))) == ("closed", "member")
    assert what(world.post(shop, problem("db2", "resolved"))) == ("closed", "")
    assert world.alert(shop).status == "closed"

    world.advance(minutes(20))
    assert what(world.post(shop, problem("db2"))) == ("opened", "")


@pytest.mark.parametrize("how", [{"group_minutes": 10}, {"storm_per_minute": 1}], ids=["group", "storm"])
def test_a_new_problem_raises_the_alert_that_it_joins_to_the_priority_of_its_policy(world: World, how):
    policy = world.organization.escalation_policies.order_by("id").first()
    policy.priority = "high"
    policy.save()
    shop = world.api("Shop", recipients=["ana"], escalation_policy=policy, **how)
    world.post(shop, problem("db1", severity="low"))
    world.post(shop, problem("db2", severity="low"))
    assert world.alert(shop).priority == "low"
    world.post(shop, problem("db1"))
    assert world.alert(shop).priority == "low", "a further event of a problem that says no priority changes none"
    world.post(shop, problem("db3"))
    assert world.alert(shop).priority == "high"
    assert timeline(world.alert(shop), "updated")[-1].startswith("The priority rises from low to high")


def test_a_part_of_an_event_finds_the_member_that_an_earlier_part_made(world: World):
    shop = world.api("Shop", recipients=["ana"], group_minutes=10)
    received = world.post(shop, [problem("db1"), problem("db2"), problem("db2")])
    assert [result.action for result in received.results] == ["opened", "grouped", "appended"]
    assert timeline(world.alert(shop), "member") == ["db2 is down joined, 2 members."]


def test_a_group_that_a_person_closed_takes_no_more_members(world: World):
    shop = world.api("Shop", recipients=["ana"], group_minutes=10)
    world.post(shop, problem("db1"))
    world.post(shop, problem("db2"))
    act(world.alert(shop), "close", actor=world.person("ana"), via=CONSOLE, now=world.now)
    assert what(world.post(shop, problem("db2"))) == ("opened", "")
    assert what(world.post(shop, problem("db3"))) == ("grouped", "")


def test_an_alert_closes_by_itself_when_no_event_came_for_so_long(world: World):
    shop = world.api("Shop", recipients=["ana"], auto_close_minutes=30)
    world.post(shop, problem())
    world.advance(minutes(20))
    world.post(shop, problem())
    world.advance(minutes(29))
    assert world.alert(shop).status == "open"
    world.advance(minutes(2))
    assert world.alert(shop).close_reason == "closed by Shop: no event came for 30 minutes"


def test_alerts_close_by_themselves_together_and_one_that_fails_holds_up_no_other(world: World, monkeypatch):
    shop = world.api("Shop", recipients=["ana"], auto_close_minutes=30)
    shelf = world.api("Shelf", recipients=["ana"], auto_close_minutes=30)
    for key in ("db1", "db2", "db3"):
        world.post(shop, problem(key))
    world.post(shelf, problem())
    broken = Alert.objects.get(source_id="db2").pk
    real = timers.close_alerts

    def fail(alert_ids, **named):
        if broken in alert_ids:
            raise RuntimeError("broken")
        return real(alert_ids, **named)

    monkeypatch.setattr(timers, "close_alerts", fail)
    world.advance(minutes(30) + seconds(1))
    assert [alert.source_id for alert in world.alerts() if alert.status == "open"] == ["db2"]
    assert world.alert(shelf).close_reason == "closed by Shelf: no event came for 30 minutes"
    monkeypatch.setattr(timers, "close_alerts", real)
    world.advance(minutes(1))
    assert {alert.status for alert in world.alerts()} == {"closed"}


def test_two_hundred_alerts_close_by_themselves_in_a_few_statements(world: World):
    shop = world.api("Shop", recipients=["ana"], auto_close_minutes=30, storm_per_minute=0)
    world.post(shop, [problem(f"db{number}") for number in range(200)])
    with CaptureQueriesContext(connection) as captured:
        assert timers.run_due(now=world.now + minutes(31)) == 200
    assert len(captured) < 20


def test_beyond_the_storm_limit_one_alert_takes_the_rest_and_each_key_still_closes_its_member(world: World):
    shop = world.api("Shop", recipients=["ana"], storm_per_minute=3)
    results = [what(world.post(shop, problem(f"db{n}")))[0] for n in range(10)]
    assert results == ["opened"] * 3 + ["folded"] * 7
    assert len(world.alerts(shop)) == 4
    storm = world.alert(shop)
    assert storm.subject == "7 more events from Shop in this minute"
    assert AlertMember.objects.filter(alert=storm, is_open=True).count() == 7
    assert what(world.post(shop, problem("db5"))) == ("appended", "")

    world.advance(minutes(2))
    assert what(world.post(shop, problem("db11"))) == ("opened", ""), "back to normal after a minute below the limit"
    for n in range(3, 10):
        assert what(world.post(shop, problem(f"db{n}", "resolved")))[0] == "closed"
    storm.refresh_from_db()
    assert storm.status == "closed"
    assert Alert.objects.exclude(status="closed").count() == 4


def test_maintenance_keeps_events_and_ignores_opens_while_closes_work(world: World, shop):
    world.post(shop, problem("db1"))
    windows.create_window(
        world.organization,
        name="Upgrade",
        starts_at=world.now,
        ends_at=world.now + minutes(30),
        integrations=[shop],
        now=world.now,
    )
    assert what(world.post(shop, problem("db2"))) == ("ignored", "maintenance")
    assert what(world.post(shop, problem("db1", "resolved"))) == ("closed", "")
    world.advance(minutes(31))
    assert what(world.post(shop, problem("db2"))) == ("opened", "")
    assert InboundEvent.objects.count() == 4


def test_a_disabled_integration_keeps_its_events(world: World):
    shop = world.api("Shop", recipients=["ana"], enabled=False)
    assert what(world.post(shop, problem())) == ("ignored", "disabled")
    assert InboundEvent.objects.count() == 1
    assert world.alerts() == []


def test_a_replay_of_the_senders_id_changes_nothing_for_a_day(world: World, shop):
    first = world.post(shop, problem(), external_id="delivery-1")
    again = world.post(shop, problem(), external_id="delivery-1")
    assert what(again) == ("replayed", "opened")
    assert again.results[0].alert_id == first.results[0].alert_id
    assert world.alert(shop).event_count == 1
    assert what(world.post(shop, problem())) == ("appended", "")
    world.advance(hours(23))
    assert what(world.post(shop, problem(), external_id="delivery-1")) == ("replayed", "opened")
    # A sender that writes one id into all it sends is heard once a day.
    world.advance(hours(1))
    assert what(world.post(shop, problem(), external_id="delivery-1")) == ("appended", "")


def test_a_mapping_that_fails_opens_with_the_default_and_the_fault_heals(world: World, shop):
    shop.event_settings.mapping = {"subject": "{{ payload.title | replace('', 'x') }}"}
    shop.event_settings.save()
    received = world.post(shop, problem())
    assert what(received) == ("opened", "")
    assert received.fault.field == "subject"
    alert = world.alert(shop)
    assert alert.subject == "db1 is down"
    (line,) = timeline(alert, "updated")
    assert line.startswith("The mapping of subject failed (")
    assert line.endswith("), so the default was used.")
    assert ".)" not in line
    fault = EventState.objects.get(pk=shop.pk).fault
    assert fault
    assert fault["event"] == received.event_id

    shop.event_settings.mapping = {}
    shop.event_settings.save()
    world.post(shop, problem())
    assert EventState.objects.get(pk=shop.pk).fault is None


def test_a_body_that_cannot_be_read_is_no_fault_of_a_mapping(world: World, shop):
    world.post(shop, "{bad", fault="not JSON: Expecting a name (line 1, column 2).")
    assert timeline(world.alert(shop), "updated") == [
        "The event could not be read as it should: not JSON: Expecting a name (line 1, column 2)."
    ]


def test_its_managers_get_one_mail_a_day_about_faults(world: World, shop):
    world.person("zoe", roles=["Integrations Admin"])
    shop.event_settings.mapping = {"subject": "{{ payload.title | replace('', 'x') }}"}
    shop.event_settings.save()
    for _ in range(3):
        world.post(shop, problem())
        world.advance(hours(1))
    mails = [mail for mail in world.unread() if "cannot be read as configured" in mail.subject]
    assert [mail.to for mail in mails] == [["zoe@example.com"]]
    assert "Shop" in mails[0].subject
    assert "subject: " in mails[0].body
    world.advance(hours(24))
    world.post(shop, problem())
    world.advance(seconds(2))
    assert [mail.to for mail in world.unread() if "cannot be read" in mail.subject] == [["zoe@example.com"]]


def test_a_rule_sends_the_alert_to_others(world: World):
    db_team = world.team("Databases", primary=["ben"])
    shop = world.api("Shop", recipients=["ana"])
    shop.event_settings.rules = [
        {
            "name": "Databases",
            "when": {"all": [{"path": "alertKey", "op": "starts_with", "value": "db"}]},
            "then": {"recipient_groups": [db_team.pk], "replace": True, "note": "See the wiki.", "priority": "low"},
        }
    ]
    shop.event_settings.save()
    world.post(shop, problem("db1"))
    world.advance(seconds(2))
    world.expect_mail("ben", saying="db1 is down")
    world.expect_nothing_else()
    alert = world.alert(shop)
    assert alert.priority == "low"
    assert timeline(alert, "updated") == ["See the wiki."]


def test_keys_of_two_integrations_and_of_heartbeats_never_meet(world: World, shop):
    other = world.api("Other", recipients=["ana"])
    world.post(shop, problem())
    assert what(world.post(other, problem(status="resolved"))) == ("ignored", "nothing_to_close")
    backup = world.heartbeat("backup", every=minutes(5), recipients=["ana"])
    world.advance(minutes(6))
    assert what(world.post(shop, problem(str(backup.pk), "resolved"), source="Heartbeat"))[0] == "ignored"
    assert world.alert(backup).status == "open"
    world.ping(backup)
    world.advance(seconds(2))
    assert (world.alert(backup).status, world.alert(shop).status) == ("closed", "open")
