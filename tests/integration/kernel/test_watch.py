"""Each process notices that the work stands still, mails the operator once, and stops pinging the watchdog."""

import socket
import threading
from datetime import timedelta

import pytest
from django.db import OperationalError, ProgrammingError, transaction

from accounts.services.restores import hold
from escalation.channels.base import DeliveryError
from escalation.channels.email import EmailChannel
from escalation.engine import progress
from escalation.engine.progress import Work
from escalation.models.notifications import Notification
from escalation.models.progress import Progress
from heartbeat_project import disk
from heartbeat_project import watch as module
from heartbeat_project.condition import Condition, condition
from heartbeat_project.operator_mail import MailServer, MemoryStore, OperatorMail
from heartbeat_project.watch import Watch, Watchdog
from integrations.ping_lane.health import PROCESS_HEALTH
from integrations.tasks import detect_misses
from tests.factories import WHEN
from tests.processes import DeadMansSwitch, PostOffice
from tests.world import World, minutes, record_pulse, seconds

pytestmark = pytest.mark.django_db

WELL = Condition("", watchdog=True)


@pytest.fixture
def post():
    with PostOffice() as office:
        yield office


@pytest.fixture
def mail(post):
    return OperatorMail(
        MemoryStore(),
        server=MailServer.from_url(post.url),
        sender="heartbeat@example.org",
        base_url="https://heartbeat.example.org",
        say=[].append,
        address="ops@example.com",
    )


@pytest.fixture
def time_passes(monkeypatch):
    """Let the watch's stop watch go by hand; return what moves it."""
    at = [1000.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: at[0])

    def pass_(by: float) -> None:
        at[0] += by

    return pass_


def look_on(watch, time_passes, *, for_: float, start=WHEN):
    for second in range(0, int(for_), 10):
        watch.look(now=start + seconds(second))
        time_passes(10)


def test_a_database_that_is_away_is_mailed_after_two_minutes_and_its_return(mail, post, time_passes):
    def away(*, now):
        raise OperationalError("connection refused\nIs the server running?")

    watch = Watch(mail, limit=120, look=away)
    look_on(watch, time_passes, for_=120)
    assert post.messages == []
    look_on(watch, time_passes, for_=600, start=WHEN + minutes(2))
    (begun,) = post.messages
    assert "The database cannot be used: connection refused" in begun.get_content()
    watch._look = lambda *, now: WELL
    look_on(watch, time_passes, for_=60, start=WHEN + minutes(12))
    assert [message["Subject"] for message in post.messages][1:] == ["Heartbeat works again"]


def test_a_restart_mails_nobody(mail, post, time_passes):
    """Everything was off for three hours: what is due is overdue, and is done within seconds."""
    old = WHEN - timedelta(hours=3)
    for work in (Work.JUDGED, Work.ENGINE, Work.DELIVERY, Work.SENT):
        Progress.objects.create(work=work, at=old)
    watch = Watch(mail, limit=120)
    look_on(watch, time_passes, for_=60)
    Progress.objects.update(at=WHEN + minutes(1))
    look_on(watch, time_passes, for_=10, start=WHEN + minutes(1))
    assert post.messages == []


def test_a_process_that_was_stopped_itself_mails_nobody(mail, post, time_passes):
    def look():
        watch.look(now=WHEN)

    watch = Watch(mail, limit=120, look=lambda *, now: Condition("No deadline is judged.", watchdog=False))
    look()
    time_passes(100_000)
    look()
    assert post.messages == []


def test_pings_that_are_refused_here_count(mail, post, time_passes):
    watch = Watch(mail, limit=120, look=lambda *, now: WELL)
    try:
        for second in range(0, 140, 10):
            PROCESS_HEALTH.refused(WHEN + seconds(second), why="No space left on device")
            watch.look(now=WHEN + seconds(second))
            time_passes(10)
    finally:
        PROCESS_HEALTH.refused_at = None
    assert "No space left on device" in post.messages[0].get_content()


def test_the_address_is_kept_for_when_the_database_is_away(post, mail, time_passes):
    world = World(now=WHEN)
    world.person("olga", roles=["Owner"])
    mail.address = ""
    watch = Watch(mail, limit=120, look=lambda *, now: WELL)
    watch.look(now=WHEN)
    assert mail.store.read().address == "olga@example.com"


class TestCondition:
    """Whether the work goes on, by what is written in the database."""

    @pytest.fixture
    def at_work(self):
        record_pulse(now=WHEN)
        for work in (Work.JUDGED, Work.ENGINE, Work.DELIVERY):
            Progress.objects.create(work=work, at=WHEN)

    @pytest.fixture
    def notice(self):
        world = World(now=WHEN)
        olga = world.person("olga", roles=["Owner"])

        def write(*, ago: timedelta):
            return Notification.objects.create(
                organization=olga.organization,
                user=olga,
                kind="notice",
                channel="email",
                label="Operator",
                address="ops@example.com",
                created_at=WHEN - ago,
                next_attempt_at=WHEN - ago,
            )

        return write

    def test_all_is_well(self, at_work):
        assert condition(now=WHEN) == WELL

    def test_no_engine(self, at_work):
        Progress.objects.filter(work__in=[Work.JUDGED, Work.ENGINE]).update(at=WHEN - minutes(1))
        seen = condition(now=WHEN)
        assert seen == Condition("No deadline is judged. No engine worker works.", watchdog=False)

    def test_no_web_process(self, at_work):
        Progress.objects.filter(work=Work.JUDGED).update(at=WHEN - minutes(1))
        record_pulse(now=WHEN - minutes(2))
        seen = condition(now=WHEN)
        assert seen.standstill.startswith("No deadline is judged. No web process has been able to store pings")

    def test_messages_that_are_due_while_none_leaves(self, at_work, notice):
        notice(ago=seconds(20))
        Progress.objects.create(work=Work.SENT, at=WHEN - seconds(30))
        Progress.objects.filter(work=Work.DELIVERY).update(at=WHEN - seconds(30))
        said = "Messages are due, and none is sent. No delivery worker takes work."
        assert condition(now=WHEN) == Condition(said, watchdog=False)

    def test_messages_that_wait_while_others_leave_are_no_standstill(self, at_work, notice):
        notice(ago=seconds(100))
        Progress.objects.create(work=Work.SENT, at=WHEN - seconds(5))
        assert condition(now=WHEN) == WELL

    def test_a_message_that_waits_over_two_minutes_silences_the_watchdog_though_others_leave(self, at_work, notice):
        notice(ago=seconds(121))
        Progress.objects.create(work=Work.SENT, at=WHEN - seconds(5))
        assert condition(now=WHEN) == Condition("", watchdog=False)

    def test_a_message_that_is_not_due_yet_waits_for_nothing(self, at_work, notice):
        notice(ago=-minutes(10))
        assert condition(now=WHEN) == WELL

    def test_a_disk_that_is_full_is_one_before_pings_are_refused(self, at_work, settings, tmp_path, monkeypatch):
        settings.DATA_DIR = str(tmp_path)
        for mebibytes, said in ((33, ""), (31, f"The disk of {tmp_path} is full: 31 MiB are left. Make room.")):
            monkeypatch.setattr(disk, "free_space", lambda _, m=mebibytes: (m * 1024**2, 10**12))
            assert condition(now=WHEN).standstill == said

    def test_a_restored_installation_stands_still_on_purpose_until_it_looks_forgotten(self):
        hold(taken_at=WHEN - minutes(20), now=WHEN)
        assert condition(now=WHEN + minutes(12)) == Condition("", watchdog=False)
        # Watched for two minutes, it is mailed fifteen minutes after the restore.
        forgotten = condition(now=WHEN + minutes(13))
        assert "Held for 15 min" in forgotten.standstill
        assert not forgotten.watchdog


class TestProgress:
    """What workers do is written now and then."""

    @pytest.fixture(autouse=True)
    def fresh(self, monkeypatch):
        monkeypatch.setattr(progress, "_NOTES", progress._Notes())

    def test_a_tick_notes_that_an_engine_works_and_up_to_when_deadlines_are_judged(self, monkeypatch):
        monkeypatch.setattr("integrations.tasks.clock.now", lambda: WHEN)
        record_pulse(now=WHEN - seconds(3))
        detect_misses()
        assert dict(Progress.objects.values_list("work", "at")) == {
            "judged": WHEN - seconds(3),
            "engine": WHEN,
        }

    def test_a_tick_that_fails_judges_nothing(self, monkeypatch):
        def fail(*, now):
            raise OperationalError("gone")

        monkeypatch.setattr("integrations.tasks.tick", fail)
        record_pulse(now=WHEN)
        with pytest.raises(OperationalError):
            detect_misses()
        assert list(Progress.objects.values_list("work", flat=True)) == ["engine"]

    def test_it_is_written_every_five_seconds_at_most(self, monkeypatch, django_assert_num_queries):
        at = [0.0]
        monkeypatch.setattr(progress.time, "monotonic", lambda: at[0])
        with django_assert_num_queries(3):
            for second in range(12):
                at[0] = float(second)
                progress.note(Work.SENT, at=WHEN + seconds(second))
                progress.write_notes()
        row = Progress.objects.get()
        assert (row.at, row.count) == (WHEN + seconds(10), 11)

    def test_what_could_not_be_written_is_written_later(self, monkeypatch):
        progress.note(Work.GIVEN_UP, at=WHEN, times=3)
        with monkeypatch.context() as broken:
            broken.setattr(progress, "statement", lambda *_: "SELECT nonsense")
            with pytest.raises(ProgrammingError), transaction.atomic():
                progress.write_notes()
        progress._NOTES.write_at = 0.0
        progress.write_notes()
        assert Progress.objects.get().count == 3

    def test_messages_that_leave_are_noted(self, world):
        backup = world.heartbeat("backup", every=minutes(5), recipients=["ana"])
        world.advance(minutes(5))
        world.expect_page("ana", about=backup)
        assert progress._NOTES.entries == {Work.SENT: (world.now, 1)}

    def test_pages_that_are_given_up_are_noted(self, world, monkeypatch):
        def refuse(*_):
            raise DeliveryError("550 no such user", permanent=True)

        monkeypatch.setattr(EmailChannel, "send", refuse)
        world.heartbeat("backup", every=minutes(5), recipients=["ana"])
        world.advance(minutes(5))
        assert progress._NOTES.entries == {Work.GIVEN_UP: (world.now, 1)}


@pytest.fixture
def dog():
    with DeadMansSwitch() as switch:
        yield switch


class TestWatchdog:
    def test_it_is_pinged_by_post_and_by_get_where_that_is_all_it_takes(self, dog):
        assert Watchdog(dog.url).ping()
        dog.answers["POST"] = 405
        assert Watchdog(dog.url).ping()
        assert [method for method, _ in dog.pings] == ["POST", "POST", "GET"]

    def test_one_that_refuses_is_logged_without_the_address(self, dog, caplog):
        dog.answers["POST"] = 404
        assert not Watchdog(dog.url).ping()
        assert "127.0.0.1" in caplog.text
        assert "secret-token" not in caplog.text

    def test_one_that_hangs_or_drips_is_left_in_time_and_holds_one_thread(self, monkeypatch):
        monkeypatch.setattr(module, "PING_LIMIT", 0.2)
        with socket.create_server(("127.0.0.1", 0)) as silent:
            watchdog = Watchdog(f"http://127.0.0.1:{silent.getsockname()[1]}/")
            before = threading.active_count()
            assert [watchdog.ping() for _ in range(5)] == [False] * 5
            assert threading.active_count() <= before + 1

    def test_it_is_pinged_while_the_last_look_found_all_well_and_no_longer(self, time_passes):
        watch = Watch(None, limit=120, look=lambda *, now: WELL)
        assert not watch.is_well()
        watch.look(now=WHEN)
        assert watch.is_well()
        time_passes(31)
        assert not watch.is_well(), "a watch that hangs is no reason to ping"
        watch.look(now=WHEN)
        watch._look = lambda *, now: Condition("", watchdog=False)
        watch.look(now=WHEN)
        assert not watch.is_well()
