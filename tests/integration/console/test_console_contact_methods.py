"""My contact methods: every kind is added, changed, tested and removed by hand."""

import json
from typing import Any

import pytest
from django.test import Client

from accounts.addresses import clean_address
from accounts.models.contact_methods import ContactMethod
from accounts.services.contact_methods import issue_code
from accounts.signing import signing_secret
from escalation.channels import push
from heartbeat_project.kernel import clock
from tests import factories
from tests.integration.accounts.test_contact_kinds import SUBSCRIPTION

pytestmark = pytest.mark.django_db
PAGE = "/profile/contact-methods/"


@pytest.fixture
def ana():
    return factories.UserFactory(name="Ana", email="ana@example.com")


@pytest.fixture
def client(ana):
    client = Client()
    client.force_login(ana)
    return client


@pytest.fixture
def hook(ana, now):
    return ContactMethod.objects.create(
        user=ana, kind="webhook", label="Hook", address="https://x.example/secret1234", verified_at=now, position=1
    )


def text(response):
    return response.content.decode()


def test_without_more_than_e_mail_the_page_says_what_is_missing(client):
    page = text(client.get(PAGE))
    assert "add a phone or a browser below" in page
    assert "SMS is not set up here: ask an App Admin." in page
    assert "Calls are not set up here: ask an App Admin." in page
    assert "Add a number for SMS" not in page


def test_each_kind_has_its_form_and_its_errors_stay_there(client, ana, settings):
    settings.SMS_PROVIDERS = ["gateway"]
    refused = client.post(f"{PAGE}add/", {"kind": "sms", "label": "SMS", "address": "0151 1"})
    assert refused.status_code == 400
    assert "with its country code" in text(refused)
    assert text(refused).count('<details class="more" open>') == 1
    client.post(f"{PAGE}add/", {"kind": "sms", "label": "SMS", "address": "+49 1512 3456789"})
    assert ana.contact_methods.get(kind="sms").address == "+4915123456789"
    assert client.post(f"{PAGE}add/", {"kind": "pigeon", "label": "x", "address": "y"}).status_code == 404


def test_a_browser_is_added_with_the_key_that_the_page_gives_it(client, ana):
    assert f'data-push-key="{push.public_key()}"' in text(client.get(PAGE))
    client.post(f"{PAGE}add/", {"kind": "push", "label": "Push-Laptop", "address": json.dumps(SUBSCRIPTION)})
    assert ana.contact_methods.get(kind="push").label == "Push-Laptop"
    assert "A browser, over push.example.net" in text(client.get(PAGE))
    again = client.post(f"{PAGE}add/", {"kind": "push", "label": "Push-Laptop", "address": json.dumps(SUBSCRIPTION)})
    assert "already" in text(again)


def test_the_service_worker_stands_at_the_top_and_is_never_kept(client):
    response = client.get("/service-worker.js")
    assert response["Content-Type"].startswith("text/javascript")
    assert response["Cache-Control"] == "no-cache"
    assert "showNotification" in text(response)


def test_delay_repeats_and_hours_are_changed_and_shown(client, hook):
    url = f"{PAGE}{hook.pk}/"
    fields = {
        "label": "Hook", "address": hook.address, "delay_minutes": "2.5", "repeat_count": "3",
        "repeat_gap_minutes": "10", "windows": "Mon-Fri 22:00-06:00; sun 10:00-12:00",
    }  # fmt: skip
    assert client.post(url, fields)["Location"] == PAGE
    hook.refresh_from_db()
    assert (float(hook.delay_minutes), hook.repeat_count, len(hook.windows)) == (2.5, 3, 2)
    assert hook.verified_at is not None
    page = text(client.get(PAGE))
    for words in (
        "2 minutes 30 seconds later",
        "3 more times, 10 minutes apart",
        "Mon-Fri 22:00-06:00; Sun 10:00-12:00",
    ):
        assert words in page
    assert 'value="Mon-Fri 22:00-06:00; Sun 10:00-12:00"' in text(client.get(url))
    more = {"windows": "Sat 18:00-24:00", "from_priority": "high", "critical_outside_windows": "on"}
    assert client.post(url, fields | more)["Location"] == PAGE
    page = text(client.get(PAGE))
    assert "Sat 18:00-24:00; Critical alerts at any time" in page
    assert "only High alerts and above" in page
    form = text(client.get(url))
    assert 'value="Sat 18:00-24:00"' in form
    assert '<option value="high" selected>High and above</option>' in form
    assert "is not a window" in text(client.post(url, fields | {"windows": "nights"}))
    assert "is not a time of day" in text(client.post(url, fields | {"windows": "Mon 25:00-26:00"}))


def test_a_new_address_has_to_be_confirmed_again(client, hook):
    fields = {
        "label": "Hook",
        "address": "https://y.example/",
        "delay_minutes": "0",
        "repeat_count": "0",
        "repeat_gap_minutes": "5",
    }
    assert "A code is on its way" in text(client.post(f"{PAGE}{hook.pk}/", fields, follow=True))
    hook.refresh_from_db()
    assert hook.verified_at is None


def test_the_secret_of_a_webhook_is_shown_once_it_is_confirmed(client, hook):
    assert signing_secret(hook.address) in text(client.get(f"{PAGE}{hook.pk}/"))
    ContactMethod.objects.filter(pk=hook.pk).update(verified_at=None)
    assert signing_secret(hook.address) not in text(client.get(f"{PAGE}{hook.pk}/"))


def test_email_official_has_a_wait_and_repeats_and_nothing_else(client, ana):
    official = ana.contact_methods.get()
    page = text(client.get(f"{PAGE}{official.pk}/"))
    assert "id_email_delay_minutes" in page
    assert "id_email_windows" not in page
    assert "Remove" not in page
    changed = {"delay_minutes": "1", "repeat_count": "2", "repeat_gap_minutes": "5"}
    assert client.post(f"{PAGE}{official.pk}/", changed).status_code == 302


def test_a_test_is_asked_for_once_a_minute_and_its_failure_is_shown(client, hook):
    assert "A test is on its way" in text(client.post(f"{PAGE}{hook.pk}/test/", follow=True))
    assert "within the last minute" in text(client.post(f"{PAGE}{hook.pk}/test/", follow=True))
    ContactMethod.objects.filter(pk=hook.pk).update(send_error="404 Not Found: <b>gone</b>")
    page = text(client.get(PAGE))
    assert "It could not be sent: 404 Not Found: &lt;b&gt;gone&lt;/b&gt;" in page
    assert "secret1" not in page


def test_the_methods_of_others_do_not_exist(client, hook, ana):
    stranger = Client()
    stranger.force_login(factories.UserFactory(organization=ana.organization))
    assert stranger.get(f"{PAGE}{hook.pk}/").status_code == 404
    assert stranger.post(f"{PAGE}{hook.pk}/test/").status_code == 404
    assert Client().get(PAGE).status_code == 302


def test_no_two_things_on_the_page_have_one_id(client, hook, settings):
    import re

    settings.SMS_PROVIDERS = settings.VOICE_PROVIDERS = ["gateway"]
    for url in (PAGE, f"{PAGE}{hook.pk}/"):
        found = re.findall(r'\sid="([^"]+)"', text(client.get(url)))
        assert len(found) == len(set(found))


RENEWED = {**SUBSCRIPTION, "endpoint": "https://push.example.net/renewed"}


def renew(old, new, *, client=None):
    client = client or Client(enforce_csrf_checks=True)
    return client.post("/push/renew/", {"old": old, "new": new}, content_type="application/json").status_code


@pytest.fixture
def browser(ana, now):
    address = clean_address("push", json.dumps(SUBSCRIPTION))
    return ana.contact_methods.create(kind="push", label="Push-Laptop", address=address, verified_at=now)


def test_a_browser_renews_its_subscription_by_the_old_one_without_signing_in(browser, now):
    ContactMethod.objects.filter(pk=browser.pk).update(failing_since=now, failed_at=now, failures=2)
    assert renew({**SUBSCRIPTION, "expirationTime": None}, RENEWED) == 204
    browser.refresh_from_db()
    assert json.loads(browser.address)["endpoint"] == "https://push.example.net/renewed"
    assert (browser.verified_at, browser.failing_since, browser.failures) == (now, None, 0)
    assert renew(SUBSCRIPTION, RENEWED) == 404, "the old one is over"


def test_who_knows_only_where_the_old_one_leads_renews_nothing(browser):
    keys: Any = SUBSCRIPTION["keys"]
    other = {**SUBSCRIPTION, "keys": {**keys, "auth": keys["auth"][::-1]}}
    before = browser.address
    assert renew(other, RENEWED) == 404
    for wrong in ({}, "x", None, {"endpoint": SUBSCRIPTION["endpoint"]}, 7, [[]]):
        assert renew(wrong, RENEWED) == 404
        assert renew(SUBSCRIPTION, wrong) == 400
    assert Client().post("/push/renew/", b"\xff", content_type="application/json").status_code == 400
    assert Client().post("/push/renew/", b"[" * 20_000, content_type="application/json").status_code == 400
    assert Client().post("/push/renew/", b"7", content_type="application/json").status_code == 400
    assert Client().get("/push/renew/").status_code == 405
    browser.refresh_from_db()
    assert browser.address == before


def test_the_service_worker_listens_for_a_new_subscription_and_knows_our_key(client):
    said = text(client.get("/service-worker.js"))
    assert "pushsubscriptionchange" in said
    assert f'"{push.public_key()}"' in said
    assert '"/push/renew/"' in said


def test_what_does_not_work_is_shown_and_can_be_confirmed_anew(client, ana, browser, now):
    ContactMethod.objects.filter(pk=browser.pk).update(
        failing_since=now, failed_at=now, failures=2, failing_reason="410 <Gone>"
    )
    page = text(client.get(PAGE))
    assert "Does not work" in page
    assert "410 &lt;Gone&gt; It is used after the others" in page
    assert "Push-Laptop does not work" in text(client.get("/profile/"))
    assert "Contact methods that do not work" in text(client.get("/on-call/"))
    code = issue_code(browser.pk, now=clock.now())
    assert code is not None
    wrong = "000000" if code != "000000" else "111111"
    assert "not the code" in text(client.post(f"{PAGE}{browser.pk}/verify/", {"code": wrong}))
    client.post(f"{PAGE}{browser.pk}/verify/", {"code": code})
    browser.refresh_from_db()
    assert (browser.failing_since, browser.failures, browser.failed_at) == (None, 0, None)
    assert "Does not work" not in text(client.get(PAGE))
    assert issue_code(browser.pk, now=clock.now()) is None


def test_what_does_not_work_in_a_group_is_shown_to_its_managers(client, ana, now):
    bob = factories.UserFactory(organization=ana.organization, name="Bob")
    team = factories.GroupFactory(organization=ana.organization, name="Database", primary=[bob])
    bob.contact_methods.update(failing_since=now, failed_at=now, failing_reason="550 5.1.1 no")
    ContactMethod.objects.create(
        group=team, label="Mailbox", address="t@example.com", verified_at=now, failing_since=now, failed_at=now
    )
    assert "Contact methods that do not work" not in text(client.get("/on-call/"))
    team.members.create(user=ana, role="manager")
    page = text(client.get("/on-call/"))
    assert "Email-Official of Bob" in page
    assert "Mailbox of Database" in page
    assert "Does not work" in text(client.get(f"/groups/{team.pk}/"))
