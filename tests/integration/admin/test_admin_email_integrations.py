"""Configuration > Integrations > Inbound Integrations: the pages of Email integrations, and of what came by mail."""

import pytest
from django.urls import reverse

from integrations.inbound.mail_storing import store_received
from integrations.inbound.mails import read_events
from integrations.models.events import InboundEvent
from integrations.models.integrations import InboundIntegration
from tests.integration.admin.test_admin_integrations import ADD, LIST, page_of, said

SET_IT = "such as alerts.example.org, and give it an MX record"


@pytest.fixture
def pages(here, signed_in):
    return signed_in(here.people["Integrations Admin"])


def test_the_page_has_the_address_on_top_and_shows_mails_in_full(pages, here, now, settings):
    here.objects["integrations_maintenancewindow"].delete()
    filled = {
        "name": "Nagios",
        "follows": f"policy:{here.objects['escalation_escalationpolicy'].pk}",
        "enabled": "on",
        "allowed_senders": "@gmail.com\nroot@db1",
        "extract": '{"url": {"from": "body", "start": "<"}}',
    }
    assert "signature" not in pages.get(f"{ADD}?type=email").content.decode().lower()
    assert "+ ADD EMAIL</a>" in pages.get(f"{LIST}?type=email").content.decode()
    refused = pages.post(f"{ADD}?type=email", filled | {"extract": "{", "aliases": "x"})
    assert "This is not JSON" in refused.content.decode()
    refused = pages.post(f"{ADD}?type=email", filled | {"extract": '{"url": 5}'})
    assert "url: a rule is an object" in refused.content.decode()
    done = pages.post(f"{ADD}?type=email", filled)
    assert said(done)[0].startswith("“Nagios” is saved. Its mail address is below")
    shop = InboundIntegration.objects.get(name="Nagios")
    assert shop.event_settings.allowed_senders == ["@gmail.com", "root@db1"]
    shown = pages.get(page_of(shop)).content.decode()
    address = f"{shop.mail_token}@127.0.0.1"
    assert f'value="{address}"' in shown
    assert "POSTAlert" not in shown
    assert f"--mail-rcpt &#x27;{address}&#x27;" in shown or f"--mail-rcpt '{address}'" in shown

    text = "Confirm: https://mail.google.com/c?" + "x" * 600 + "\n" + "\n".join(f"line {n}" for n in range(300))
    raw = f"From: Gmail <forwarding@gmail.com>\nSubject: Gmail Forwarding <b>Confirmation\n\n{text}".encode()
    (pk,) = store_received(raw, recipients=[address], now=now)
    read_events(now=now)
    event = pages.get(reverse("admin:integrations_inboundintegration_event", args=[shop.pk, pk])).content.decode()
    assert "line 299" in event
    assert "x" * 600 in event
    assert "<b>Confirmation" not in event
    assert "Gmail Forwarding &lt;b&gt;Confirmation" in pages.get(page_of(shop)).content.decode()


def test_a_heartbeats_page_shows_its_address_below_its_url(pages, here):
    job = here.objects["integrations_inboundintegration"]
    shown = pages.get(page_of(job)).content.decode()
    assert 0 < shown.index(f"/Heartbeat/{job.token}") < shown.index(f"{job.mail_token}@127.0.0.1")


def test_a_heartbeats_page_lists_mails_that_were_no_ping_with_the_reason(pages, here, now):
    job = here.objects["integrations_inboundintegration"]
    address = f"{job.mail_token}@127.0.0.1"
    assert "Mails that were no ping" not in pages.get(page_of(job)).content.decode()
    answer = b"From: Ana <ana@x.org>\nSubject: Out of <b>office\nAuto-Submitted: auto-replied\n\nBack on Monday"
    for raw in (b"From: root@db1\nSubject: backup has run\n\n", answer, answer):
        store_received(raw, recipients=[address], now=now)
        read_events(now=now)
    unread = store_received(b"Subject: bad\n\n", recipients=[address], now=now)
    InboundEvent.objects.filter(pk=unread[0]).update(state="unreadable", fault="it took too long")
    for path in (page_of(job), reverse("admin:integrations_inboundintegration_logs", args=[job.pk])):
        shown = pages.get(path).content.decode().partition("Mails that were no ping")[2]
        assert shown.count("Out of &lt;b&gt;office") == 2
        assert "from Ana &lt;ana@x.org&gt;" in shown
        assert "it is an automatic answer, a bounce, or a message of ours" in shown
        assert "It could not be read: it took too long" in shown
        assert "backup has run" not in shown
    assert '<span class="quiet">mail from root@db1</span>' in pages.get(page_of(job)).content.decode()


@pytest.mark.parametrize(
    ("domain", "host", "how", "listens", "place"),
    [
        ("127.0.0.1", "127.0.0.1", SET_IT, "127.0.0.1", "[127.0.0.1]"),
        ("localhost", "0.0.0.0", SET_IT, "127.0.0.1", "[127.0.0.1]"),
        ("alerts.acme.org", "::", "give the domain an MX record", "127.0.0.1", "[127.0.0.1]"),
        ("alerts.acme.org", "10.0.0.5", "give the domain an MX record", "10.0.0.5", "[10.0.0.5]"),
        ("alerts.acme.org", "::1", "give the domain an MX record", "[::1]", "[ipv6:::1]"),
    ],
)
def test_the_page_says_how_mails_get_here_with_the_settings_that_hold(
    pages, here, settings, domain, host, how, listens, place
):
    settings.MAIL_DOMAIN, settings.SMTP_HOST, settings.SMTP_PORT = domain, host, 8026
    shown = pages.get(page_of(here.objects["integrations_inboundintegration"])).content.decode()
    named = domain if "acme" in domain else "alerts.example.org"
    assert how in shown
    assert f"<code>smtp://{listens}:8026</code>" in shown
    assert f"<code>{named}. MX 10 mail.example.org.</code>" in shown
    assert f"<code>{named} smtp:{place}:8026</code>" in shown


def test_the_page_names_no_relay_while_the_mail_server_is_off(pages, here, settings):
    settings.SMTP_PORT, settings.INBOUND_MAIL_SECRET = 0, "secret"
    shown = pages.get(page_of(here.objects["integrations_inboundintegration"])).content.decode()
    assert "is turned off" in shown
    assert "/etc/postfix/transport" not in shown
