"""The detector on its own: up to when it judges, and what it does with a heartbeat that is not as it was claimed."""

import pytest
from django.db import OperationalError, connection
from django.test.utils import CaptureQueriesContext

from alerting.models.alerts import Alert
from escalation.engine.start import EscalationStarter
from integrations.heartbeats import detection
from integrations.heartbeats.detection import detect_misses
from integrations.heartbeats.outages import move_deadlines
from integrations.models.heartbeats import Heartbeat
from integrations.models.outages import IngestState
from integrations.ping_lane.batch import Arrival, record_pings, record_pulse
from tests.factories import GroupFactory, HeartbeatFactory, OrganizationFactory, PolicyFactory, UserFactory
from tests.world import minutes, seconds

pytestmark = pytest.mark.django_db


@pytest.fixture
def backup(now):
    """A heartbeat whose deadline is in five minutes."""
    return HeartbeatFactory(now=now)


def test_nothing_is_judged_before_anybody_has_listened(backup, now):
    IngestState.objects.all().delete()
    assert detect_misses(now=now + minutes(10)) == 0


def test_nothing_is_judged_beyond_the_newest_pulse(backup, now):
    record_pulse(now=now + minutes(5) - seconds(1))
    assert detect_misses(now=now + minutes(10)) == 0
    record_pulse(now=now + minutes(5))
    assert detect_misses(now=now + minutes(10)) == 1


def test_the_most_overdue_opens_first(now):
    later, earlier = HeartbeatFactory(now=now), HeartbeatFactory(now=now - minutes(1))
    record_pulse(now=now + minutes(5))

    assert detect_misses(now=now + minutes(5), limit=1) == 2

    assert list(Alert.objects.order_by("id").values_list("integration_id", flat=True)) == [earlier.pk, later.pk]


def test_the_pulse_by_which_a_deadline_has_passed_wakes_the_detector(backup, now, monkeypatch):
    woken = []
    monkeypatch.setattr(
        "integrations.ping_lane.batch.wake_on_commit", lambda name, **kwargs: woken.append((name, kwargs))
    )
    record_pulse(now=now + minutes(5) - seconds(1))
    assert woken == []
    record_pulse(now=now + minutes(5))
    assert woken == [("integrations.detect_misses", {"queue": "engine"})]
    detect_misses(now=now + minutes(5))
    record_pulse(now=now + minutes(5) + seconds(1))
    assert len(woken) == 1


def test_where_there_is_more_than_a_batch_one_more_detector_is_woken_for(now, monkeypatch):
    woken = []
    monkeypatch.setattr(detection, "wake_now", lambda name, **kwargs: woken.append((name, kwargs)))
    for _ in range(5):
        HeartbeatFactory(now=now)
    record_pulse(now=now + minutes(5))
    assert detect_misses(now=now + minutes(5), limit=2) == 5
    assert woken == [("integrations.detect_misses", {"queue": "engine"})]


def test_a_detector_leaves_what_takes_too_long_to_the_next(now, monkeypatch):
    woken = []
    monkeypatch.setattr(detection, "wake_now", lambda name, **kwargs: woken.append(name))
    monkeypatch.setattr(detection, "BUDGET_SECONDS", 0.0)
    for _ in range(10):
        HeartbeatFactory(now=now)
    record_pulse(now=now + minutes(5))
    opened = [detect_misses(now=now + minutes(5) + seconds(number), limit=5) for number in range(5)]
    assert opened == [1, 1, 1, 1, 1]
    assert woken == ["integrations.detect_misses"] * 10  # for a second one, and for the rest
    assert Alert.objects.values("opened_at").distinct().count() == 5


def test_escalations_go_on_while_detectors_take_up_all_engines(now, monkeypatch):
    did = []
    monkeypatch.setattr(detection, "wake_now", lambda name, **kwargs: did.append(name))
    monkeypatch.setattr(detection, "advance_escalations", lambda *, now: did.append(now))
    monkeypatch.setattr(detection, "BUDGET_SECONDS", 0.0)
    for _ in range(2):
        HeartbeatFactory(now=now)
    record_pulse(now=now + minutes(5))
    detect_misses(now=now + minutes(5), limit=5)
    assert did == ["integrations.detect_misses", now + minutes(5), "integrations.detect_misses"]


def test_detecting_costs_the_same_for_2_and_for_40(now):
    spent = []
    for count in (2, 40):
        organization = OrganizationFactory()
        team = GroupFactory(organization=organization, primary=[UserFactory(organization=organization)])
        policy = PolicyFactory(organization=organization)
        for _ in range(count):
            HeartbeatFactory(now=now, organization=organization, escalation_policy=policy, recipient_groups=[team])
        record_pulse(now=now + minutes(5))
        with CaptureQueriesContext(connection) as captured:
            assert detect_misses(now=now + minutes(5)) == count
        spent.append(len(captured))
    assert spent[0] == spent[1]


def test_a_detector_whose_clock_is_behind_judges_by_its_own_clock(backup, now):
    record_pulse(now=now + minutes(6))
    assert detect_misses(now=now + minutes(4)) == 0
    row = Heartbeat.objects.get()
    assert (row.state, row.error) == ("waiting", "")


def test_nothing_is_judged_while_deadlines_are_still_being_moved(backup, now):
    record_pulse(now=now)
    record_pulse(now=now + minutes(10))

    assert detect_misses(now=now + minutes(10)) == 0
    move_deadlines(now=now + minutes(10))
    assert detect_misses(now=now + minutes(10)) == 0
    record_pulse(now=now + minutes(10) + seconds(1))
    IngestState.objects.update(stored_until=now + minutes(15))
    assert detect_misses(now=now + minutes(15)) == 1


def test_a_pulse_that_comes_late_takes_nothing_back_and_a_clock_set_back_is_followed(now):
    def stored_until():
        return IngestState.objects.get().stored_until

    record_pulse(now=now)
    record_pulse(now=now - seconds(59))
    assert stored_until() == now
    record_pulse(now=now - seconds(61))
    assert stored_until() == now - seconds(61)


def test_what_an_earlier_silence_left_open_is_closed_when_a_new_one_opens(backup, now):
    """A ping came and its recovery was not closed yet: the database allows one live alert."""
    record_pulse(now=now + minutes(5))
    detect_misses(now=now + minutes(5))
    record_pings([Arrival(token=backup.token, received_at=now + minutes(6))])
    IngestState.objects.update(stored_until=now + minutes(11))

    assert detect_misses(now=now + minutes(11)) == 1

    statuses = Alert.objects.order_by("id").values_list("status", "close_reason")
    assert list(statuses) == [("closed", "closed by heartbeat"), ("open", "")]
    assert Heartbeat.objects.get().error == ""


@pytest.mark.parametrize(
    "meanwhile", [{"state": "missed"}, {"state": "disabled", "armed_at": None, "deadline_at": None}]
)
def test_a_heartbeat_that_changed_after_the_claim_opens_nothing(backup, now, meanwhile):
    Heartbeat.objects.update(**meanwhile)
    with pytest.raises(RuntimeError, match="changed"):
        detection._open([backup.pk], starter=EscalationStarter(now=now + minutes(5)), now=now + minutes(5))
    assert not Alert.objects.exists()


@pytest.mark.parametrize("alone", [False, True])
def test_a_store_that_goes_away_is_no_fault_of_the_heartbeat(backup, now, monkeypatch, alone):
    """Also when it goes away while each of a failed batch is tried alone."""
    errors = [*([ValueError("once")] if alone else []), OperationalError("server closed the connection")]

    def draft(*_, **__):
        raise errors.pop(0)

    monkeypatch.setattr(detection, "_draft", draft)
    record_pulse(now=now + minutes(5))
    with pytest.raises(OperationalError):
        detect_misses(now=now + minutes(5))
    assert Heartbeat.objects.get().error == ""


def test_a_ping_after_the_claim_opens_nothing(backup, now):
    record_pings([Arrival(token=backup.token, received_at=now + minutes(1))])
    with pytest.raises(RuntimeError, match="changed"):
        detection._open([backup.pk], starter=EscalationStarter(now=now + minutes(5)), now=now + minutes(5))
    assert not Alert.objects.exists()
