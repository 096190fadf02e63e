"""Fields of the console that choose among many rows list what is chosen, find the others by name, and take any."""

import pytest

from accounts.models.users import User
from heartbeat_project.console.forms.alerts import AssignForm
from heartbeat_project.console.forms.groups import MemberForm
from heartbeat_project.console.forms.my_shifts import OutOfOfficeForm
from heartbeat_project.kernel import choice_fields
from tests import factories

pytestmark = pytest.mark.django_db


@pytest.fixture
def people(monkeypatch):
    monkeypatch.setattr(choice_fields, "MAX_LISTED", 3)
    monkeypatch.setattr(choice_fields, "MAX_FOUND", 2)
    organization = factories.OrganizationFactory()
    return [
        factories.UserFactory(organization=organization, name=f"Person {number}", roles=["App Admin"])
        for number in range(6)
    ]


def test_of_many_people_only_who_is_chosen_is_listed(people):
    group = factories.GroupFactory(organization=people[0].organization)
    for form, listed in ((MemberForm(group=group), 0), (MemberForm({"user": people[-1].pk}, group=group), 1)):
        page = str(form["user"])
        assert page.count("<option") == 1 + listed
        assert "type a part of a name to find more" in page
    assert f'value="{people[-1].pk}" selected' in page


def test_who_is_not_listed_can_be_chosen_all_the_same(people):
    form = MemberForm(
        {"user": people[-1].pk, "role": "primary"}, group=factories.GroupFactory(organization=people[0].organization)
    )
    assert form.is_valid(), form.errors
    assert form.cleaned_data["user"] == people[-1]


def test_few_are_all_listed_without_a_word(people, monkeypatch):
    monkeypatch.setattr(choice_fields, "MAX_LISTED", 5)
    page = str(OutOfOfficeForm(actor=people[0])["cover"])
    assert page.count("<option") == 1 + 5
    assert "<select" in page
    assert "data-find" not in page


def test_labels_are_read_anew_for_each_form(people):
    group = factories.GroupFactory(organization=people[0].organization)
    assert "Person 5" in str(MemberForm({"user": people[5].pk}, group=group)["user"])
    User.objects.filter(pk=people[5].pk).update(name="Somebody else")
    assert "Somebody else" in str(MemberForm({"user": people[5].pk}, group=group)["user"])


def test_a_search_finds_by_name_or_address_those_that_begin_with_it_first(people):
    organization = people[0].organization
    group = factories.GroupFactory(organization=organization)
    factories.UserFactory(organization=organization, name="Zoe", email="any.person.4@example.com")
    form = MemberForm({"user": "", "user-find": "PERSON", "_find": "1"}, group=group)
    assert not form.is_valid()
    assert form.errors["user"] == ["Nothing is saved yet: choose from what was found."]
    page = str(form["user"])
    assert [name for name in ("Person 0", "Person 1", "Person 2", "Zoe") if name in page] == ["Person 0", "Person 1"]
    assert "The first 2 of more" in page
    assert "Zoe" in str(MemberForm({"user-find": "any.", "_find": "1"}, group=group)["user"])


def test_the_page_of_a_group_is_shown_again_with_what_was_found_and_nobody_is_added(people, client):
    group = factories.GroupFactory(organization=people[0].organization, primary=[people[0]])
    factories.UserFactory(name="Person elsewhere")
    client.force_login(people[0])

    page = client.post(
        f"/groups/{group.pk}/members/add/", {"role": "primary", "user-find": "person", "_find": "1"}
    ).content.decode()

    assert "Person 1" in page
    assert "Person elsewhere" not in page
    assert group.members.count() == 1


def test_a_filter_of_the_audit_log_searches_in_the_address(people, client):
    client.force_login(people[0])

    page = client.get("/audit-log/", {"actor-find": "person 4", "_find": "1"}).content.decode()

    assert f'<option value="{people[4].pk}">Person 4' in page


def test_who_would_not_be_notified_is_said_of_those_that_were_found(people, now):
    people[4].contact_methods.all().delete()
    options = {"actor": people[0], "integration_id": None, "priority": "high", "now": now}
    page = str(AssignForm({"user-find": "person 4", "_find": "1"}, **options)["user"])
    assert "Person 4 has no verified contact method" in page
