"""Our own outages: which gaps are one, what they make of deadlines, and who gets a mail."""

from datetime import timedelta
from decimal import Decimal
from uuid import uuid4

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from escalation.models.notifications import Notification
from heartbeat_project.kernel.sql import statement
from integrations.heartbeats import outages as outages_module
from integrations.heartbeats.outage_mails import mail_recipients
from integrations.heartbeats.outages import move_deadlines, record_outage
from integrations.heartbeats.selectors import recent_events
from integrations.heartbeats.timing import after_outage
from integrations.models.heartbeats import Heartbeat, HeartbeatEvent
from integrations.models.outages import ClockStep, IngestProcess, IngestState, Outage
from integrations.ping_lane.batch import (
    NO_PROCESS,
    PULSE_PARAMETERS,
    Arrival,
    PulseReceipt,
    record_pings,
    record_pulse,
)
from tests.factories import GroupFactory, HeartbeatFactory, OrganizationFactory, UserFactory
from tests.timers import timers
from tests.world import minutes, seconds

pytestmark = pytest.mark.django_db


@pytest.fixture
def backup(now):
    return HeartbeatFactory(now=now)


def pulse(at, process=None, *, first=None, refused=0):
    """Commit a pulse of a process that sent its first one at `first`."""
    own = {"process": process, "first_sent_at": first or at, "committed_at": at, "refused": refused} if process else {}
    with connection.cursor() as cursor:
        cursor.execute(statement("integrations", "record_pulse"), {"now": at, **PULSE_PARAMETERS, **NO_PROCESS, **own})
        return PulseReceipt._make(cursor.fetchone())


def outages():
    return list(Outage.objects.order_by("id").values_list("started_at", "ended_at"))


# -- which gaps are an outage ----------------------------------------------------------------------------------------
@pytest.mark.parametrize(("gap", "count"), [(1.9, 0), (2, 1), (60, 1)])
def test_two_seconds_without_a_pulse_are_an_outage(now, gap, count):
    process = uuid4()
    pulse(now, process)
    pulse(now + seconds(gap), process)
    assert Outage.objects.count() == count


def test_a_process_that_ended_and_its_successor_leave_an_outage_however_short(now):
    pulse(now, uuid4())
    IngestProcess.objects.all().delete()  # it ended cleanly
    assert pulse(now + seconds(0.5), uuid4(), first=now + seconds(0.4)).counts
    assert outages() == [(now, now + seconds(0.5))]


def test_after_a_process_was_killed_its_successor_waits_until_it_would_have_pulsed(now):
    killed, successor = uuid4(), uuid4()
    pulse(now, killed)
    assert not pulse(now + seconds(1.1), successor, first=now + seconds(0.5)).counts
    assert (IngestState.objects.get().stored_until, IngestProcess.objects.count()) == (now, 1)
    assert pulse(now + seconds(2.1), successor, first=now + seconds(0.5)).counts
    assert outages() == [(now, now + seconds(2.1))]


def test_a_process_that_joins_another_which_listens_makes_no_outage(now):
    old, new = uuid4(), uuid4()
    pulse(now, old)
    assert not pulse(now + seconds(0.6), new, first=now + seconds(0.5)).counts
    pulse(now + seconds(1), old)
    assert pulse(now + seconds(1.6), new, first=now + seconds(0.5)).counts
    IngestProcess.objects.filter(process=old).delete()
    pulse(now + seconds(2.6), new, first=now + seconds(0.5))
    assert outages() == []


def test_the_very_first_pulse_ends_no_outage(now):
    assert pulse(now, uuid4()).counts
    assert outages() == []


def test_a_pulse_that_comes_late_takes_nothing_back_and_a_clock_set_back_is_followed(now):
    def stored_until():
        return IngestState.objects.get().stored_until

    record_pulse(now=now)
    record_pulse(now=now - seconds(59))
    assert stored_until() == now
    record_pulse(now=now - seconds(61))
    assert stored_until() == now - seconds(61)


def test_an_outage_without_length_is_none(now):
    assert record_outage(started_at=now, ended_at=now) is None
    assert record_outage(started_at=now, ended_at=now + seconds(1)) == Outage.objects.get()


# -- what it makes of deadlines --------------------------------------------------------------------------------------
@hypothesis_settings(max_examples=20, suppress_health_check=list(HealthCheck))
@given(rows=st.lists(timers(), min_size=1, max_size=20), length=st.integers(1, 400_000_000_000))
def test_the_statement_says_the_same_as_the_pure_rule(many, now, rows, length):
    started_at, ended_at = now, now + timedelta(microseconds=length)
    for pk, timer in zip(many, rows, strict=False):
        Heartbeat.objects.filter(pk=pk).update(
            interval_minutes=Decimal(timer.interval // timedelta(seconds=6)) / 10,
            grace_minutes=Decimal(timer.grace // timedelta(seconds=6)) / 10,
            state="waiting" if timer.waiting else "healthy",
            armed_at=timer.armed_at,
            deadline_at=timer.deadline_at,
            last_ping_at=timer.last_ping_at,
            last_gap=timer.last_gap,
            excused_until=timer.excused_until,
        )
    Heartbeat.objects.filter(pk__in=many[len(rows) :]).update(armed_at=ended_at, deadline_at=ended_at + minutes(5))
    Outage.objects.all().delete()
    record_outage(started_at=started_at, ended_at=ended_at)

    move_deadlines(now=ended_at, limit=7)

    found = Heartbeat.objects.filter(pk__in=many[: len(rows)]).order_by("pk")
    for row, timer in zip(found, rows, strict=True):
        expected = after_outage(timer, started_at=started_at, ended_at=ended_at)
        assert (row.armed_at, row.deadline_at) == (expected.armed_at, expected.deadline_at), timer
        if expected.excused_until is None:
            assert row.excused_until is None
        else:
            assert abs(row.excused_until - expected.excused_until) < timedelta(milliseconds=1), timer


@pytest.fixture
def many(now):
    """Twenty heartbeats."""
    organization = OrganizationFactory()
    return [HeartbeatFactory(now=now, organization=organization).pk for _ in range(20)]


def test_an_outage_is_applied_in_batches_each_heartbeat_once_and_leaves_no_rows(now):
    made = [HeartbeatFactory(now=now) for _ in range(5)]
    record_pulse(now=now)
    record_pulse(now=now + minutes(3))
    before = HeartbeatEvent.objects.count()

    move_deadlines(now=now + minutes(3), limit=2)
    move_deadlines(now=now + minutes(3), limit=2)

    assert set(Heartbeat.objects.values_list("armed_at", "deadline_at")) == {(now + minutes(3), now + minutes(8))}
    assert HeartbeatEvent.objects.count() == before
    outage = Outage.objects.get()
    assert (outage.moved_count, outage.done_at) == (len(made), now + minutes(3))


def test_an_outage_moves_a_timer_by_what_it_ran_through_and_no_other(now):
    disabled = HeartbeatFactory(now=now, enabled=False)
    missed, half, later = (HeartbeatFactory(now=now) for _ in range(3))
    Heartbeat.objects.filter(pk=missed.pk).update(state="missed")
    Heartbeat.objects.filter(pk=half.pk).update(armed_at=now + minutes(1), deadline_at=now + minutes(6))
    # in maintenance, its timer is armed at the window's end
    Heartbeat.objects.filter(pk=later.pk).update(armed_at=now + minutes(60), deadline_at=now + minutes(65))
    record_pulse(now=now)
    record_pulse(now=now + minutes(3))

    move_deadlines(now=now + minutes(3))

    assert dict(Heartbeat.objects.values_list("pk", "deadline_at")) == {
        disabled.pk: None,
        missed.pk: now + minutes(5),
        half.pk: now + minutes(8),
        later.pk: now + minutes(65),
    }
    assert Heartbeat.objects.get(pk=half.pk).armed_at == now + minutes(3)


def test_outages_that_follow_each_other_are_applied_as_one_and_others_are_not(now):
    """Where pings are refused for long, each second leaves one, and to apply it to all heartbeats takes longer."""
    backup = HeartbeatFactory(now=now)
    for second in (0, 1, 2, 9):
        record_outage(started_at=now + seconds(second), ended_at=now + seconds(second + 1), refused_pings=1)

    with CaptureQueriesContext(connection) as captured:
        move_deadlines(now=now + seconds(10))

    assert outages() == [(now, now + seconds(3)), (now + seconds(9), now + seconds(10))]
    assert list(Outage.objects.order_by("id").values_list("refused_pings", "moved_count")) == [(3, 1), (1, 1)]
    assert Heartbeat.objects.get(pk=backup.pk).deadline_at == now + minutes(5) + seconds(4)
    assert sum("integrations_heartbeat AS heartbeat" in query["sql"] for query in captured) == 4


def test_an_outage_waits_until_deadlines_have_followed_a_step_back_of_the_clock(now):
    """The outage follows it at once: applied to a deadline by the time before, it would pass over it."""
    backup = HeartbeatFactory(now=now)
    record_outage(started_at=now + minutes(1), ended_at=now + minutes(2))
    step = ClockStep.objects.create(at=now, set_back=minutes(60), total=minutes(60))

    move_deadlines(now=now + minutes(2))
    assert not Outage.objects.filter(moved_count__gt=0).exists()

    ClockStep.objects.filter(pk=step.pk).update(stage=ClockStep.Stage.RUNS)
    move_deadlines(now=now + minutes(2))
    assert Heartbeat.objects.get(pk=backup.pk).deadline_at == now + minutes(6)


def test_pings_leave_the_gap_between_the_last_two_of_them(backup, now):
    def last_gap_after(minute, *more):
        record_pings([Arrival(backup.token, now + minutes(at)) for at in (minute, *more)])
        return Heartbeat.objects.get().last_gap

    assert last_gap_after(1) is None
    assert last_gap_after(3) == minutes(2)
    assert last_gap_after(2) == minutes(2), "a ping that was committed late is not the last"
    assert last_gap_after(8) == minutes(5)
    assert last_gap_after(20) == minutes(5), "a silence is no cadence"
    assert last_gap_after(21, 23) == minutes(3)


# -- what people learn -----------------------------------------------------------------------------------------------
def notices():
    return list(Notification.objects.filter(kind="notice").order_by("id"))


@pytest.mark.parametrize(
    ("length", "refused", "mails"), [(59, 0, 0), (60, 0, 1), (1, 1, 1)], ids=["short", "long", "refused"]
)
def test_the_operator_is_mailed_from_a_minute_on_or_when_a_ping_was_refused(now, length, refused, mails):
    owner = UserFactory(roles=["Owner"])
    UserFactory(roles=["Owner"])  # of another organization
    record_outage(started_at=now, ended_at=now + seconds(length), refused_pings=refused)

    move_deadlines(now=now + minutes(4))

    assert [notice.organization_id for notice in notices()] == [owner.organization_id] * mails
    for notice in notices():
        assert notice.subject.startswith("Heartbeat could not receive pings for 1 ")
        assert ("1 ping was refused" in notice.text) == bool(refused)


def test_a_notice_that_cannot_be_written_keeps_nothing_from_being_judged(now, monkeypatch, caplog):
    def choke(*_, **__):
        raise ValueError("no")

    monkeypatch.setattr(outages_module, "notify_operator", choke)
    record_outage(started_at=now, ended_at=now + minutes(2))
    move_deadlines(now=now + minutes(4))
    assert Outage.objects.get().done_at is not None
    assert "could not be notified of the outage" in caplog.text


def test_outages_in_a_row_make_one_notice_an_hour(now):
    UserFactory(roles=["Owner"])
    for number in range(5):
        record_outage(started_at=now + minutes(10 * number), ended_at=now + minutes(10 * number + 2))
        move_deadlines(now=now + minutes(10 * number + 2))
    assert len(notices()) == 1


def expecting(organization, now, name, **fields):
    """Return a heartbeat of two hours whose ping is expected in ten minutes."""
    made = HeartbeatFactory(organization=organization, name=name, now=now, interval_minutes=120, **fields)
    for ago in (230, 110):
        record_pings([Arrival(made.token, now - minutes(ago))])
    return made


def test_recipients_get_one_mail_about_all_that_is_not_known_since_the_outage(now):
    organization = OrganizationFactory()
    ana, ben, cem, olga = (UserFactory(organization=organization, name=name) for name in ("Ana", "Ben", "Cem", "Olga"))
    group = GroupFactory(organization=organization, primary=[ben], secondary=[cem])
    backup = expecting(organization, now, "backup", recipient_users=[ana], recipient_groups=[group])
    expecting(organization, now, "report", recipient_users=[ana])
    hidden = expecting(organization, now, "hidden", recipient_users=[olga])
    olga.opt_outs.create(integration_id=hidden.pk, created_at=now)
    HeartbeatFactory(organization=organization, name="often", interval_minutes=5, now=now, recipient_users=[ana])
    record_outage(started_at=now + minutes(5), ended_at=now + minutes(8))
    move_deadlines(now=now + minutes(8))

    assert mail_recipients(now=now + minutes(8)) == 3
    assert mail_recipients(now=now + minutes(9)) == 0

    by_user = {notice.user_id: notice for notice in notices()}
    assert set(by_user) == {ana.pk, ben.pk, cem.pk}
    assert by_user[ana.pk].subject == "2 heartbeats: not known since the outage"
    assert by_user[ben.pk].subject == "backup: not known since the outage"
    said = " ".join(by_user[ana.pk].text.split())
    assert "backup: not known since the outage; the next ping is expected by Mon 2 Mar 2026, 14:08:00 UTC." in said
    assert "report: not known" in said
    assert "often" not in said
    assert f"/heartbeats/{backup.pk}/" in said


def test_the_mail_has_its_readers_time_zone_and_says_that_they_need_not_do_anything(now):
    organization = OrganizationFactory()
    ana = UserFactory(organization=organization, time_zone="Asia/Tokyo")
    expecting(organization, now, "backup", recipient_users=[ana])
    record_outage(started_at=now + minutes(5), ended_at=now + minutes(8))
    move_deadlines(now=now + minutes(8))

    assert mail_recipients(now=now + minutes(8)) == 1
    [mail] = notices()
    said = " ".join(mail.text.split())
    assert "From Mon 2 Mar 2026, 21:05:00 JST until Mon 2 Mar 2026, 21:08:00 JST (3 minutes)" in said
    assert "the next ping is expected by Mon 2 Mar 2026, 23:08:00 JST." in said
    assert "You need not do anything, unless a job matters today: then look whether it ran." in said
    assert "UTC" not in said


def test_who_has_pinged_before_the_mails_are_written_is_not_in_them(now):
    organization = OrganizationFactory()
    ana = UserFactory(organization=organization)
    backup = expecting(organization, now, "backup", recipient_users=[ana])
    record_outage(started_at=now + minutes(5), ended_at=now + minutes(8))
    move_deadlines(now=now + minutes(8))
    record_pings([Arrival(backup.token, now + minutes(9))])

    assert mail_recipients(now=now + minutes(9)) == 0
    assert not Outage.objects.filter(mail_due=True).exists()


def test_recipients_get_their_mail_although_another_outage_came_before_it_was_written(now):
    """A machine that restarts twice before its first tick."""
    organization = OrganizationFactory()
    ana = UserFactory(organization=organization)
    backup = expecting(organization, now, "backup", recipient_users=[ana])
    for start in (5, 30):
        record_outage(started_at=now + minutes(start), ended_at=now + minutes(start + 9))
    move_deadlines(now=now + minutes(39))

    assert mail_recipients(now=now + minutes(39)) == 1
    assert Heartbeat.objects.get(pk=backup.pk).deadline_at == now + minutes(14 + 120 + 9)
    [mail] = notices()
    assert "(9 minutes)" in " ".join(mail.text.split())


def test_mails_cost_the_same_for_2_heartbeats_and_for_30(now):
    spent = []
    for count in (2, 30):
        organization = OrganizationFactory()
        group = GroupFactory(organization=organization, primary=[UserFactory(organization=organization)])
        for number in range(count):
            expecting(organization, now, f"job {number}", recipient_groups=[group])
        record_outage(started_at=now + minutes(5), ended_at=now + minutes(8))
        move_deadlines(now=now + minutes(8))
        with CaptureQueriesContext(connection) as captured:
            assert mail_recipients(now=now + minutes(8)) == 1
        spent.append(len(captured))
        Heartbeat.objects.all().delete()
    assert spent[0] == spent[1]


def test_the_log_of_a_heartbeat_shows_the_outages_since_it_was_made(now):
    record_outage(started_at=now - minutes(9), ended_at=now - minutes(8))
    backup = HeartbeatFactory(now=now)
    HeartbeatEvent.objects.create(integration=backup, at=now, kind="outage", text="of an older version")
    for number in range(30):
        record_outage(started_at=now + minutes(number + 1), ended_at=now + minutes(number + 1) + seconds(20))

    log = recent_events(backup, limit=5)

    assert [event.at for event in log] == [now + minutes(number) + seconds(20) for number in (30, 29, 28, 27, 26)]
    assert log[0].text == "Pings could not be received for 20 seconds; that time does not count as silence."
    Outage.objects.filter(started_at__gt=now + minutes(1)).delete()
    assert [event.kind for event in recent_events(backup, limit=5)] == ["outage", "created"]
