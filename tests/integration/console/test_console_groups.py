"""A group's page: its Managers change its members and contacts, its members look on, everybody else finds nothing."""

import re
from datetime import timedelta

import pytest
from django.core import mail
from django.test import Client

from accounts.models.contact_methods import ContactMethod
from accounts.models.groups import GroupMember
from accounts.signing import signing_secret
from escalation.models.on_call import OutOfOffice
from escalation.notifications.verification import send_code
from heartbeat_project.kernel import clock
from tests import factories

pytestmark = pytest.mark.django_db
HOOK = "https://hooks.slack.com/services/T000/B000/verysecret"


@pytest.fixture
def people(organization):
    """Mia is the Manager of the group, Ana and Bob are its Primaries; Zoe is not in it, Adam is an App Admin."""
    roles = {"Adam": ["App Admin"]}
    return {
        name: factories.UserFactory(organization=organization, name=name, roles=roles.get(name, ["Basic"]))
        for name in ("Mia", "Ana", "Bob", "Zoe", "Adam")
    }


@pytest.fixture
def group(organization, people):
    return factories.GroupFactory(
        organization=organization,
        name="Night team",
        primary=[people["Ana"], people["Bob"]],
        managers=[people["Mia"]],
    )


@pytest.fixture
def page(group):
    return f"/groups/{group.pk}/"


@pytest.fixture
def mailbox(group):
    return ContactMethod.objects.create(group=group, label="Mailbox", address="ops@example.org")


@pytest.fixture
def sign_in(people):
    def sign_in(name):
        client = Client()
        client.force_login(people[name])
        return client

    return sign_in


@pytest.fixture
def mia(sign_in):
    return sign_in("Mia")


def text(response):
    return response.content.decode()


def places(group):
    rows = GroupMember.objects.filter(group=group).order_by("role", "position")
    return [(row.user.name, row.role) for row in rows.select_related("user")]


def test_the_on_call_shift_page_leads_to_ones_own_groups(sign_in, organization, page):
    other = factories.GroupFactory(organization=organization, name="Others")
    shown = text(sign_in("Ana").get("/on-call/"))
    assert page in shown
    assert f"/groups/{other.pk}/" not in shown
    assert "Your groups" not in text(sign_in("Zoe").get("/on-call/"))


def test_who_sees_the_page_and_who_finds_buttons_on_it(sign_in, group, mailbox, page):
    stranger = factories.UserFactory(roles=["Owner"])
    client = Client()
    client.force_login(stranger)
    assert client.get(page).status_code == 404
    assert sign_in("Zoe").get(page).status_code == 404
    looking = text(sign_in("Ana").get(page))
    assert "ops@example.org" in looking
    assert "<form" not in looking.split('<div class="title">')[1].split("</main>")[0]
    for name in ("Mia", "Adam"):
        assert f'action="{page}members/add/"' in text(sign_in(name).get(page))
    assert Client().get(page).status_code == 302


@pytest.mark.parametrize(("name", "expected"), [("Ana", 403), ("Zoe", 404)])
def test_nobody_but_a_manager_or_admin_changes_anything(sign_in, people, group, mailbox, page, name, expected):
    before, client = places(group), sign_in(name)
    ana = {"user": people["Ana"].pk, "role": "primary"}
    for address, fields in (
        ("members/add/", {"user": people["Zoe"].pk, "role": "manager"}),
        ("members/down/", ana),
        ("members/role/", ana | {"to": "manager"}),
        ("members/remove/", ana),
        ("contacts/add/", {"kind": "email", "label": "Mine", "address": "mine@example.org"}),
        *((f"contacts/{mailbox.pk}/{action}/", {"code": "0"}) for action in ("verify", "edit", "code", "test")),
        *((f"contacts/{mailbox.pk}/{action}/", {}) for action in ("enable", "disable", "delete")),
    ):
        assert client.post(page + address, fields).status_code == expected, address
    assert places(group) == before
    assert list(group.contact_methods.values_list("label", "enabled")) == [("Mailbox", True)]


def test_a_manager_orders_adds_moves_to_another_role_and_takes_out_members(mia, people, group, page):
    ana, bob, zoe = (people[name].pk for name in ("Ana", "Bob", "Zoe"))
    mia.post(f"{page}members/down/", {"user": ana, "role": "primary"})
    assert places(group) == [("Mia", "manager"), ("Bob", "primary"), ("Ana", "primary")]
    mia.post(f"{page}members/down/", {"user": ana, "role": "primary"})
    assert places(group) == [("Mia", "manager"), ("Bob", "primary"), ("Ana", "primary")]
    mia.post(f"{page}members/up/", {"user": ana, "role": "primary"})
    assert places(group) == [("Mia", "manager"), ("Ana", "primary"), ("Bob", "primary")]
    mia.post(f"{page}members/add/", {"user": zoe, "role": "secondary"})
    mia.post(f"{page}members/role/", {"user": bob, "role": "primary", "to": "secondary"})
    assert places(group) == [("Mia", "manager"), ("Ana", "primary"), ("Zoe", "secondary"), ("Bob", "secondary")]
    mia.post(f"{page}members/remove/", {"user": ana, "role": "primary"})
    assert places(group) == [("Mia", "manager"), ("Zoe", "secondary"), ("Bob", "secondary")]


def test_what_is_wrong_about_a_member_is_said_and_changes_nothing(mia, people, group, page):
    before = places(group)
    ana = {"user": people["Ana"].pk, "role": "primary"}
    again = mia.post(f"{page}members/add/", ana)
    assert again.status_code == 400
    assert "has this role in the group already" in text(again)
    stranger = factories.UserFactory()
    assert mia.post(f"{page}members/add/", {"user": stranger.pk, "role": "primary"}).status_code == 400
    gone = mia.post(f"{page}members/down/", ana | {"role": "secondary"}, follow=True)
    assert "no longer has this role in the group" in text(gone)
    odd = mia.post(f"{page}members/role/", ana | {"to": "boss"}, follow=True)
    assert "Use one of these roles" in text(odd)
    assert "no longer" in text(mia.post(f"{page}members/remove/", {"user": "9" * 30, "role": "x"}, follow=True))
    assert mia.post(f"{page}members/nonsense/", ana).status_code == 404
    assert places(group) == before


def test_a_manager_who_takes_themselves_out_is_led_to_where_they_may_be(mia, people, page):
    left = mia.post(f"{page}members/remove/", {"user": people["Mia"].pk, "role": "manager"})
    assert left["Location"] == "/on-call/"


def test_a_manager_adds_a_contact_confirms_tests_switches_changes_and_removes_it(mia, group, page):
    added = mia.post(
        f"{page}contacts/add/", {"kind": "email", "label": "Mailbox", "address": "ops@example.org"}, follow=True
    )
    assert "A code is on its way over Mailbox." in text(added)
    assert "Not confirmed" in text(added)
    box = group.contact_methods.get()
    here = f"{page}contacts/{box.pk}/"
    assert send_code(box.pk, now=clock.now())
    wrong = mia.post(f"{here}verify/", {"code": "000"})
    assert wrong.status_code == 400
    assert "This is not the code that was sent." in text(wrong)
    code = re.search(r"\d{6}", mail.outbox[-1].body).group()
    assert "is confirmed" in text(mia.post(f"{here}verify/", {"code": code}, follow=True))
    assert "A test is on its way" in text(mia.post(f"{here}test/", follow=True))
    assert "Switched off" in text(mia.post(f"{here}disable/", follow=True))
    assert "In use" in text(mia.post(f"{here}enable/", follow=True))
    bad = mia.post(f"{here}edit/", {"label": "Mailbox", "address": "nonsense"})
    assert bad.status_code == 400
    assert "Enter an e-mail address" in text(bad)
    moved = mia.post(f"{here}edit/", {"label": "Box", "address": "new@example.org"}, follow=True)
    assert "A code is on its way over Box" in text(moved)
    assert "Box is removed." in text(mia.post(f"{here}delete/", follow=True))
    assert not group.contact_methods.exists()


def test_errors_of_a_new_contact_stay_at_its_form_and_other_kinds_are_not_there(mia, group, page):
    refused = mia.post(f"{page}contacts/add/", {"kind": "chat", "label": "Channel", "address": "slack"})
    assert refused.status_code == 400
    assert text(refused).count('<details class="more" open>') == 1
    assert mia.post(f"{page}contacts/add/", {"kind": "sms", "label": "x", "address": "y"}).status_code == 404
    assert not group.contact_methods.exists()


def test_secrets_are_not_on_the_page_and_an_address_left_as_shown_stays(mia, sign_in, group, page, now):
    chat = ContactMethod.objects.create(group=group, kind="chat", label="Channel", address=HOOK, verified_at=now)
    hook = ContactMethod.objects.create(
        group=group, kind="webhook", label="Tool", address="https://tool.example.org/verysecret", verified_at=now
    )
    for name in ("Mia", "Ana", "Adam"):
        assert "verys" not in text(sign_in(name).get(page))
    assert signing_secret(hook.address) in text(mia.get(page))
    assert signing_secret(hook.address) not in text(sign_in("Ana").get(page))
    mia.post(f"{page}contacts/{chat.pk}/edit/", {"label": "Night", "address": chat.masked_address})
    chat.refresh_from_db()
    assert (chat.label, chat.address, chat.verified_at) == ("Night", HOOK, now)


def test_contacts_of_another_group_are_not_reached_through_ones_own(mia, organization, page):
    other = factories.GroupFactory(organization=organization)
    theirs = ContactMethod.objects.create(group=other, label="Mailbox", address="x@example.org")
    assert mia.post(f"{page}contacts/{theirs.pk}/delete/").status_code == 404
    assert ContactMethod.objects.filter(pk=theirs.pk).exists()


def test_the_page_costs_the_same_number_of_queries_however_many_are_in_it(
    mia, organization, group, page, now, django_assert_num_queries, django_assert_max_num_queries
):
    def absent(person):
        times = {"starts_at": now, "ends_at": now + timedelta(days=30_000)}
        OutOfOffice.objects.create(user=person, cover=factories.UserFactory(organization=organization), **times)

    absent(group.members.get(role="manager").user)
    with django_assert_max_num_queries(25) as few:
        mia.get(page)
    for number in range(6):
        person = factories.UserFactory(organization=organization)
        absent(person)
        GroupMember.objects.create(group=group, user=person, role="secondary", position=number)
        ContactMethod.objects.create(
            group=group, kind="webhook", label=f"Hook {number}", address="https://x.example/secret123", verified_at=now
        )
    with django_assert_num_queries(len(few)):
        mia.get(page)


def test_the_configuration_shows_a_groups_contacts_and_leads_to_where_they_are_changed(sign_in, group, page, now):
    adam = sign_in("Adam")
    address = f"/admin/accounts/group/{group.pk}/change/"
    assert "None. A mailbox" in text(adam.get(address))
    ContactMethod.objects.create(group=group, kind="chat", label="Channel", address=HOOK, verified_at=now)
    ContactMethod.objects.create(group=group, label="Mailbox", address="ops@example.org")
    shown = text(adam.get(address))
    assert f'href="{page}#contacts"' in shown
    assert "Channel: https://hooks.slack.com/…cret" in shown
    assert "not confirmed: not used" in shown
    assert "verys" not in shown


def test_a_basic_manager_may_ask_for_a_new_code(mia, people, group, mailbox, page):
    asked = mia.post(f"{page}contacts/{mailbox.pk}/code/", follow=True)
    assert "A new code is on its way over Mailbox" in text(asked)
    mailbox.verified_at = clock.now()
    mailbox.save()
    again = mia.post(f"{page}contacts/{mailbox.pk}/code/", follow=True)
    assert "verified already" in text(again)


def test_a_manager_says_who_is_out_of_office_and_cancels_it(mia, sign_in, people, group, page):
    given = {
        "absence-user": people["Ana"].pk,
        "absence-cover": people["Zoe"].pk,
        "absence-starts_at": "2099-03-03T08:00",
        "absence-ends_at": "2099-03-05T18:00",
    }
    assert sign_in("Ana").post(f"{page}out-of-office/add/", given).status_code == 403
    assert sign_in("Zoe").post(f"{page}out-of-office/add/", given).status_code == 404
    assert "Saved. Zoe will be notified instead of Ana." in text(
        mia.post(f"{page}out-of-office/add/", given, follow=True)
    )
    entry = OutOfOffice.objects.get()
    assert (entry.user, entry.cover, entry.group) == (people["Ana"], people["Zoe"], group)
    again = mia.post(f"{page}out-of-office/add/", given)
    assert (again.status_code, "already out of office in this time" in text(again)) == (400, True)

    cancel = f"{page}out-of-office/{entry.pk}/delete/"
    assert "Zoe is notified instead of Ana" in text(sign_in("Bob").get(page))
    assert cancel not in text(sign_in("Bob").get(page))
    sign_in("Bob").post(cancel)
    assert OutOfOffice.objects.filter(pk=entry.pk).exists()
    assert cancel in text(mia.get(page))
    mia.post(cancel)
    assert not OutOfOffice.objects.exists()


def test_somebody_outside_the_group_is_no_choice_for_its_manager(mia, people, page):
    given = {
        "absence-user": people["Zoe"].pk,
        "absence-cover": people["Ana"].pk,
        "absence-starts_at": "2099-03-03T08:00",
        "absence-ends_at": "2099-03-05T18:00",
    }
    assert mia.post(f"{page}out-of-office/add/", given).status_code == 400
    assert not OutOfOffice.objects.exists()
