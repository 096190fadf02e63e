"""Usage by month: what is counted, when, what stays, and who reads it."""

from datetime import UTC, date, datetime, timedelta
from uuid import uuid4

import pytest
from django.test import Client

from alerting.models.alerts import Alert
from escalation.models.notifications import Notification
from heartbeat_project.kernel import clock
from heartbeat_project.kernel.mail import STORED
from integrations import tasks
from integrations.models.usage import MonthlyUsage
from integrations.upkeep.usage import count_usage, usage_of
from tests import factories
from tests.integration.escalation.posting import page

pytestmark = pytest.mark.django_db
MARCH, APRIL = date(2026, 3, 1), date(2026, 4, 1)


@pytest.fixture
def ana(organization):
    return factories.UserFactory(organization=organization, name="Ana", roles=["Billing Admin"])


def sent(organization, user, *, at, channel="email", **fields):
    """A message about a new alert, which a provider accepted."""
    policy = organization.escalation_policies.first()
    alert = page(organization, policy=policy, users=[user], name=str(uuid4()), now=at)
    changes = {
        "channel": channel,
        "status": "accepted",
        "accepted_at": at,
        "next_attempt_at": None,
        "message_id": uuid4(),
    }
    Notification.objects.filter(alert=alert).update(**changes | fields)


def counts(organization, month=MARCH):
    usage = MonthlyUsage.objects.get(organization=organization, month=month)
    return usage.heartbeats, usage.alerts, usage.messages


def test_a_month_counts_heartbeats_alerts_and_messages_by_channel(organization, ana, now):
    for _ in range(2):
        factories.HeartbeatFactory(organization=organization)
    sent(organization, ana, at=datetime(2026, 3, 1, tzinfo=UTC))
    sent(organization, ana, at=now, channel="sms")
    sent(organization, ana, at=now, channel="sms", status="delivered")
    other = factories.UserFactory()
    sent(other.organization, other, at=now)
    count_usage(now=now)
    assert counts(organization) == (2, 3, {"email": 1, "sms": 2})
    assert counts(other.organization) == (0, 1, {"email": 1})


def test_what_was_not_sent_or_belongs_to_another_month_is_no_message(organization, ana, now):
    for changes in (
        {"at": datetime(2026, 2, 28, 23, 59, 59, tzinfo=UTC)},
        {"at": now, "last_error": STORED},
        {"at": now, "status": "failed", "accepted_at": None},
        {"at": now, "status": "superseded", "accepted_at": None},
    ):
        sent(organization, ana, **changes)
    bundle = uuid4()
    for _ in range(3):
        sent(organization, ana, at=now, message_id=bundle)
    count_usage(now=now)
    assert counts(organization) == (0, 6, {"email": 1})


def test_tests_are_in_no_statistics(organization, now):
    factories.AlertFactory(organization=organization, opened_at=now)
    factories.AlertFactory(organization=organization, opened_at=now, is_test=True, source="Test")
    count_usage(now=now)
    assert counts(organization) == (0, 1, {})


def test_it_is_counted_once_an_hour_and_a_number_never_falls(organization, ana, now):
    heartbeat = factories.HeartbeatFactory(organization=organization)
    sent(organization, ana, at=now)
    count_usage(now=now)
    sent(organization, ana, at=now, channel="push")
    count_usage(now=now + timedelta(minutes=59))
    assert counts(organization) == (1, 1, {"email": 1})
    count_usage(now=now + timedelta(minutes=61))
    assert counts(organization) == (1, 2, {"email": 1, "push": 1})
    Notification.objects.all().delete()
    Alert.objects.all().delete()
    heartbeat.delete()
    count_usage(now=now + timedelta(hours=3))
    assert counts(organization) == (1, 2, {"email": 1, "push": 1})


def test_a_month_is_counted_to_its_end_on_the_day_after(organization, ana):
    last = datetime(2026, 3, 31, 23, 50, tzinfo=UTC)
    count_usage(now=last)
    sent(organization, ana, at=datetime(2026, 3, 31, 23, 59, tzinfo=UTC))
    factories.HeartbeatFactory(organization=organization)
    count_usage(now=last + timedelta(hours=2))
    assert counts(organization, MARCH) == (0, 1, {"email": 1})
    assert counts(organization, APRIL) == (1, 0, {})


def test_the_upkeep_counts_it_before_anything_is_deleted(organization, now, monkeypatch):
    order = []
    monkeypatch.setattr(tasks.clock, "now", lambda: now)
    monkeypatch.setattr(tasks.history, "keep_history", lambda *, now: None)
    monkeypatch.setattr(
        tasks.retention, "delete_what_is_old", lambda *, now: order.append(MonthlyUsage.objects.count())
    )
    tasks.keep_history()
    assert order == [1]


def test_the_days_since_the_last_count_are_counted_however_long_it_was_down(organization, ana, now):
    count_usage(now=now)
    for day in (date(2026, 3, 20), date(2026, 4, 7), date(2026, 6, 1)):
        sent(organization, ana, at=datetime(day.year, day.month, day.day, 12, tzinfo=UTC))
    count_usage(now=datetime(2026, 6, 2, tzinfo=UTC))
    for month in (MARCH, APRIL, date(2026, 6, 1)):
        assert counts(organization, month) == (0, 1, {"email": 1}), month


def test_no_number_falls_or_stays_low_where_alerts_are_deleted_after_a_day(organization, ana, now):
    """With HEARTBEAT_ALERT_RETENTION_DAYS=1 there are never the alerts of a whole month to count."""
    for _ in range(4):
        sent(organization, ana, at=now)
        count_usage(now=now)
        Alert.objects.filter(opened_at__lt=now - timedelta(days=1)).delete()
        now += timedelta(hours=23)
    assert counts(organization) == (0, 4, {"email": 4})


def test_what_was_stored_late_on_a_day_counts_for_it(organization, ana):
    """A transaction with an earlier time may commit after the count."""
    midnight = datetime(2026, 3, 3, tzinfo=UTC)
    count_usage(now=midnight + timedelta(seconds=1))
    sent(organization, ana, at=midnight - timedelta(seconds=1))
    count_usage(now=midnight + timedelta(hours=2))
    assert counts(organization) == (0, 1, {"email": 1})


def test_a_month_that_was_counted_as_a_whole_before_is_counted_by_days(organization, ana, now):
    """As rows of earlier releases are."""
    sent(organization, ana, at=now - timedelta(hours=12))
    MonthlyUsage.objects.create(
        organization=organization,
        month=MARCH,
        heartbeats=5,
        alerts=2,
        messages={"email": 1, "sms": 3},
        counted_at=now - timedelta(hours=2),
    )
    for _ in range(3):
        sent(organization, ana, at=now)
    count_usage(now=now)
    assert counts(organization) == (5, 4, {"email": 4, "sms": 3})


def test_a_first_look_counts_at_once_on_the_page_and_over_the_api(organization, ana, client_for, now, monkeypatch):
    monkeypatch.setattr(clock, "now", lambda: now)
    factories.HeartbeatFactory(organization=organization)
    sent(organization, ana, at=now)
    february = MonthlyUsage.objects.create(
        organization=organization, month=date(2026, 2, 1), heartbeats=5, alerts=6, messages={}, counted_at=now
    )

    first = client_for(ana).get("/api/v1/usage/?page_size=1").json()

    counted = {"month": "2026-03-01", "heartbeats": 1, "alerts": 1, "messages": {"email": 1}}
    assert first["results"] == [counted | {"counted_at": first["results"][0]["counted_at"]}]
    rest = client_for(ana).get(first["next"]).json()
    assert [row["month"] for row in rest["results"]] == ["2026-02-01"]
    MonthlyUsage.objects.exclude(pk=february.pk).delete()
    browser = Client()
    browser.force_login(ana)
    assert "March 2026" in browser.get("/usage/").content.decode()


def test_a_first_look_lets_no_other_organization_wait(organization, ana, now):
    other = factories.UserFactory()
    assert len(usage_of(organization, now=now)) == 1
    sent(other.organization, other, at=now)
    sent(organization, ana, at=now)
    count_usage(now=now)
    assert counts(other.organization) == (0, 1, {"email": 1})
    assert counts(organization) == (0, 0, {})
    assert len(usage_of(organization, now=now)) == 1


def test_the_page_and_the_resource_are_for_the_billing_entitlement(organization, ana, client_for, now, monkeypatch):
    monkeypatch.setattr(clock, "now", lambda: now + timedelta(days=31))
    months = {month: {"heartbeats": 7, "alerts": 41, "messages": {"sms": 1234}} for month in (MARCH, APRIL)}
    for owner in (organization, factories.OrganizationFactory()):
        for month, usage in months.items():
            MonthlyUsage.objects.create(organization=owner, month=month, counted_at=now, **usage)
    api = client_for(ana)
    rows = api.get("/api/v1/usage/").json()["results"]
    assert [(row["month"], row["messages"]) for row in rows] == [
        ("2026-04-01", {"sms": 1234}),
        ("2026-03-01", {"sms": 1234}),
    ]
    first = api.get("/api/v1/usage/?page_size=1").json()
    assert [row["month"] for row in api.get(first["next"]).json()["results"]] == ["2026-03-01"]
    assert api.post("/api/v1/usage/", {}, format="json").status_code == 405
    assert api.get("/api/v1/usage/?name=0").status_code == 400, "a month has no name"

    browser = Client()
    browser.force_login(ana)
    assert 'href="/usage/"' in browser.get("/alerts/").content.decode()
    page_text = browser.get("/usage/").content.decode()
    assert "March 2026" in page_text
    assert "<td>1234</td>" in page_text
    for role, expected in (("Owner", 200), ("App Admin", 403), ("Basic", 403), ("System Viewer", 403)):
        user = factories.UserFactory(organization=organization, roles=[role])
        browser.force_login(user)
        assert browser.get("/usage/").status_code == expected, role
        assert client_for(user).get("/api/v1/usage/").status_code == expected, role
        assert ('href="/usage/"' in browser.get("/admin/").content.decode()) == (expected == 200), role
