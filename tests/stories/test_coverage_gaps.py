"""Silences that would reach nobody, now or in the fourteen days to come, with from when until when."""

from datetime import datetime, timedelta

import pytest

from escalation.oncall.selectors import AHEAD
from escalation.oncall.shifts import update_shift
from integrations.coverage.gaps import coverage_of, gaps_among
from tests import factories
from tests.factories.shifts import make_absence, make_rotation, make_shift
from tests.world import minutes

pytestmark = pytest.mark.django_db

DAY = timedelta(days=1)
ALWAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


def at(text: str) -> datetime:
    return datetime.fromisoformat(f"{text}Z")


def gap_of(world, job):
    gap = coverage_of(world.organization, at=world.now).gaps.get(job.pk)
    return gap and (gap.starts_at, gap.ends_at)


def test_nothing_is_listed_where_somebody_is_always_there(world):
    team = world.team("Database", primary=["ana", "bob"])
    make_rotation(team, primary=[world.person("ana"), world.person("bob")])
    world.heartbeat("backup", every=minutes(5), recipient_groups=[team])
    world.heartbeat("mirror", every=minutes(5), recipients=["zoe"])
    coverage = coverage_of(world.organization, at=world.now)
    assert (coverage.gaps, coverage.groups, coverage.looked_until) == ({}, [], world.now + AHEAD)


def test_a_hole_between_shifts_is_seen_from_its_beginning_to_its_end(world):
    team = world.team("Database", primary=["ana"])
    make_shift(team, primary=[world.person("ana")], windows=[(ALWAYS[:5], "08:00", "18:00")])
    job = world.heartbeat("backup", every=minutes(5), recipient_groups=[team])
    assert gap_of(world, job) == (at("2026-03-02T18:00"), at("2026-03-03T08:00"))
    world.now = at("2026-03-06T19:00")  # a Friday evening: the gap goes on over the weekend
    assert gap_of(world, job) == (world.now, at("2026-03-09T08:00"))


def test_a_gap_is_seen_in_the_days_ahead_and_not_beyond_them(world):
    team = world.team("Database", primary=["ana"], managers=[])
    admin = world.person("olga", roles=["App Admin"])
    shift = make_shift(team, primary=[world.person("ana")])
    job = world.heartbeat("backup", every=minutes(5), recipient_groups=[team])
    update_shift(shift, actor=admin, now=world.now, starts_at=world.now + AHEAD + DAY)
    assert gap_of(world, job) == (world.now, None)
    update_shift(shift, actor=admin, now=world.now, starts_at=world.now + DAY)
    assert gap_of(world, job) == (world.now, world.now + DAY)
    update_shift(shift, actor=admin, now=world.now, starts_at=None)
    assert gap_of(world, job) is None


def test_a_cover_who_cannot_be_reached_and_a_cover_who_can(world):
    ana, bob = world.person("ana"), world.person("bob")
    team = world.team("Database", primary=["ana"])
    make_absence(ana, bob, starts_at=world.now + DAY, ends_at=world.now + 2 * DAY)
    job = world.heartbeat("backup", every=minutes(5), recipient_groups=[team])
    assert gap_of(world, job) is None
    ana.contact_methods.update(label="Email-Second", enabled=False)  # nothing of Ana's is left, Bob covers one day
    assert gap_of(world, job) == (world.now, world.now + DAY)


def test_a_contact_method_that_closes_at_night_takes_its_owner_along(world):
    ana = world.person("ana", time_zone="Europe/Berlin")
    windows = [{"days": list(ALWAYS), "starts": "08:00", "ends": "22:00"}]
    ana.contact_methods.update(label="Email-Second", windows=windows)
    policy = world.policy(steps=[{"role": "primary", "retries": 1, "retry_interval_minutes": 30}])
    job = world.heartbeat("backup", every=minutes(5), recipients=["ana"], escalation_policy=policy)
    assert gap_of(world, job) == (at("2026-03-02T21:00"), at("2026-03-03T07:00"))
    ana.contact_methods.update(delay_minutes=3)
    assert gap_of(world, job) == (at("2026-03-02T20:57"), at("2026-03-03T06:57"))


def test_what_is_disabled_or_elsewhere_is_not_listed_and_a_disabled_policy_is(world):
    off = world.policy(name="Off", enabled=False)
    job = world.heartbeat("backup", every=minutes(5), recipients=["ana"], escalation_policy=off)
    world.heartbeat("gone", every=minutes(5), enabled=False)
    factories.HeartbeatFactory()
    coverage = coverage_of(world.organization, at=world.now)
    assert list(coverage.gaps) == [job.pk]
    assert coverage.gaps[job.pk].reason == "The escalation policy “Off” is disabled."


def codes(world, moment=None):
    return [
        (gap.group.name, gap.code, gap.starts_at, gap.ends_at)
        for gap in coverage_of(world.organization, at=moment or world.now).groups
    ]


def test_holes_and_ends_of_rotas_that_a_heartbeat_depends_on_are_listed(world):
    ana, bob = world.person("ana"), world.person("bob")
    team = world.team("Database", primary=["ana", "bob"], managers=["mia"])
    end = world.now + 3 * DAY
    make_rotation(team, primary=[ana, bob], ends_at=end)
    office = world.team("Office", primary=["zoe"], managers=["mia"])
    make_shift(office, primary=[world.person("zoe")], windows=[(("monday",), "08:00", "18:00")])
    lonely = world.team("Nobody depends on it", primary=["ana"])
    make_shift(lonely, primary=[ana], windows=[(("monday",), "08:00", "09:00")])
    assert codes(world) == []
    job = world.heartbeat("backup", every=minutes(5), recipient_groups=[team, office])
    hole = ("Office", "rota_hole", at("2026-03-02T18:00"), at("2026-03-09T08:00"))
    assert codes(world) == [hole, ("Database", "rota_ended", end, None)]
    assert gap_of(world, job) is None  # the Managers are reached all the same
    over = codes(world, end + 40 * DAY)
    assert ("Database", "rota_ended", end, None) in over
    reasons = [gap.reason for gap in coverage_of(world.organization, at=world.now).groups]
    assert reasons[0] == "Nobody who can be reached is on call. More such gaps follow: 1."


def test_an_override_that_ends_is_no_rota_that_ended(world):
    team = world.team("Database", primary=["ana", "bob"])
    make_shift(team, primary=[world.person("ana")], starts_at=world.now, ends_at=world.now + DAY, is_override=True)
    world.heartbeat("backup", every=minutes(5), recipient_groups=[team])
    assert codes(world) == []


def test_a_bound_that_is_met_is_said(world):
    team = world.team("Database", primary=["ana"])
    make_shift(team, primary=[world.person("ana")], windows=[(ALWAYS, "08:00", "18:00")])
    job = world.heartbeat("backup", every=minutes(5), recipient_groups=[team])
    asked = {"organization_id": world.organization.pk, "at": world.now}
    near = gaps_among([job.pk], **asked, max_steps=2)
    assert near.looked_until == at("2026-03-03T08:00")
    assert (near.gaps[job.pk].starts_at, near.gaps[job.pk].ends_at) == (at("2026-03-02T18:00"), None)
    present = gaps_among([job.pk], **asked, max_steps=0)
    assert (present.gaps, present.looked_until) == ({}, at("2026-03-02T18:00"))


def test_queries_do_not_grow_with_heartbeats_and_ways(world, django_assert_max_num_queries):
    teams = [world.team(f"Team {number}", primary=["ana"], managers=["mia"]) for number in range(8)]
    for number in range(24):
        world.heartbeat(
            f"job {number}", every=minutes(5), recipient_groups=[teams[number % 8]], recipients=["ana"][: number % 2]
        )
    with django_assert_max_num_queries(30):
        assert coverage_of(world.organization, at=world.now).gaps == {}


def test_windows_count_where_the_method_for_all_hours_fails(world):
    ana = world.person("ana")
    windows = [{"days": list(ALWAYS), "starts": "08:00", "ends": "22:00"}]
    ana.contact_methods.create(
        label="Email-Second", address="second@example.com", verified_at=world.now, windows=windows, position=2
    )
    job = world.heartbeat("backup", every=minutes(5), recipients=["ana"])
    assert gap_of(world, job) is None
    ana.contact_methods.filter(label="Email-Official").update(failing_since=world.now, failing_reason="550")
    assert gap_of(world, job) == (at("2026-03-02T22:00"), at("2026-03-03T08:00"))
