"""What a group shares, over the API and in the database.

Tenancy, permissions, codes, masked addresses, what is sent.
"""

import re
from ipaddress import ip_network

import pytest
from django.core import mail
from django.db import IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext

from accounts.models.contact_methods import ContactMethod, masked_address
from accounts.services.contact_methods import (
    MAX_METHODS,
    NotVerified,
    create_contact_method,
    request_test,
    update_contact_method,
)
from accounts.signing import signing_secret
from escalation.models.notifications import Notification
from escalation.models.sending import StoredMail
from escalation.notifications.providers.rate_limits import CODES_PER_HOLDER
from escalation.notifications.verification import send_code, send_test
from heartbeat_project.kernel import clock
from heartbeat_project.kernel.errors import Forbidden
from tests.factories import AlertFactory, GroupFactory, UserFactory
from tests.integration.accounts.test_contact_methods import at
from tests.providers.server import Provider
from tests.world import minutes

pytestmark = pytest.mark.django_db
API = "/api/v1"
HOOK = "https://hooks.slack.com/services/T000/B000/verysecret"


@pytest.fixture
def admin(organization):
    return UserFactory(organization=organization, name="Adam", roles=["App Admin"])


@pytest.fixture
def mia(organization):
    return UserFactory(organization=organization, name="Mia")


@pytest.fixture
def ana(organization):
    return UserFactory(organization=organization, name="Ana")


@pytest.fixture
def group(organization, ana, mia):
    return GroupFactory(organization=organization, name="On call", primary=[ana], managers=[mia])


@pytest.fixture
def root(group):
    return f"{API}/groups/{group.pk}/contacts/"


@pytest.fixture
def mailbox(group, mia):
    return create_contact_method(group, actor=mia, label="Mailbox", address="ops@example.org")


@pytest.fixture
def provider(settings):
    settings.OUTGOING_ALLOW = [ip_network("127.0.0.1/32")]
    server = Provider()
    yield server
    server.close()


def shared(group, kind, address, now, **fields):
    return ContactMethod.objects.create(
        **{"group": group, "kind": kind, "label": kind, "address": address, "verified_at": now, **fields}
    )


# -- the API ----------------------------------------------------------------------------------------------------------
def test_a_manager_adds_a_mailbox_verifies_it_by_the_code_tests_changes_and_removes_it(client_for, mia, group, root):
    api = client_for(mia)
    made = api.post(root, {"label": "Mailbox", "address": "ops@example.org"}, format="json")
    assert made.status_code == 201, made.json()
    assert made.json() == {
        "id": made.json()["id"],
        "kind": "email",
        "label": "Mailbox",
        "address": "ops@example.org",
        "enabled": True,
        "verified_at": None,
        "tested_at": None,
        "send_error": "",
        "failing_since": None,
        "failing_reason": "",
        "signing_secret": None,
    }
    one = f"{root}{made.json()['id']}/"
    assert api.post(f"{one}test/").json()["code"] == "not_verified"
    assert api.post(f"{one}send-code/").status_code == 202
    assert send_code(made.json()["id"], now=clock.now())
    assert mail.outbox[-1].to == ["ops@example.org"]
    assert "On call wants to get alerts here (Mailbox)." in mail.outbox[-1].body
    assert f"/groups/{group.pk}/ to confirm it" in mail.outbox[-1].body
    code = re.search(r"\d{6}", mail.outbox[-1].body).group()
    assert api.post(f"{one}verify/", {"code": "x"}, format="json").json()["errors"][0]["pointer"] == "/code"
    assert api.post(f"{one}verify/", {"code": code}, format="json").json()["verified_at"]
    assert api.post(f"{one}test/").status_code == 202
    assert send_test(made.json()["id"], now=clock.now())
    assert "Somebody asked for it in the group On call to see that Mailbox works." in " ".join(
        mail.outbox[-1].body.split()
    )
    assert api.patch(one, {"enabled": False}, format="json").json()["enabled"] is False
    assert api.patch(one, {"address": "new@example.org"}, format="json").json()["verified_at"] is None
    assert api.patch(one, {"kind": "chat"}, format="json").status_code == 400
    assert [row["id"] for row in api.get(root).json()["results"]] == [made.json()["id"]]
    assert api.delete(one).status_code == 204
    assert not group.contact_methods.exists()


def test_who_sees_the_group_sees_its_contacts_and_only_its_managers_and_admins_change_them(
    client_for, organization, admin, ana, mia, mailbox, root
):
    one, body = f"{root}{mailbox.pk}/", {"label": "New", "address": "new@example.org"}
    viewer = UserFactory(organization=organization, roles=["Integrations Admin"])
    outsider = UserFactory(organization=organization)
    blind = UserFactory(organization=organization, roles=["Send Message"])
    reads = {ana: 200, mia: 200, admin: 200, viewer: 200, outsider: 404, blind: 403}
    assert {user: client_for(user).get(root).status_code for user in reads} == reads
    assert {user: client_for(user).get(one).status_code for user in reads} == reads
    for user, expected in {ana: 403, viewer: 403, outsider: 404, blind: 403, mia: 201, admin: 201}.items():
        api = client_for(user)
        given = body | {"label": f"New of {user}", "address": f"new{user.pk}@example.org"}
        assert api.post(root, given, format="json").status_code == expected, user
        changes = 200 if expected == 201 else expected
        assert api.patch(one, {"label": f"By {user}"}, format="json").status_code == changes, user
        for name, allowed in (("send-code", 202), ("verify", 400), ("test", 409)):
            found = api.post(f"{one}{name}/", {"code": "0"} if name == "verify" else None, format="json")
            # No code was sent that could be wrong.
            assert found.status_code == ((409 if name == "verify" else allowed) if expected == 201 else expected), name
    for user in (ana, viewer, outsider, blind):
        assert client_for(user).delete(one).status_code in {403, 404}
    assert ContactMethod.objects.filter(pk=mailbox.pk).exists()


def test_ids_of_other_organizations_and_of_other_groups_are_404(client_for, admin, organization, mailbox, root):
    stranger = UserFactory(roles=["Owner"])
    theirs = GroupFactory(organization=stranger.organization)
    other = GroupFactory(organization=organization)
    api = client_for(stranger)
    addresses = [root, f"{root}{mailbox.pk}/", f"{API}/groups/{theirs.pk}/contacts/{mailbox.pk}/"]
    assert [api.get(address).status_code for address in addresses] == [404, 404, 404]
    assert api.post(root, {"label": "x", "address": "x@example.org"}, format="json").status_code == 404
    for verb in ("put", "patch", "delete"):
        assert getattr(api, verb)(addresses[1], {"label": "x", "address": "x@y.org"}, format="json").status_code == 404
    for name in ("send-code", "test", "verify"):
        assert api.post(f"{addresses[1]}{name}/", {"code": "123456"}, format="json").status_code == 404
    assert client_for(admin).get(f"{API}/groups/{other.pk}/contacts/{mailbox.pk}/").status_code == 404
    assert client_for(admin).get(f"{API}/groups/{10**17}/contacts/").status_code == 404
    assert client_for(admin).get(f"{API}/contact-methods/{mailbox.pk}/").status_code == 404
    assert list(ContactMethod.objects.filter(group__isnull=False)) == [mailbox]


def test_bad_input_is_reported_at_its_field(client_for, mia, mailbox, root):
    api = client_for(mia)
    for wrong, pointer in (
        ({"label": "New", "address": "nonsense"}, "/address"),
        ({"label": "New", "address": "ftp://x", "kind": "webhook"}, "/address"),
        ({"label": "New", "address": "+4915123456789", "kind": "sms"}, "/kind"),
        ({"label": "mailbox", "address": "x@example.org"}, "/label"),
        ({"label": "Email-Official", "address": "x@example.org"}, "/label"),
        ({"label": " ", "address": "x@example.org"}, "/label"),
        ({"label": "New", "address": "x@example.org", "user": mia.pk}, "/user"),
        ({"label": "New", "address": "x@example.org", "delay_minutes": 5}, "/delay_minutes"),
        ({"label": "New"}, "/address"),
    ):
        answer = api.post(root, wrong, format="json")
        assert answer.status_code == 400, wrong
        assert [error["pointer"] for error in answer.json()["errors"]] == [pointer], answer.json()
    assert api.patch(f"{root}{mailbox.pk}/", {"label": "email-official"}, format="json").status_code == 400


def test_addresses_that_are_secrets_are_cut_down_for_everybody_and_may_be_sent_back(
    client_for, ana, mia, group, root, now
):
    chat = shared(group, "chat", HOOK, now)
    for user in (ana, mia):
        assert "verys" not in client_for(user).get(root).content.decode()
        shown = client_for(user).get(f"{root}{chat.pk}/").json()["address"]
        assert shown == "https://hooks.slack.com/…cret"
    kept = client_for(mia).patch(f"{root}{chat.pk}/", {"address": shown, "label": "Channel"}, format="json").json()
    assert kept["verified_at"]
    chat.refresh_from_db()
    assert (chat.address, chat.label) == (HOOK, "Channel")


def test_a_webhooks_signing_secret_is_for_who_may_change_the_group_and_only_once_it_is_verified(
    client_for, ana, mia, group, root, now
):
    address = "https://tool.example.org/hook/secret"
    hook, new = shared(group, "webhook", address, now), shared(group, "webhook", address, None, label="new")

    def secret_for(user, method):
        return client_for(user).get(f"{root}{method.pk}/").json()["signing_secret"]

    assert secret_for(mia, hook) == signing_secret(address)
    assert secret_for(ana, hook) is None
    assert secret_for(mia, new) is None


def test_a_list_of_contacts_costs_the_same_number_of_queries_however_long_it_is(client_for, mia, group, root, now):
    def queries():
        api = client_for(mia)
        with CaptureQueriesContext(connection) as captured:
            assert api.get(root).status_code == 200
        return len(captured)

    shared(group, "email", "one@example.org", now)
    few = queries()
    for number in range(8):
        shared(group, "email", f"{number}@example.org", now, label=f"Box {number}")
    assert queries() == few


def test_what_was_sent_to_a_group_is_listed_with_the_group_and_offers_nothing(client_for, admin, organization, world):
    world.organization = organization
    team = world.team("Network", primary=["nina"])
    world.share(team, "net@example.org")
    job = world.heartbeat("backup", every=minutes(5), recipient_groups=[team])
    world.ping(job)
    world.advance(minutes(5))
    rows = client_for(admin).get(f"{API}/alerts/{world.alert(job).pk}/notifications/").json()["results"]
    to_group = [row for row in rows if row["group"]]
    assert [(row["group"], row["user"], row["allowed_actions"], row["status"]) for row in to_group] == [
        (team.pk, None, [], "accepted")
    ]
    previewed = (
        client_for(admin).get(f"{API}/integrations/{job.pk}/who-would-be-notified/").json()["steps"][0]["notifications"]
    )
    assert [(notification["user"], notification["group"], notification["name"]) for notification in previewed] == [
        (world.person("nina").pk, None, "Nina"),
        (None, team.pk, "Network"),
    ]


def test_a_page_to_a_chat_channel_or_webhook_has_no_buttons_and_leads_to_the_alert(provider, settings, world):
    settings.SLACK_SIGNING_SECRET = "shh"
    team = world.team("Network", primary=["nina"])
    world.share(team, f"{provider.url}/services/abc", kind="chat", label="Channel")
    world.share(team, f"{provider.url}/hook", kind="webhook", label="Tool")
    job = world.heartbeat("backup", every=minutes(5), recipient_groups=[team])
    world.ping(job)
    world.advance(minutes(5))
    page = f"{settings.BASE_URL}/alerts/{world.alert(job).pk}/"
    sent = {request.path: request.json for request in provider.requests}
    assert sent["/services/abc"]["text"].endswith(page)
    assert "blocks" not in sent["/services/abc"]
    assert (sent["/hook"]["type"], sent["/hook"]["link"]) == ("page", page)
    lines = list(world.alert(job).timeline.values_list("text", flat=True))
    assert f"Chat to Channel {masked_address('chat', f'{provider.url}/services/abc')} of Network: sent" in lines
    assert not any("/services/abc" in line for line in lines)


# -- services and the database ----------------------------------------------------------------------------------------
def test_the_number_of_contacts_of_a_group_is_bounded(group, mia):
    for number in range(MAX_METHODS):
        create_contact_method(group, actor=mia, label=f"Box {number}", address=f"x{number}@example.org")
    with at("label"):
        create_contact_method(group, actor=mia, label="One more", address="x@example.org")


def test_who_is_manager_no_more_can_do_nothing_to_the_contacts(group, mia, mailbox, now):
    group.members.filter(user=mia).delete()
    for act in (
        lambda: create_contact_method(group, actor=mia, label="x", address="x@example.org"),
        lambda: update_contact_method(mailbox, actor=mia, label="x"),
        lambda: request_test(mailbox, actor=mia, now=now),
    ):
        with pytest.raises(Forbidden):
            act()


def test_a_test_needs_a_verified_contact(mailbox, mia, now):
    with pytest.raises(NotVerified):
        request_test(mailbox, actor=mia, now=now)
    assert not send_test(mailbox.pk, now=now)


def test_so_many_codes_and_no_more_are_sent_for_one_group(group, now):
    boxes = [
        shared(group, "email", f"{number}@example.org", None, label=f"Box {number}")
        for number in range(CODES_PER_HOLDER.count + 1)
    ]
    assert [send_code(box.pk, now=now) for box in boxes] == [True] * CODES_PER_HOLDER.count + [False]
    boxes[-1].refresh_from_db()
    assert "Too many codes" in boxes[-1].send_error


def test_a_code_goes_to_a_chat_channel_through_the_guarded_endpoint(group, provider, settings, now):
    chat = shared(group, "chat", f"{provider.url}/services/abc", None)
    assert send_code(chat.pk, now=now)
    assert re.search(r"\d{6}", provider.requests[0].json["text"])
    settings.OUTGOING_ALLOW = []
    again = shared(group, "chat", f"{provider.url}/services/abd", None, label="again")
    assert not send_code(again.pk, now=now)
    assert len(provider.requests) == 1


def test_the_database_holds_that_a_contact_and_a_notification_are_of_one(group, ana, now):
    made = {"label": "x", "address": "x@example.org"}
    for fields in (
        made,
        made | {"user": ana, "group": group},
        made | {"group": group, "kind": "sms"},
        made | {"group": group, "label": "Email-Official"},
    ):
        with pytest.raises(IntegrityError), transaction.atomic():
            ContactMethod.objects.create(**fields)
    sent = {"organization": group.organization, "created_at": now, "next_attempt_at": now, "channel": "email"}
    for fields in (sent, sent | {"user": ana, "group": group}):
        with pytest.raises(IntegrityError), transaction.atomic():
            Notification.objects.create(**fields)


def test_labels_are_once_for_each_group_whatever_their_case(group, organization, now):
    shared(group, "email", "x@example.org", now, label="Mailbox")
    shared(GroupFactory(organization=organization), "email", "x@example.org", now, label="Mailbox")
    with pytest.raises(IntegrityError), transaction.atomic():
        shared(group, "chat", HOOK, now, label="MAILBOX")


def test_a_deleted_group_takes_its_contacts_and_what_was_sent_to_them_and_leaves_the_alert(group, now):
    box = shared(group, "email", "x@example.org", now)
    alert = AlertFactory(organization=group.organization)
    Notification.objects.create(
        organization=group.organization,
        alert=alert,
        group=group,
        contact_method=box,
        channel="email",
        created_at=now,
        next_attempt_at=now,
    )
    group.delete()
    alert.refresh_from_db()
    assert not ContactMethod.objects.filter(pk=box.pk).exists()
    assert not Notification.objects.exists()


def test_a_mail_to_a_shared_mailbox_is_kept_for_the_owner_where_no_mail_server_is_set(group, settings, now):
    settings.EMAIL_BACKEND = "escalation.notifications.providers.stored_mail_backend.EmailBackend"
    owner = UserFactory(organization=group.organization, roles=["Owner"])
    UserFactory(roles=["Owner"])
    box = shared(group, "email", "Ops@example.org", None)
    assert send_code(box.pk, now=now)
    assert StoredMail.objects.get().user == owner
