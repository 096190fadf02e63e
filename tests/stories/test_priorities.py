"""Nobody is woken more than they must be: methods by priority, and what waits for the morning."""

from datetime import UTC, datetime, time

import pytest

from accounts.models.contact_methods import ContactMethod
from accounts.windows import read
from alerting.models.alerts import Alert
from alerting.states import Action
from alerting.via import CONSOLE
from escalation.engine.advance import expedite
from escalation.engine.last_resort import uses_at_once
from escalation.engine.manual import ManualAlert, send_alert
from escalation.engine.plan import Plan
from escalation.engine.preview import preview_next_step
from escalation.engine.reachable import why_not_reached
from escalation.models.runs import EscalationRun
from escalation.policies.clone import clone_policy
from escalation.responses.act import act
from integrations.coverage.gaps import coverage_of
from integrations.coverage.who_is_notified import who_would_be_notified
from tests.factories.shifts import make_rotation, make_shift
from tests.stories.test_escalation_policy import silent, timeline
from tests.world import minutes, seconds

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("nothing_else_was_sent")]

# The world begins at noon, UTC: there it is 02:00, and 07:00 comes five hours later.
ASLEEP = "Pacific/Honolulu"
START = datetime(2026, 3, 2, 12, tzinfo=UTC)
MORNING = datetime(2026, 3, 2, 17, tzinfo=UTC)
WAITS = (
    "notified",
    "Primary of Database: it is night there. Waits until Mon 2 Mar 2026, 07:00:00 HST (priority Low).",
)


def patient(world, *, priority="low", **fields):
    return world.policy(priority=priority, low_waits_until=time(7), **fields)


def second(world, who, **fields):
    """Give somebody a second address, and let the first be used for nothing."""
    person = world.person(who)
    person.contact_methods.all().delete()
    return ContactMethod.objects.create(
        **{"user": person, "label": "Second", "address": f"{who}@second.example.com", "verified_at": world.now} | fields
    )


# -- which methods are used
# ---------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("priority", "is_used"), [("medium", False), ("high", True), ("critical", True)])
def test_a_method_is_used_from_its_priority_on_and_email_official_always(world, priority, is_used):
    ana = world.person("ana")
    ContactMethod.objects.create(
        user=ana, label="Loud", address="loud@example.com", verified_at=world.now, from_priority="high", position=2
    )
    job = silent(
        world, recipients=["ana"], escalation_policy=world.policy(priority=priority, steps=[{"role": "primary"}])
    )
    world.expect_page("ana", about=job)
    if is_used:
        world.expect_page("ana", about=job, address="loud@example.com")
    world.expect_nothing_else()


def test_who_has_no_method_for_the_priority_does_not_count_and_the_preview_says_so(world):
    second(world, "ana", from_priority="critical")
    team = world.team("Database", primary=["ana"], secondary=["sam"])
    job = silent(world, recipient_groups=[team], escalation_policy=world.policy(priority="high"))
    world.expect_page("sam", about=job)
    world.expect_nothing_else()
    assert (
        "skipped",
        "Primary of Database: nobody can be reached. Going on to Secondary of Database at once.",
    ) in timeline(world, job)
    problems = who_would_be_notified(job, at=world.now).problems
    assert [problem.text for problem in problems if problem.user_id] == [
        "Ana has no contact method that is used for alerts of priority High."
    ]


def test_a_person_without_a_method_for_the_priority_is_a_coverage_gap_and_the_owner_is_notified_instead(world):
    world.person("olga", roles=["Owner"])
    second(world, "ana", from_priority="high")
    quiet = world.heartbeat(
        "report", every=minutes(5), recipients=["ana"], escalation_policy=world.policy(priority="low")
    )
    loud = world.heartbeat(
        "backup", every=minutes(5), recipients=["ana"], escalation_policy=world.policy(priority="high")
    )
    assert list(coverage_of(world.organization, at=world.now).gaps) == [quiet.pk]
    world.advance(minutes(5))
    world.expect_mail("olga", saying="report")
    world.expect_page("ana", about=loud, address="ana@second.example.com")
    world.expect_nothing_else()


def test_critical_goes_through_closed_windows_where_its_owner_wants_that_and_high_does_not(world):
    closed = read("Sun 00:00-24:00")
    ana = world.person("ana")
    for label, through in (("Open", True), ("Shut", False)):
        ContactMethod.objects.create(
            user=ana,
            label=label,
            address=f"{label.lower()}@example.com",
            verified_at=world.now,
            windows=closed,
            critical_outside_windows=through,
            position=2,
        )
    steps = [{"role": "primary"}]
    high = silent(world, recipients=["ana"], escalation_policy=world.policy(priority="high", steps=steps))
    world.expect_page("ana", about=high)
    world.expect_nothing_else()
    critical = world.heartbeat(
        "vault",
        every=minutes(0.1),
        recipients=["ana"],
        escalation_policy=world.policy(priority="critical", steps=steps),
    )
    world.listening = True
    world.advance(minutes(0.2))
    world.expect_page("ana", about=critical)
    world.expect_page("ana", about=critical, address="open@example.com")
    world.expect_nothing_else()
    # The last resort notifies as of a Critical alert.
    assert [method.label for method, _ in uses_at_once([ana], now=world.now)[ana.pk]] == ["Email-Official", "Open"]


def test_centralized_policies_ignore_what_people_prefer(world):
    second(world, "ana", from_priority="critical", windows=read("Sun 00:00-24:00"))
    policy = world.policy(priority="low", notify_using="centralized", steps=[{"role": "primary"}])
    job = silent(world, recipients=["ana"], escalation_policy=policy)
    world.expect_page("ana", about=job, address="ana@second.example.com")
    world.expect_nothing_else()


def test_who_hears_of_an_assignment_depends_on_the_alerts_priority(world):
    second(world, "sam", from_priority="high")
    job = silent(world, recipients=["ana"], escalation_policy=world.policy(priority="low", steps=[{"role": "primary"}]))
    world.expect_page("ana", about=job)
    sam = world.person("sam")
    about = {"integration_id": job.pk, "now": world.now}
    assert why_not_reached([sam], priority="high", **about) == {}
    assert list(why_not_reached([sam], priority="low", **about)) == [sam.pk]
    act(world.alert(job), Action.ASSIGN, via=CONSOLE, actor=world.person("ana"), to=sam, now=world.now)
    world.advance(seconds(5))
    world.expect_nothing_else()
    assert any("Sam is not notified within 10 minutes" in text for _, text in timeline(world, job))


def test_a_manual_alert_of_another_priority_than_its_policy_uses_the_methods_of_its_own(world):
    second(world, "ana", from_priority="high")
    policy = world.policy(priority="low", quick_launch=True, steps=[{"role": "primary"}])
    sender = world.person("zoe", roles=["Send Message"])
    draft = ManualAlert(
        subject="Fire", priority="critical", escalation_policy=policy, recipient_users=[world.person("ana")]
    )
    send_alert(draft, sender=sender, now=world.now)
    world.advance(seconds(2))
    world.expect_mail("ana", saying="Fire", address="ana@second.example.com")
    world.expect_nothing_else()


def test_a_plan_from_before_priorities_leaves_out_no_method():
    plan = Plan.load({"tracks": [], "repeats": 0, "repeat_wait": 0})
    assert (plan.priority, plan.low_waits_until) == ("critical", None)
    assert Plan.load(plan.dump()) == plan


# -- what waits for the morning
# -----------------------------------------------------------------------------------------
def test_a_low_alert_at_night_waits_and_the_walk_with_it(world):
    for name in ("ana", "sam", "mia"):
        world.person(name, time_zone=ASLEEP)
    world.person("olga", roles=["Owner"])
    team = world.team("Database", primary=["ana"], secondary=["sam"], managers=["mia"])
    job = silent(world, recipient_groups=[team], escalation_policy=patient(world))
    world.advance(MORNING - world.now - seconds(1))
    world.expect_nothing_else()
    assert timeline(world, job)[1:] == [WAITS]
    world.advance(seconds(1))
    world.expect_page("ana", about=job)
    world.advance(minutes(5))
    world.expect_page("sam", about=job)
    world.advance(minutes(5))
    world.expect_page("mia", about=job)
    world.advance(minutes(60))
    world.expect_nothing_else()
    assert [line for line in timeline(world, job) if line == WAITS or line[0] in {"skipped", "last_resort"}] == [WAITS]


@pytest.mark.parametrize("priority", ["medium", "high", "critical"])
def test_what_matters_more_waits_for_nothing(world, priority):
    world.person("ana", time_zone=ASLEEP)
    job = silent(
        world, recipients=["ana"], escalation_policy=patient(world, priority=priority, steps=[{"role": "primary"}])
    )
    world.expect_page("ana", about=job)
    world.expect_nothing_else()


def test_who_is_awake_is_notified_now_and_who_sleeps_once_in_the_morning(world):
    world.person("ana", time_zone=ASLEEP)
    steps = [{"role": "primary", "retries": 2, "retry_interval_minutes": 5}]
    team = world.team("Database", primary=["ana", "bob"])
    job = silent(world, recipient_groups=[team], escalation_policy=patient(world, steps=steps))
    world.expect_page("bob", about=job)
    for _ in range(2):
        world.advance(minutes(5))
        world.expect_page("bob", about=job)
    world.expect_nothing_else()
    world.advance(MORNING - world.now)
    world.expect_page("ana", about=job)
    world.expect_nothing_else()
    for _ in range(2):
        world.advance(minutes(5))
        world.expect_page("ana", about=job)
    world.advance(minutes(60))
    world.expect_nothing_else()


def test_a_recovery_before_the_morning_notifies_nobody_at_all(world):
    """It falls silent at 18:00 UTC, which is 03:00 in Tokyo, and comes back an hour later."""
    world.person("ana", time_zone="Asia/Tokyo")
    job = world.heartbeat("backup", every=minutes(6 * 60), recipients=["ana"], escalation_policy=patient(world))
    world.advance(minutes(7 * 60), at_most_every=minutes(1))
    assert timeline(world, job)[-1][1].endswith("07:00:00 JST (priority Low).")
    world.ping(job)
    world.advance(minutes(5 * 60), at_most_every=minutes(1))
    world.expect_nothing_else()
    assert world.alert(job).status == Alert.Status.CLOSED


def test_a_later_stage_whose_people_are_awake_does_not_wait_for_those_who_sleep(world):
    """Somebody was notified and did not answer: that is no reason to let the next one, who is awake, wait."""
    world.person("sam", time_zone=ASLEEP)
    team = world.team("Database", primary=["ana"], secondary=["sam"], managers=["mia"])
    job = silent(world, recipient_groups=[team], escalation_policy=patient(world))
    world.expect_page("ana", about=job)
    world.advance(MORNING - world.now - seconds(1))
    world.expect_nothing_else()  # Mia comes after Sam, who is not passed over
    world.advance(seconds(1))
    world.expect_page("sam", about=job)
    world.advance(minutes(5))
    world.expect_page("mia", about=job)
    world.expect_nothing_else()


def test_members_in_turn_who_sleep_are_not_passed_over(world):
    world.person("ana", time_zone=ASLEEP)
    world.person("cy", time_zone=ASLEEP)
    policy = patient(world, steps=[{"role": "primary", "between_members_minutes": 2}])
    team = world.team("Database", primary=["ana", "bob", "cy"])
    job = silent(world, recipient_groups=[team], escalation_policy=policy)
    world.expect_page("bob", about=job)
    world.advance(MORNING - world.now - seconds(1))
    world.expect_nothing_else()
    world.advance(seconds(1))
    world.expect_page("ana", about=job)
    world.expect_page("cy", about=job)
    world.advance(minutes(60))
    world.expect_nothing_else()
    assert not [text for kind, text in timeline(world, job) if kind in {"skipped", "last_resort"}]


def test_delays_and_repeats_that_fall_into_the_night_wait_together(world):
    """At noon UTC it is 21:00 in Tokyo: the night begins an hour later."""
    ana = world.person("ana", time_zone="Asia/Tokyo")
    ana.contact_methods.update(repeat_count=4, repeat_gap_minutes=25)
    job = silent(world, recipients=["ana"], escalation_policy=patient(world, steps=[{"role": "primary"}]))
    world.expect_page("ana", about=job)
    for _ in range(2):
        world.advance(minutes(25))
        world.expect_page("ana", about=job)
    world.advance(minutes(9 * 60 + 9))
    world.expect_nothing_else()
    world.advance(minutes(1))
    world.expect_page("ana", about=job)
    world.advance(minutes(120))
    world.expect_nothing_else()


def test_who_would_be_notified_first_within_the_night_is_waited_for(world):
    ana = world.person("ana", time_zone="Asia/Tokyo")
    ana.contact_methods.update(delay_minutes=90)
    world.person("sam", time_zone="Asia/Tokyo")
    team = world.team("Database", primary=["ana"], secondary=["sam"])
    steps = [{"role": "primary"}, {"role": "secondary", "wait_minutes": 120}]
    job = silent(world, recipient_groups=[team], escalation_policy=patient(world, steps=steps))
    morning = datetime(2026, 3, 2, 22, tzinfo=UTC)
    world.advance(morning - world.now + minutes(89))
    world.expect_nothing_else()
    world.advance(minutes(1))
    world.expect_page("ana", about=job)
    world.advance(minutes(30))
    world.expect_page("sam", about=job)
    world.expect_nothing_else()


def test_in_the_morning_the_last_resort_comes_where_nobody_can_be_reached(world):
    ana = world.person("ana", time_zone=ASLEEP)
    world.person("olga", roles=["Owner"])
    job = silent(world, recipients=["ana"], escalation_policy=patient(world))
    world.advance(minutes(60))
    ana.is_active = False
    ana.save()
    world.advance(MORNING - world.now - seconds(1))
    world.expect_nothing_else()
    world.advance(minutes(1))
    world.expect_mail("olga", saying="backup")
    world.expect_nothing_else()
    assert world.alert(job).status == Alert.Status.OPEN


def test_whoever_escalates_by_hand_wants_somebody_now(world):
    world.person("ana", time_zone=ASLEEP)
    world.person("sam", time_zone=ASLEEP)
    team = world.team("Database", primary=["ana"], secondary=["sam"])
    job = silent(world, recipient_groups=[team], escalation_policy=patient(world))
    world.advance(minutes(10))
    world.expect_nothing_else()
    expedite([world.alert(job).pk], now=world.now)
    world.advance(seconds(1))
    world.expect_page("ana", about=job)
    world.advance(minutes(5))
    world.expect_page("sam", about=job)
    world.expect_nothing_else()


def test_an_alert_that_is_given_back_at_night_goes_on_in_the_morning(world):
    world.person("ana", time_zone=ASLEEP)
    bob = world.person("bob")
    team = world.team("Database", primary=["ana"], secondary=["sam"])
    job = silent(world, recipient_groups=[team], escalation_policy=patient(world))
    act(world.alert(job), Action.ASSIGN, via=CONSOLE, actor=bob, to=bob, now=world.now)
    world.advance(minutes(60))
    act(world.alert(job), Action.GIVE_BACK, via=CONSOLE, actor=bob, now=world.now)
    world.advance(MORNING - world.now - seconds(1))
    world.expect_nothing_else()
    world.advance(seconds(1))
    world.expect_page("ana", about=job)
    world.advance(minutes(5))
    world.expect_page("sam", about=job)
    world.expect_nothing_else()


def test_who_comes_on_call_by_day_waits_for_nobodys_morning(world):
    world.person("ana", time_zone=ASLEEP)
    team = world.team("Database", primary=["ana", "ben"])
    people = [world.person("ana"), world.person("ben")]
    make_rotation(team, primary=people, rotates_every="day", first="2026-03-01", at="14:00")
    policy = patient(world, steps=[{"role": "primary"}, {"role": "secondary", "wait_minutes": 5}])
    job = silent(world, recipient_groups=[team], escalation_policy=policy)
    assert WAITS in timeline(world, job)
    world.advance(minutes(119) - (world.now - START))
    world.expect_nothing_else()
    world.advance(minutes(2))
    world.advance(seconds(1))
    world.expect_page("ben", about=job)
    world.advance(minutes(120))
    world.expect_nothing_else()


def test_who_comes_on_call_at_night_is_notified_in_their_morning(world):
    world.person("ana", time_zone=ASLEEP)
    world.person("bob", time_zone=ASLEEP)
    team = world.team("Database", primary=["ana", "bob"])
    hand_over = MORNING + minutes(16 * 60)  # 23:00 in Honolulu
    make_shift(team, primary=[world.person("ana")], name="first", ends_at=hand_over)
    make_shift(team, primary=[world.person("bob")], name="then", starts_at=hand_over)
    job = silent(world, recipient_groups=[team], escalation_policy=patient(world, steps=[{"role": "primary"}]))
    world.advance(MORNING - world.now)
    world.expect_page("ana", about=job)
    world.advance(minutes(24 * 60) - seconds(1), at_most_every=minutes(1))
    world.expect_nothing_else()
    world.advance(seconds(1))
    world.expect_mail("bob", saying="backup")
    world.expect_nothing_else()


def test_a_play_waits_too(world):
    from escalation.policies.plays import TierRule, create_play

    ana, sam = world.person("ana", time_zone=ASLEEP), world.person("sam", time_zone=ASLEEP)
    tiers = [TierRule(offset_minutes=0, users=[ana]), TierRule(offset_minutes=10, users=[sam])]
    play = create_play(world.organization, name="Play", priority="none", low_waits_until=time(7), tiers=tiers)
    job = silent(world, response_play=play, escalation_policy=None)
    world.advance(MORNING - world.now - seconds(1))
    world.expect_nothing_else()
    world.advance(seconds(1))
    world.expect_page("ana", about=job)
    world.advance(minutes(10))
    world.expect_page("sam", about=job)
    world.expect_nothing_else()


@pytest.mark.parametrize(
    ("evening", "morning"),
    [
        ("2026-03-28T21:30Z", "2026-03-29T05:00Z"),  # 22:30 in winter, 07:00 in summer
        ("2026-10-24T20:30Z", "2026-10-25T06:00Z"),
    ],
)
def test_the_morning_is_the_readers_on_the_nights_in_which_the_clocks_change(world, evening, morning):
    world.person("ana", time_zone="Europe/Berlin")
    world.now = datetime.fromisoformat(evening)
    world.pulse()
    job = silent(world, recipients=["ana"], escalation_policy=patient(world, steps=[{"role": "primary"}]))
    world.advance(datetime.fromisoformat(morning) - world.now - seconds(1))
    world.expect_nothing_else()
    world.advance(seconds(1))
    world.expect_page("ana", about=job)
    world.expect_nothing_else()


def test_the_preview_and_the_page_say_that_it_waits_and_coverage_sees_no_gap(world):
    world.person("ana", time_zone=ASLEEP)
    policy = patient(world, steps=[{"role": "primary"}])
    job = world.heartbeat("backup", every=minutes(0.1), recipients=["ana"], escalation_policy=policy)
    escalation_preview = who_would_be_notified(job, at=world.now)
    assert [moment.waits_until for moment in escalation_preview.steps] == [MORNING, None]
    assert "Waits until Mon 2 Mar 2026, 07:00:00 HST (priority Low)." in escalation_preview.steps[0].notes[0]
    assert (escalation_preview.first_notified_at, escalation_preview.problems, escalation_preview.instead) == (
        MORNING,
        [],
        [],
    )
    assert coverage_of(world.organization, at=world.now).gaps == {}
    world.advance(minutes(1))
    run = EscalationRun.objects.get(alert=world.alert(job))
    moment = preview_next_step(run, at=world.now)
    assert (moment.at, moment.waits_until) == (MORNING, MORNING)
    assert moment.notes == ["It waits for the morning (priority Low)."]
    world.expect_nothing_else()


def test_until_when_low_waits_is_set_over_the_api_kept_by_a_copy_and_bounded(world, client_for):
    owner = client_for(world.person("olga", roles=["Owner"]))
    body = {"name": "Patient", "priority": "low", "roles": [{"role": "primary"}], "low_waits_until": "07:00"}
    made = owner.post("/api/v1/escalation-policies/", body, format="json").json()
    url = f"/api/v1/escalation-policies/{made['id']}/"
    assert made["low_waits_until"] == "07:00"
    assert clone_policy(world.organization.escalation_policies.get(name="Patient")).low_waits_until == time(7)
    refused = owner.patch(url, {"low_waits_until": "22:00"}, format="json")
    assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (400, "/low_waits_until")
    assert owner.patch(url, {"low_waits_until": "7 am"}, format="json").status_code == 400
    assert owner.patch(url, {"low_waits_until": None}, format="json").json()["low_waits_until"] is None
    tiers = [{"offset_minutes": 0, "users": [world.person("ana").pk]}]
    play = {"name": "Play", "tiers": tiers, "low_waits_until": "06:30"}
    assert owner.post("/api/v1/response-plays/", play, format="json").json()["low_waits_until"] == "06:30"


# -- what a mail program sees
# -------------------------------------------------------------------------------------------
@pytest.mark.parametrize("priority", ["critical", "high", "medium", "low", "none"])
def test_mails_of_critical_and_high_alerts_are_marked_as_important_and_their_recoveries_are_not(world, priority):
    job = silent(
        world, recipients=["ana"], escalation_policy=world.policy(priority=priority, steps=[{"role": "primary"}])
    )
    page = world.expect_page("ana", about=job).message()
    expected = ("high", "1") if priority in {"critical", "high"} else (None, None)
    assert (page["Importance"], page["X-Priority"]) == expected
    world.listening = True
    world.ping(job)
    world.advance(seconds(3))
    recovery = world.expect_recovery("ana", about=job).message()
    assert "recovered" in recovery["Subject"].lower()
    assert (recovery["Importance"], recovery["X-Priority"]) == (None, None)


def test_the_preview_says_how_much_later_somebody_is_notified_who_sleeps_beside_others(world):
    world.person("ana", time_zone=ASLEEP)
    policy = patient(world, steps=[{"role": "primary"}])
    job = world.heartbeat("backup", every=minutes(0.1), recipients=["ana", "bob"], escalation_policy=policy)
    (problem,) = who_would_be_notified(job, at=world.now).problems
    assert (problem.code, problem.user_id) == ("too_late", world.person("ana").pk)
    assert problem.text == "Ana is notified only after 5 hours: nobody waits for that."
