"""What mails say, in text and HTML."""

import re
from datetime import timedelta
from email import message_from_bytes
from email.policy import default

import pytest
from django.core import mail

from alerting.services.alerts import close_alerts
from escalation.engine.notices import write_owner_notice
from escalation.models.sending import StoredMail
from escalation.notifications.deliver import deliver_due
from escalation.notifications.notices.recoveries import write_recovery_notices
from escalation.notifications.providers.stored_mail_backend import KEPT, EmailBackend
from heartbeat_project.kernel.durations import in_words
from heartbeat_project.kernel.wording import moment, one_line, zone
from tests import factories
from tests.integration.escalation.posting import page

pytestmark = pytest.mark.django_db


@pytest.fixture
def policy(organization):
    return factories.PolicyFactory(organization=organization, name="Rota")


@pytest.fixture
def sent(organization, policy, person, now):
    """Page somebody and return the mail, sent a minute after the alert opened."""

    def make(*, zone="UTC", **fields):
        team = factories.GroupFactory(
            organization=organization,
            name="Database",
            primary=[person("ana", time_zone=zone)],
            secondary=[person("sam")],
        )
        page(organization, policy=policy, groups=[team], now=now, **fields)
        deliver_due(now=now + timedelta(minutes=1))
        return mail.outbox[-1]

    return make


def html(message):
    ((content, kind),) = message.alternatives
    assert kind == "text/html"
    return content


def test_a_page_says_what_is_silent_how_long_and_what_happens_next(sent, organization, now):
    bridge = factories.BridgeFactory(organization=organization, name="Ops line")
    facts = [
        {"label": "Interval", "text": "5 minutes"},
        {"label": "Last ping", "at": (now - timedelta(minutes=7)).isoformat()},
    ]
    message = sent(expected_at=now - timedelta(minutes=2), bridge_id=bridge.pk, facts=facts)
    alert = organization.alerts.get()
    assert message.subject == f"High #{alert.pk} [Open] backup is silent"
    for body in (message.body, html(message)):
        for said in (
            "3 minutes",
            "5 minutes",
            "Mon 2 Mar 2026, 11:53:00 UTC",
            "High",
            "Ops line",
            "+49 30 1234567",
            "4711#",
            "https://meet.example.com/ops",
            f"/alerts/{alert.pk}/",
            "If nobody takes it, Secondary of Database will be notified in 4 minutes, at Mon 2 Mar 2026, 12:05:00 UTC.",
        ):
            assert said in " ".join(body.split()), said


def test_headers_let_programs_recognize_and_thread_it(sent, organization):
    message = sent()
    alert = organization.alerts.get()
    headers = message.message()
    assert headers["X-Heartbeat-Alert"] == str(alert.pk)
    assert headers["Auto-Submitted"] == "auto-generated"
    assert headers["Message-ID"] == f"<{alert.notifications.get().pk}@127.0.0.1>"
    assert headers["References"] == f"<alert-{alert.pk}@127.0.0.1>"


def test_times_are_the_readers_with_the_zones_name(sent):
    message = sent(zone="America/New_York")
    assert "Alert opened: Mon 2 Mar 2026, 07:00:00 EST" in message.body
    assert "Times are in America/New_York." in message.body


@pytest.mark.parametrize(
    "name",
    [
        "<script>alert(1)</script>",
        "two\r\nBcc: victim@example.com",
        "line\u2028separator\x00\x1b[31m",
        "💾 nightly 🚀",
        "نسخة احتياطية \u202eevil",
        "{{ settings.SECRET_KEY }} {% now %}",
        "x" * 290,
    ],
)
def test_any_name_makes_a_mail_that_is_one_mail(sent, name):
    message = sent(name=name.replace("\x00", "") if "\x00" in name else name)
    raw = message.message()
    assert raw["Bcc"] is None
    assert "\n" not in message.subject
    assert "<script>" not in html(message)
    assert raw.as_bytes()
    assert one_line(name)[:40] in message.body


def test_a_text_is_not_escaped_and_html_is(sent):
    message = sent(name="a & b <c>")
    assert "a & b <c> is silent" in message.body
    assert "a &amp; b &lt;c&gt; is silent" in html(message)


def test_a_reader_whose_zone_is_unknown_still_gets_the_mail(sent, person):
    assert moment(factories.WHEN, zone=zone("Mars/Olympus")) == "Mon 2 Mar 2026, 11:00:00 UTC"


def test_a_zone_without_letters_is_named_by_its_offset():
    assert moment(factories.WHEN, zone=zone("America/Sao_Paulo")).endswith("08:00:00 UTC-03")


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 seconds"),
        (1, "1 second"),
        (61, "1 minute 1 second"),
        (3_600, "1 hour"),
        (90_061, "1 day 1 hour"),
        (-5, "0 seconds"),
        (86_401, "1 day"),
    ],
)
def test_durations_in_words(seconds, words):
    assert in_words(timedelta(seconds=seconds)) == words


@pytest.mark.parametrize("source", ["Heartbeat", "Manual"])
def test_the_last_step_says_that_nobody_else_will_be_notified_and_what_ends_the_alert(
    organization, person, now, source
):
    policy = factories.PolicyFactory(organization=organization, steps=[{"role": "primary"}])
    page(organization, policy=policy, users=[person("ana")], now=now, source=source)
    deliver_due(now=now)
    said = " ".join(mail.outbox[-1].body.split())
    assert "Nobody else will be notified. The alert stays open until somebody takes it" in said
    assert ("or the signal comes back" in said) == (source == "Heartbeat")


def test_a_recovery_mail_is_short(sent, organization, now):
    sent(expected_at=now - timedelta(minutes=2))
    alert = organization.alerts.get()
    close_alerts([alert.pk], reason="closed by heartbeat", now=now + timedelta(minutes=3))
    write_recovery_notices([alert.pk], now=now + timedelta(minutes=3))
    deliver_due(now=now + timedelta(minutes=3))
    message = mail.outbox[-1]
    assert message.subject == f"[Recovered] #{alert.pk} backup"
    assert message.body.startswith("backup has recovered\n")
    assert "The signal came back 5 minutes late." in message.body
    assert "(closed by heartbeat)" in message.body
    assert len(message.body.splitlines()) < 12
    assert "<bdi>backup</bdi> has recovered" in html(message)


def test_a_notice_is_for_the_owner_alone(organization, person, now):
    person("olga", roles=["Owner"])
    person("adam", roles=["App Admin"])
    write_owner_notice(organization.pk, subject="We were\ndeaf", text="For 5 minutes <b>.", now=now)
    deliver_due(now=now)
    (message,) = mail.outbox
    assert (message.subject, message.to) == ("We were deaf", ["olga@example.com"])
    assert "For 5 minutes <b>." in message.body
    assert "For 5 minutes &lt;b&gt;." in html(message)


def test_no_template_leaves_blank_holes(sent):
    assert not re.search(r"\n{3,}", sent().body)


class TestOutbox:
    @pytest.fixture(autouse=True)
    def kept(self, settings):
        settings.EMAIL_BACKEND = "escalation.notifications.providers.stored_mail_backend.EmailBackend"

    def test_without_a_mail_server_messages_are_kept_for_the_person_they_are_for(
        self, organization, policy, person, now
    ):
        ana = person("ana")
        alert = page(organization, policy=policy, users=[ana], now=now)
        deliver_due(now=now)
        (kept,) = StoredMail.objects.all()
        subject = f"High #{alert.pk} [Open] backup is silent"
        assert (kept.user, kept.recipients, kept.subject) == (ana, "ana@example.com", subject)
        assert kept.message_id == organization.alerts.get().notifications.get().provider_id
        assert "backup is silent" in kept.html

    def test_an_address_of_two_people_belongs_to_neither(self, organization, policy, person, now):
        ana, bob = person("ana"), person("bob")
        bob.contact_methods.create(label="Email-Shared", address="ANA@example.com", verified_at=now)
        page(organization, policy=policy, users=[ana], now=now)
        deliver_due(now=now)
        assert StoredMail.objects.get().user is None

    def test_the_newest_thousand_are_kept(self, db):
        StoredMail.objects.bulk_create(
            StoredMail(at=factories.WHEN, sender="a", recipients="b", subject=str(number), text="")
            for number in range(KEPT + 5)
        )
        EmailBackend().send_messages([mail.EmailMessage("newest", "text", to=["x@example.com"])])
        assert StoredMail.objects.count() == KEPT
        assert StoredMail.objects.first().subject == "newest"
        assert StoredMail.objects.last().subject == "6"


def test_the_lines_of_a_text_fit_a_mail_program(sent, organization):
    bridge = factories.BridgeFactory(organization=organization, name="Incident line of the operations team " * 3)
    message = sent(name="Nightly differential backup of the warehouse, Frankfurt " * 2, bridge_id=bridge.pk)
    long_lines = [line for line in message.body.splitlines() if len(line) > 78 and "http" not in line]
    assert long_lines == []


def test_a_notice_links_our_own_addresses_and_nobody_elses(organization, person, now, settings):
    settings.BASE_URL = "https://heartbeat.example.org"
    person("olga", roles=["Owner"])
    text = "Look at https://heartbeat.example.org/on-call/. <b> and https://heartbeat.example.org.evil.example/x/"
    write_owner_notice(organization.pk, subject="Look", text=text, now=now)
    deliver_due(now=now)
    shown = html(mail.outbox[-1])
    assert (
        '<a href="https://heartbeat.example.org/on-call/">https://heartbeat.example.org/on-call/</a>. &lt;b&gt;'
        in shown
    )
    assert 'href="https://heartbeat.example.org.evil' not in shown


@pytest.mark.parametrize(
    "name",
    ["Größenänderung der nächtlichen Sicherung der Datenbank in Zürich und in Genève", "備" * 90, "Ü" + "a" * 150],
)
def test_a_long_subject_begins_in_its_first_line(sent, name):
    message = sent(name=name)

    raw = message.message().as_bytes()
    [first, *_] = [line for line in raw.split(b"\n") if line.startswith(b"Subject:")]
    assert len(first) > len("Subject: ") + 20
    assert max(len(line) for line in raw.partition(b"\n\n")[0].split(b"\n")) <= 78
    parsed = message_from_bytes(raw, policy=default)
    assert parsed["Subject"] == message.subject
    assert name in message.subject
