"""Hostile mails over SMTP: each is stored and has an end, none keeps a good one waiting, and the processes live on."""

import random
import smtplib
from datetime import timedelta

import pytest
from django.db import connection

from alerting.models.alerts import Alert
from heartbeat_project.kernel import clock
from integrations.inbound.mails import read_events
from integrations.models.events import InboundEvent
from integrations.smtp.server import Limits
from tests import factories
from tests.integration.escalation.responses.test_inbound_mails import HOSTILE
from tests.mail_servers import DOMAIN, MailServer, config_of

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.serial]
CHEAP = [name for name in HOSTILE if "parts" not in name and name != "line ends"]


def mutated(number):
    """Return a hostile mail, the same for the same number: one of those that are known, or a mail with wrong bytes."""
    chance = random.Random(number)
    raw = bytearray(HOSTILE[CHEAP[number % len(CHEAP)]][:20_000] if number % 2 else GOOD * 20)
    for _ in range(chance.randrange(1, 60)):
        place = chance.randrange(len(raw))
        raw[place : place + chance.randrange(3)] = chance.randbytes(chance.randrange(4))
    return f"X-Number: {number}\r\n".encode() + bytes(raw).replace(b"\n", b"\r\n")


GOOD = (
    b"From: =?utf-8?q?J=C3=B6rg?= <a@b>\nSubject: =?iso-8859-1?b?Z3L8?= down\nContent-Type: multipart/mixed; boundary=b\n\n"
    b'--b\nContent-Type: text/html; charset=utf-8\nContent-Transfer-Encoding: quoted-printable\n\n<p class=3D"x">=C3=A4</p>\n'
    b"--b\nContent-Disposition: attachment; filename*=utf-8''a%20b\n\nx\n--b--\n"
)


@pytest.mark.parametrize("count", [30, pytest.param(1_000, marks=[pytest.mark.long, pytest.mark.timeout(1_200)])])
def test_no_hostile_mail_is_lost_and_the_good_one_behind_them_opens(settings, organization, count):
    shop = factories.ApiIntegrationFactory(organization=organization, type="email", name="Shop", storm_per_minute=0)
    address = f"{shop.mail_token}@{DOMAIN}"
    limits = Limits(mails_per_minute=10_000)
    taken, codes = 0, set()
    with MailServer(config_of(connection, secret=settings.SECRET_KEY), limits) as server, server.client() as client:
        for number in range(count):
            try:
                client.sendmail("a@x.org", [address], mutated(number))
            except smtplib.SMTPDataError as refused:
                codes.add(refused.smtp_code)
            else:
                taken += 1
        client.sendmail("a@x.org", [f"{shop.mail_token}+good@{DOMAIN}"], b"Subject: db1 is down\r\n\r\n")
    assert codes <= {500}  # a line that is too long
    assert taken > count * 0.8
    assert InboundEvent.objects.count() == taken + 1
    now = clock.now()
    while InboundEvent.objects.filter(state="waiting").exists():
        if not read_events(now=now):
            now += timedelta(seconds=20)  # until the next attempt at a mail on which a child died
    assert Alert.objects.filter(source_id="good", status="open").exists()
    assert set(InboundEvent.objects.values_list("state", flat=True)) == {"read"}
    assert all(event.result for event in InboundEvent.objects.defer("raw"))
