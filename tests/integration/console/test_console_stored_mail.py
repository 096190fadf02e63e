"""Without a mail server no page says that mail was sent."""

import pytest
from django.test import Client

from accounts.models.contact_methods import ContactMethod
from escalation.models.notifications import Notification
from escalation.notifications.deliver import deliver_due
from escalation.notifications.verification import send_test
from heartbeat_project.kernel.mail import STORED
from tests import factories
from tests.integration.escalation.posting import page

pytestmark = pytest.mark.django_db
METHODS = "/profile/contact-methods/"
BANNER = "No mail server is set up: e-mail is stored, not sent"


@pytest.fixture(autouse=True)
def no_mail_server(settings):
    settings.EMAIL_BACKEND = settings.STORED_MAIL_BACKEND


@pytest.fixture
def ana():
    return factories.UserFactory(name="Ana", email="ana@example.com")


def browser(user):
    client = Client()
    client.force_login(user)
    return client


def text(response):
    assert response.status_code == 200
    return response.content.decode()


def test_a_test_message_is_said_to_be_stored_by_the_button_the_line_and_the_pill(ana, now):
    client, method = browser(ana), ana.contact_methods.get()
    assert "In use" not in text(client.get(METHODS))
    pressed = text(client.post(f"{METHODS}{method.pk}/test/", follow=True))
    assert f"{STORED}. A test over Email-Official is among the stored mail." in pressed
    assert "on its way" not in pressed
    assert send_test(method.pk, now=now)
    shown = text(client.get(METHODS))
    assert f"</svg>{STORED}</span>" in shown
    assert "test stored, not sent" in shown
    assert "tested" not in shown
    assert "It could not be sent" not in shown


def test_an_alerts_notification_is_said_to_be_stored_by_the_pill_and_the_timeline(ana, client_for, now):
    alert = page(ana.organization, policy=factories.PolicyFactory(organization=ana.organization), users=[ana], now=now)
    deliver_due(now=now)
    shown = text(browser(ana).get(f"/alerts/{alert.pk}/"))
    assert f"</svg>{STORED}</span>" in shown
    assert "E-mail to Ana (Email-Official): stored, not sent: no mail server is set up" in shown
    assert "accepted" not in shown
    assert ">Sent<" not in shown
    [notification] = client_for(ana).get(f"/api/v1/alerts/{alert.pk}/notifications/").json()["results"]
    assert (notification["status"], notification["last_error"]) == ("accepted", STORED)


def test_what_was_stored_stays_stored_once_there_is_a_mail_server(ana, settings, now):
    policy = factories.PolicyFactory(organization=ana.organization)
    stored = page(ana.organization, policy=policy, users=[ana], now=now)
    deliver_due(now=now)
    settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
    sent = page(ana.organization, policy=policy, users=[ana], now=now)
    deliver_due(now=now)
    was = {notification.alert_id: notification.was_stored for notification in Notification.objects.all()}
    assert was == {stored.pk: True, sent.pk: False}


def test_other_channels_are_not_concerned(ana, now):
    hook = ContactMethod.objects.create(
        user=ana, kind="webhook", label="Hook", address="https://x.example/1", verified_at=now, position=1
    )
    client = browser(ana)
    assert "In use" in text(client.get(METHODS))
    assert "A test is on its way over Hook" in text(client.post(f"{METHODS}{hook.pk}/test/", follow=True))


@pytest.mark.parametrize(
    ("role", "shown", "linked"),
    [("Owner", True, True), ("Integrations Admin", True, False), ("Basic", False, False)],
)
def test_one_banner_says_it_to_who_can_change_it_until_it_is_changed(settings, role, shown, linked):
    client = browser(factories.UserFactory(roles=[role]))
    for address in ("/alerts/", "/profile/", "/admin/"):
        if address == "/admin/" and not shown:
            continue
        found = text(client.get(address))
        strip = found.split('<ul class="troubles"')[1].split("</ul>")[0]
        assert (BANNER in strip, ">Stored mail</a>" in strip) == (shown, linked), address
    settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
    assert BANNER not in text(client.get("/alerts/"))
    assert BANNER not in text(Client().get("/login/"))
