"""A message carries what its reader can do: nobody has to sign in at three in the morning."""

import re

import pytest

from alerting.services.alerts import assign, hold
from escalation.models.responses import Response
from tests.world import World, minutes, seconds

pytestmark = pytest.mark.django_db


@pytest.fixture
def clock_of(world: World, monkeypatch):
    """Let the pages read the world's clock."""
    from heartbeat_project.kernel import clock

    monkeypatch.setattr(clock, "now", lambda: world.now)


@pytest.fixture
def silent(world: World, clock_of):
    """`backup` is silent; Ana is notified at once, Sam five minutes later, Max after ten."""
    team = world.team("Database", primary=["ana"], secondary=["sam"], managers=["max"])
    backup = world.heartbeat("backup", every=minutes(5), escalation_policy=world.policy(), recipient_groups=[team])
    world.advance(minutes(5))
    return backup


def link_in(message) -> str:
    """Return the path of the page that a mail leads to."""
    return re.findall(r"http://127\.0\.0\.1:8000(/r/[\w-]+)", message.body)[0]


def press(client, link, action, **fields):
    """Press a button of the page and return what it says next."""
    return client.post(link, {"action": action, **fields}, follow=True).content.decode()


def kinds(world, about):
    return [entry.kind for entry in world.alert(about).timeline.all()]


def test_who_takes_it_over_the_link_in_the_mail_stops_the_escalation(world: World, client, silent):
    link = link_in(world.expect_page("ana", about=silent))
    page = client.get(link).content.decode()
    for said in ("Ana", "backup is silent", "Assign to me", "Secondary of Database will be notified in 5 minutes"):
        assert said in page
    said = press(client, link, "assign")
    assert "is yours. Nobody else will be notified" in said
    assert world.alert(silent).owner == world.person("ana")
    world.advance(minutes(30))
    world.expect_nothing_else()


def test_who_acknowledges_is_named_and_the_escalation_goes_on(world: World, client, silent):
    link = link_in(world.expect_page("ana", about=silent))
    assert "Others are still notified until somebody takes it" in press(client, link, "acknowledge")
    assert world.alert(silent).acknowledged_by == world.person("ana")
    world.advance(minutes(5))
    world.expect_page("sam", about=silent)


def test_a_policy_that_stops_on_an_acknowledgement_says_so(world: World, client, clock_of):
    policy = world.policy(acknowledge_stops=True)
    team = world.team("Database", primary=["ana"], secondary=["sam"])
    backup = world.heartbeat("backup", every=minutes(5), escalation_policy=policy, recipient_groups=[team])
    world.advance(minutes(5))
    link = link_in(world.expect_page("ana", about=backup))
    assert "Nobody else will be notified" in press(client, link, "acknowledge")
    world.advance(minutes(30))
    world.expect_nothing_else()


def test_escalating_notifies_the_next_people_now(world: World, client, silent):
    link = link_in(world.expect_page("ana", about=silent))
    assert "The next people are notified now" in press(client, link, "escalate")
    world.advance(seconds(1))
    world.expect_page("sam", about=silent)
    world.expect_nothing_else()


def test_closing_takes_a_note_along(world: World, client, silent):
    link = link_in(world.expect_page("ana", about=silent))
    press(client, link, "close", note="The disk was full")
    assert (world.alert(silent).status, world.alert(silent).close_reason) == ("closed", "The disk was full")
    world.advance(minutes(30))
    world.expect_nothing_else()
    assert "There is nothing left to do" in client.get(link).content.decode()


def test_a_scanner_that_opens_the_link_twenty_times_does_nothing(world: World, client, silent):
    link = link_in(world.expect_page("ana", about=silent))
    before = kinds(world, silent)
    for _ in range(10):
        assert client.get(f"{link}?do=assign").status_code == 200
        assert client.head(f"{link}?do=close").status_code == 200
    for method in ("put", "patch", "delete", "options"):
        assert getattr(client, method)(link).status_code == 405
    assert kinds(world, silent) == before
    assert world.alert(silent).status == "open"
    assert not Response.objects.exists()
    world.advance(minutes(5))
    world.expect_page("sam", about=silent)


def test_a_second_use_says_what_the_first_did_and_another_action_still_works(world: World, client, silent):
    link = link_in(world.expect_page("ana", about=silent))
    press(client, link, "acknowledge")
    after_one = kinds(world, silent)
    world.advance(minutes(1))
    said = press(client, link, "acknowledge")
    assert "Ana already did this (2 Mar 12:05)" in said
    assert kinds(world, silent) == after_one
    press(client, link, "assign")
    assert world.alert(silent).owner == world.person("ana")


def test_a_note_is_added_once_however_often_it_is_sent_and_another_note_is_another(world: World, client, silent):
    link = link_in(world.expect_page("ana", about=silent))
    for note in ("On my way", "On my way", "Found it"):
        press(client, link, "reply", note=note)
    notes = [entry.text for entry in world.alert(silent).timeline.all() if entry.kind == "replied"]
    assert notes == ["On my way", "Found it"]
    assert "the note is empty" in press(client, link, "reply", note="  ")


def test_what_another_has_taken_is_not_changed_by_an_old_message(world: World, client, silent):
    link = link_in(world.expect_page("ana", about=silent))
    ben = world.person("ben")
    assign(world.alert(silent), actor=ben, to=ben, now=world.now)
    before = kinds(world, silent)
    for action in ("assign", "escalate", "close"):
        response = client.post(link, {"action": action})
        assert response.status_code == 409
        assert "Ben took the alert (2 Mar 12:05). Talk to Ben" in response.content.decode()
    assert kinds(world, silent) == before
    page = client.get(link).content.decode()
    assert 'value="assign"' not in page
    assert 'value="acknowledge"' in page


def test_what_is_over_says_who_ended_it(world: World, client, silent):
    link = link_in(world.expect_page("ana", about=silent))
    world.ping(silent)
    world.advance(seconds(1))
    world.expect_recovery("ana", about=silent)
    for action in ("assign", "acknowledge", "escalate", "close"):
        assert "Closed by heartbeat (2 Mar 12:05). Nothing was changed." in press(client, link, action)
    assert world.alert(silent).close_reason == "closed by heartbeat"
    assert 'value="assign"' not in client.get(link).content.decode()


def test_an_old_message_does_not_escalate_past_people_who_were_notified_since(world: World, client, silent):
    link = link_in(world.expect_page("ana", about=silent))
    world.advance(minutes(5))
    world.expect_page("sam", about=silent)
    said = press(client, link, "escalate")
    assert "The alert has been escalated since this message: Sam was notified (2 Mar 12:10)." in said
    world.advance(seconds(2))
    world.expect_nothing_else()
    press(client, link, "assign")
    assert world.alert(silent).owner == world.person("ana"), "to take it is never too late"


def test_after_the_last_step_an_escalation_notifies_the_owner(world: World, client, clock_of):
    world.person("olga", roles=["Owner"])
    policy = world.policy(steps=[{"role": "primary"}])
    backup = world.heartbeat("backup", every=minutes(5), escalation_policy=policy, recipients=["ana"])
    world.advance(minutes(5))
    link = link_in(world.expect_page("ana", about=backup))
    press(client, link, "escalate")
    world.advance(seconds(1))
    owners_link = link_in(world.expect_mail("olga", saying="Nobody was reached"))
    page = client.get(owners_link).content.decode()
    assert 'value="assign"' in page
    assert 'value="escalate"' not in page
    assert "has no further step" in press(client, owners_link, "escalate")


def test_who_acknowledges_what_is_on_hold_is_informed_that_nobody_else_is_notified(world: World, client, silent):
    link = link_in(world.expect_page("ana", about=silent))
    hold(world.alert(silent), actor=world.person("max"), now=world.now)
    page = client.get(link).content.decode()
    assert "It is on hold: nobody is notified until it is resumed." in page
    assert "stops the escalation" not in page
    assert "It is on hold: nobody is notified until it is resumed" in press(client, link, "acknowledge")


def test_what_is_on_hold_can_still_be_taken(world: World, client, silent):
    link = link_in(world.expect_page("ana", about=silent))
    hold(world.alert(silent), actor=world.person("max"), now=world.now)
    assert "Put on hold by Max" in press(client, link, "escalate")
    press(client, link, "assign")
    assert world.alert(silent).owner == world.person("ana")


def test_a_stakeholder_is_notified_and_is_offered_nothing(world: World, client, clock_of):
    world.person("vera", kind="stakeholder")
    backup = world.heartbeat("backup", every=minutes(5), recipients=["vera"])
    world.advance(minutes(5))
    message = world.expect_page("vera", about=backup)
    assert "/r/" not in message.body
    assert "/alerts/" in message.body
    from escalation.responses import tokens

    forged_by_herself = tokens.page_url(world.alert(backup).notifications.get().pk).removeprefix(
        "http://127.0.0.1:8000"
    )
    page = client.get(forged_by_herself).content.decode()
    assert "You are a stakeholder. Messages are for your information: you cannot respond to them." in page
    assert "<button" not in page
    assert client.post(forged_by_herself, {"action": "assign"}).status_code == 409
    assert world.alert(backup).status == "open"


@pytest.mark.parametrize("change", ["deactivated", "without a role", "another address", "removed"])
def test_the_link_of_somebody_who_has_left_shows_and_offers_nothing(world: World, client, silent, change):
    link = link_in(world.expect_page("ana", about=silent))
    ana = world.person("ana")
    if change == "deactivated":
        type(ana).objects.filter(pk=ana.pk).update(is_active=False)
    elif change == "without a role":
        ana.roles.clear()
        ana.memberships.all().delete()
    elif change == "another address":
        ana.contact_methods.update(address="ana@elsewhere.example.com")
    else:
        ana.contact_methods.all().delete()
    for page in (client.get(link), client.post(link, {"action": "assign"})):
        assert page.status_code == 410
        assert "backup" not in page.content.decode()
        assert "<button" not in page.content.decode()
    assert world.alert(silent).status == "open"


def test_a_link_ends_after_some_days(world: World, client, silent, settings):
    link = link_in(world.expect_page("ana", about=silent))
    settings.RESPOND_DAYS = 2
    world.sleep(minutes(60 * 48) - seconds(1))
    assert client.get(link).status_code == 200
    world.sleep(seconds(1))
    page = client.get(link)
    assert page.status_code == 410
    assert "This link has expired" in page.content.decode()
    assert "/alerts/" in page.content.decode()
    assert client.post(link, {"action": "assign"}).status_code == 410
    assert world.alert(silent).status == "open"


def test_everybody_in_a_storm_can_take_all_at_once_or_one_of_them(world: World, client, clock_of):
    world.bundle(seconds(5))
    jobs = [world.heartbeat(f"job {number}", every=minutes(5), recipients=["ana"]) for number in range(6)]
    world.advance(minutes(5) + seconds(5))
    world.expect_page("ana", about=jobs[0])
    link = link_in(world.expect_bundle("ana", about=jobs[1:]))
    page = client.get(link).content.decode()
    assert "5 alerts in one message" in page
    one = world.alert(jobs[3])
    press(client, f"{link}/{one.pk}", "close", note="a test")
    assert world.alert(jobs[3]).status == "closed"
    assert "5 alerts are yours" in press(client, link, "take-all")
    assert [world.alert(job).status for job in jobs] == [
        "assigned",
        "assigned",
        "assigned",
        "closed",
        "assigned",
        "assigned",
    ]
    assert "every alert has an owner" in press(client, link, "take-all")
    assert client.get(f"{link}/{world.alert(jobs[0]).pk}").status_code == 404, "this message did not are about it"


def test_people_who_see_only_the_alerts_of_their_groups_can_take_them(world: World, client, clock_of):
    from accounts.entitlements import Entitlement

    world.bundle(seconds(5))
    ana = world.person("ana")
    team = world.team("Database", primary=["ana"])
    for number in range(3):
        world.heartbeat(
            f"job {number}",
            every=minutes(5),
            escalation_policy=world.policy(name=f"P{number}"),
            recipient_groups=[team],
        )
    world.advance(minutes(5) + seconds(5))
    ana.roles.set([world.organization.roles.create(name="Helper", entitlements=[Entitlement.ALERTS_VIEW_GROUPS])])
    world.expect_mail("ana", saying="job 0")
    link = link_in(world.expect_mail("ana", saying="2 alerts"))
    assert "3 alerts are yours" in press(client, link, "take-all")
    assert world.alert(world.heartbeats()[2]).owner == ana
