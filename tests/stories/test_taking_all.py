"""Whoever takes all alerts takes all that they were notified of, in whichever message they came."""

import re

import pytest

from alerting.models.alerts import Alert, AlertRecipient
from alerting.services.alerts import acknowledge, assign, hold
from escalation.models.runs import EscalationRun
from escalation.responses.open_alerts import open_alerts_notified_to
from integrations.heartbeats.paging_tests import start_test
from tests.world import World, minutes, seconds

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("nothing_else_was_sent")]
WINDOW = seconds(5)


@pytest.fixture(autouse=True)
def clock_of(world: World, monkeypatch):
    """Let the pages read the world's clock."""
    from heartbeat_project.kernel import clock

    monkeypatch.setattr(clock, "now", lambda: world.now)


@pytest.fixture
def storm(world: World):
    """Six jobs are silent: Ana is notified of the first alone, and of the others in one message.

    She is notified again five minutes later, and Sam then, too.
    """
    steps = [{"role": "primary", "retries": 1, "retry_interval_minutes": 5}, {"role": "secondary", "wait_minutes": 5}]
    return storm_of(world, world.policy(name="Again", steps=steps))


def storm_of(world, policy, count=6, **more):
    world.bundle(WINDOW)
    team = world.team("Database", primary=["ana"], secondary=["sam"])
    jobs = [
        world.heartbeat(f"job {n}", every=minutes(5), escalation_policy=policy, recipient_groups=[team], **more)
        for n in range(count)
    ]
    world.advance(minutes(5) + WINDOW)
    world.first = link_in(world.expect_page("ana", about=jobs[0]))
    world.link = link_in(world.expect_bundle("ana", about=jobs[1:])) if count > 2 else ""
    return jobs


def link_in(message) -> str:
    return re.findall(r"http://127\.0\.0\.1:8000(/r/[\w-]+)", message.body)[0]


def take_all(client, link, *, page=None):
    """Press the button of a page that was loaded before, or now; return what is said."""
    page = client.get(link).content.decode() if page is None else page
    [seen_at] = re.findall(r'name="seen_at" value="([^"]+)"', page)
    return client.post(link, {"action": "take-all", "seen_at": seen_at}, follow=True).content.decode()


def owners(world, jobs):
    return [str(world.alert(job).owner or "nobody") for job in jobs]


def test_the_first_of_a_storm_is_taken_with_the_others_and_nobody_is_woken_again(world: World, client, storm):
    page = client.get(world.link).content.decode()
    first = world.alert(storm[0]).pk
    assert "All 6: 5 of this message and 1 other that you were notified of." in page
    assert f'#{first} <span dir="auto">job 0 is silent' in page
    assert "Yes, assign 6 alerts to me" in page
    said = take_all(client, world.link)
    assert f"6 alerts are yours (5 of this message, and #{first} job 0). Nobody else will be notified." in said
    assert owners(world, storm) == ["Ana"] * 6
    world.advance(minutes(30))
    world.expect_nothing_else()


def test_the_page_of_one_alert_offers_the_others(world: World, client, storm):
    page = client.get(world.first).content.decode()
    assert 'value="assign"' in page, "this one alone can still be taken"
    assert "Assign all 6 open to me…" in page
    assert "All 6: this one and 5 others that you were notified of." in page
    assert "6 alerts are yours (this one, and #" in take_all(client, world.first)
    assert owners(world, storm) == ["Ana"] * 6
    assert "Assign all" not in client.get(world.first).content.decode()
    world.advance(minutes(30))
    world.expect_nothing_else()


def test_the_page_of_an_alert_that_is_over_offers_the_others(world: World, client, storm):
    world.ping(storm[0])
    for passing in (1, 5):  # a recovery waits for others
        world.advance(seconds(passing))
    world.expect_recovery("ana", about=storm[0])
    page = client.get(world.first).content.decode()
    assert "There is nothing left to do" in page
    assert "All 5: you were notified of them in other messages." in page
    assert "5 alerts are yours" in take_all(client, world.first)
    assert owners(world, storm[1:]) == ["Ana"] * 5


def test_without_others_the_page_of_one_alert_offers_it_alone(world: World, client):
    world.heartbeat("backup", every=minutes(5), recipients=["ana"])
    world.advance(minutes(5))
    link = link_in(world.expect_mail("ana", saying="backup"))
    assert "take-all" not in client.get(link).content.decode()


def test_the_console_takes_them_all_too(world: World, client, storm):
    client.force_login(world.person("ana"))
    bundle = f"/bundles/{world.alert(storm[1]).notifications.get().message_id}/"
    page = client.get(bundle).content.decode()
    assert "All 6: 5 of this message and 1 other that you were notified of." in page
    said = client.post(f"{bundle}assign/", follow=True).content.decode()
    assert "6 alerts are yours" in said
    assert owners(world, storm) == ["Ana"] * 6
    world.advance(minutes(30))
    world.expect_nothing_else()


def test_what_came_after_the_page_was_loaded_is_left_and_named(world: World, client, storm):
    page = client.get(world.link).content.decode()
    late = world.heartbeat("late", every=minutes(1), recipients=["ana"])
    world.advance(minutes(1) + WINDOW)
    world.expect_page("ana", about=late)
    said = take_all(client, world.link, page=page)
    assert "6 alerts are yours" in said
    assert f"Still open: #{world.alert(late).pk} late." in said
    assert owners(world, [late]) == ["nobody"], "nobody takes what they have not seen"
    assert "1 alert is yours" in take_all(client, world.link)


def test_what_somebody_has_is_left(world: World, client):
    jobs = storm_of(world, world.policy(name="Enough", acknowledge_stops=True))
    ben = world.person("ben")
    assign(world.alert(jobs[0]), actor=ben, to=ben, now=world.now)
    assign(world.alert(jobs[1]), actor=ben, to=ben, now=world.now)
    until = world.now + minutes(60)
    hold(world.alert(jobs[2]), actor=ben, until=until, now=world.now)
    acknowledge(world.alert(jobs[3]), actor=ben, now=world.now)
    acknowledge(world.alert(jobs[4]), actor=world.person("ana"), now=world.now)
    assert "2 alerts are yours" in take_all(client, world.link)
    assert owners(world, jobs) == ["Ben", "Ben", "nobody", "nobody", "Ana", "Ana"]
    assert world.alert(jobs[2]).hold_until == until


def test_what_a_policy_disables_over_this_channel_is_left(world: World, client, storm):
    EscalationRun.objects.filter(alert=world.alert(storm[0])).update(disabled_actions=["email:assign"])
    EscalationRun.objects.filter(alert=world.alert(storm[1])).update(disabled_actions=["email:assign", "sms:assign"])
    EscalationRun.objects.filter(alert=world.alert(storm[2])).update(disabled_actions=["sms:assign", "email:close"])
    assert "4 alerts are yours" in take_all(client, world.link)
    assert owners(world, storm) == ["nobody", "nobody", "Ana", "Ana", "Ana", "Ana"]
    EscalationRun.objects.update(disabled_actions=["email:assign"])
    answer = client.post(world.link, {"action": "take-all"})
    assert answer.status_code == 409
    assert "The escalation policy does not allow this over this channel. Sign in to do it." in answer.content.decode()


def test_what_the_person_may_not_answer_is_left(world: World, client, storm):
    first, second = world.alert(storm[0]), world.alert(storm[1])
    AlertRecipient.objects.filter(alert__in=[first, second]).delete()
    assert "4 alerts are yours" in take_all(client, world.link)
    assert owners(world, storm) == ["nobody", "nobody", "Ana", "Ana", "Ana", "Ana"]


def test_what_they_were_not_notified_of_is_not_theirs_to_take(world: World, client, storm):
    world.person("ben")
    other = world.heartbeat("of ben", every=minutes(1), recipients=["ben"])
    waiting = world.heartbeat("waits", every=minutes(1), recipients=["ana"])
    world.away = {"delivery"}
    world.advance(minutes(1) + seconds(1))
    assert "6 alerts are yours" in take_all(client, world.link)
    assert owners(world, [other, waiting]) == ["nobody", "nobody"]


def test_a_test_is_not_mixed_with_what_is_in_earnest(world: World, client):
    ivy = world.person("ivy", roles=["Owner"])
    world.bundle(WINDOW)
    jobs = [world.heartbeat(f"job {n}", every=minutes(60 + n), recipients=["ana"]) for n in range(3)]
    start_test(jobs[0], actor=ivy, now=world.now)
    world.advance(seconds(1))
    test_link = link_in(world.expect_mail("ana", saying="TEST"))
    world.advance(minutes(58))
    real = world.heartbeat("real", every=minutes(0.1), recipients=["ana"])
    world.advance(seconds(10))
    link = link_in(world.expect_mail("ana", saying="real"))
    assert "take-all" not in client.get(link).content.decode(), "a test is no other alert"
    assert "take-all" not in client.get(test_link).content.decode(), "nobody takes an alert while they try something"
    client.post(test_link, {"action": "take-all"})
    assert owners(world, [real]) == ["nobody"]
    assert Alert.objects.get(is_test=True).owner == world.person("ana")


def test_a_bundle_says_how_many_of_its_alerts_are_tests(world: World, client, storm):
    Alert.objects.filter(pk__in=[world.alert(job).pk for job in storm[1:3]]).update(is_test=True)
    assert "2 of them are tests." in client.get(world.link).content.decode()


def test_two_who_take_all_get_each_alert_once(world: World, client):
    world.bundle(WINDOW)
    jobs = [world.heartbeat(f"job {n}", every=minutes(5), recipients=["ana", "ben"]) for n in range(4)]
    world.advance(minutes(5) + WINDOW)
    links = {}
    for who in ("ana", "ben", "ana", "ben"):
        message = world.expect_mail(who, saying="job")
        links[who] = link_in(message)
    page = client.get(links["ben"]).content.decode()
    assert "4 alerts are yours" in take_all(client, links["ana"])
    assert "every alert has an owner" in take_all(client, links["ben"], page=page)
    assert owners(world, jobs) == ["Ana"] * 4


def test_the_selector_counts_what_went_out_to_this_person(world: World, storm):
    ana, sam = world.person("ana"), world.person("sam")
    assert open_alerts_notified_to(ana).count() == 6
    assert open_alerts_notified_to(ana, before=world.now - seconds(1)).count() == 1
    assert open_alerts_notified_to(ana, tests=True).count() == 0
    assert open_alerts_notified_to(sam).count() == 0
