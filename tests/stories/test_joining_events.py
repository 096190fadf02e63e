"""Problems that join an alert notify those whom only their rules name: the first event of the alert named others."""

import pytest

from alerting.models.alerts import AlertRecipient
from alerting.services import alerts
from escalation.policies.plays import TierRule, create_play
from tests.world import World, minutes, seconds

pytestmark = pytest.mark.django_db

HOW = pytest.mark.parametrize("how", [{"group_minutes": 10}, {"storm_per_minute": 1}], ids=["group", "storm"])


def problem(key, **more):
    return {"alertKey": key, "status": "firing", "title": f"{key} is down", **more}


def rule(start, **then):
    """Return a rule for the keys that start so."""
    return {"when": {"all": [{"path": "alertKey", "op": "starts_with", "value": start}]}, "then": then}


def shop_with(world, rules, how):
    """Return an integration with an alert that another problem joins, of which Ana was notified."""
    shop = world.api("Shop", recipients=["ana"], **how)
    shop.event_settings.rules = rules
    shop.event_settings.save()
    world.post(shop, problem("web1"))
    if "storm_per_minute" in how:
        world.post(shop, problem("web2"))  # which opens the alert of the storm
    world.work("delivery")
    world.unread()
    return shop


@HOW
def test_the_group_that_a_rule_names_is_walked_by_its_roles(world: World, how):
    team = world.team("Databases", primary=["ben"], secondary=["sue"])
    shop = shop_with(world, [rule("db", recipient_groups=[team.pk])], how)
    world.post(shop, problem("db1"))
    world.advance(seconds(1))
    message = world.expect_mail("ben", saying="db1 is down has joined this alert.")
    assert world.alert(shop).subject in message.body
    world.expect_nothing_else()
    line = world.alert(shop).timeline.filter(kind="updated").last()
    assert line.text == "db1 is down joined, so a rule notifies: Databases (group)."
    # More of the same notifies nobody again.
    world.post(shop, problem("db2"))
    world.post(shop, problem("db1"))
    world.advance(minutes(5))
    world.expect_mail("sue", saying=world.alert(shop).subject)
    world.expect_nothing_else()


@HOW
@pytest.mark.parametrize("take", [alerts.assign, alerts.hold])
def test_they_are_notified_whoever_has_the_alert(world: World, how, take):
    shop = shop_with(world, [rule("db", recipient_users=[world.person("ben").pk], replace=True)], how)
    ana = world.person("ana")
    take(world.alert(shop), actor=ana, now=world.now, **({"to": ana} if take is alerts.assign else {}))
    world.post(shop, problem("db1"))
    world.advance(seconds(1))
    world.expect_mail("ben", saying="db1 is down has joined this alert.")
    world.advance(minutes(30))
    world.expect_nothing_else()


@HOW
def test_the_tiers_of_a_play_that_a_rule_names_come_once_at_their_offsets(world: World, how):
    tiers = [TierRule(0, users=[world.person("pia")]), TierRule(3, users=[world.person("quinn")])]
    play = create_play(world.organization, name="All hands", tiers=tiers)
    shop = shop_with(world, [rule("db", response_play=play.pk)], how)
    world.advance(minutes(1))
    world.unread()
    for key in ("db1", "db2"):
        world.post(shop, problem(key))
    world.advance(seconds(1))
    world.expect_mail("pia", saying="db1 is down has joined this alert.")
    world.expect_nothing_else()
    world.advance(minutes(3))
    world.expect_mail("quinn", saying=world.alert(shop).subject)
    world.expect_nothing_else()


@HOW
def test_each_part_of_an_event_notifies_its_own_people_and_those_of_the_alert_hear_nothing(world: World, how):
    ben, cleo = world.person("ben"), world.person("cleo")
    rules = [rule("db", recipient_users=[ben.pk]), rule("dns", recipient_users=[cleo.pk, world.person("ana").pk])]
    shop = shop_with(world, rules, how)
    world.post(shop, [problem("web3"), problem("dns1"), problem("db1"), problem("dns2")])
    world.advance(seconds(1))
    world.expect_mail("cleo", saying="dns1 is down has joined this alert.")
    world.expect_mail("ben", saying="db1 is down has joined this alert.")
    world.expect_nothing_else()
    assert AlertRecipient.objects.filter(alert=world.alert(shop), user__in=[ben, cleo]).count() == 2


def test_a_rise_of_the_priority_and_new_people_come_together(world: World):
    shop = shop_with(
        world, [rule("db", recipient_users=[world.person("ben").pk], priority="critical")], {"group_minutes": 10}
    )
    alerts_before = world.alert(shop)
    world.post(shop, problem("db1"))
    world.advance(seconds(1))
    world.expect_mail("ben", saying="db1 is down has joined this alert.")
    world.expect_mail("ana", saying="web1 is down")
    world.expect_nothing_else()
    assert (alerts_before.pk, world.alert(shop).priority) == (world.alert(shop).pk, "critical")


def test_where_there_is_no_room_for_more_people_the_timeline_says_so(world: World, monkeypatch):
    monkeypatch.setattr("escalation.engine.joining.MAX_TRACKS", 2)
    people = {name: world.person(name) for name in ("ben", "cleo")}
    rules = [rule("db", recipient_users=[people["ben"].pk]), rule("dns", recipient_users=[people["cleo"].pk])]
    shop = shop_with(world, rules, {"group_minutes": 10})
    for key in ("db1", "dns1", "dns2"):
        world.post(shop, problem(key))
    world.advance(seconds(1))
    world.expect_mail("ben", saying="db1 is down has joined this alert.")
    world.expect_nothing_else()
    lines = world.alert(shop).timeline.filter(kind="updated", text__contains="Too many people")
    assert [line.text for line in lines] == [
        "dns1 is down joined. Too many people were added to this alert before, so these are not notified: Cleo."
    ]
