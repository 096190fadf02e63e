"""What the database itself refuses, whichever code writes to it."""

import pytest
from django.db import IntegrityError, transaction

from accounts.models.contact_methods import ContactMethod
from accounts.models.groups import Group, GroupMember
from accounts.models.users import Role, User
from tests.factories import GroupFactory, OrganizationFactory, UserFactory

pytestmark = pytest.mark.django_db


def refused(constraint):
    return pytest.raises(IntegrityError, match=constraint)


def insert_user(organization, now, **fields):
    values = {"email": "raw@example.com", "name": "Raw", "created_at": now, **fields}
    return User.objects.create(organization=organization, **values)


def test_an_organization_has_one_owner(now):
    owner = UserFactory(roles=["Owner"])
    with refused("one_owner"), transaction.atomic():
        insert_user(owner.organization, now, is_owner=True)
    insert_user(OrganizationFactory(), now, is_owner=True)


def test_an_email_is_stored_in_lower_case(now):
    with refused("email_lower_case"):
        insert_user(OrganizationFactory(), now, email="Raw@example.com")


def test_an_email_belongs_to_one_user_of_all_organizations(now):
    user = UserFactory()
    with refused("accounts_user_email_key"):
        insert_user(OrganizationFactory(), now, email=user.email)


def test_the_owner_is_active():
    owner = UserFactory(roles=["Owner"])
    with refused("owner_is_active"):
        User.objects.filter(pk=owner.pk).update(is_active=False)


@pytest.mark.parametrize("change", [{"enabled": False}, {"verified_at": None}])
def test_email_official_is_always_usable(change):
    official = UserFactory().contact_methods.get(label="Email-Official")
    with refused("email_official_always_usable"):
        ContactMethod.objects.filter(pk=official.pk).update(**change)


def test_a_person_has_a_label_once_ignoring_case():
    user = UserFactory()
    with refused("contact_label_once"):
        ContactMethod.objects.create(user=user, label="EMAIL-OFFICIAL", address="b@example.com")


def test_a_group_name_is_unique_in_its_organization_ignoring_case(now):
    group = GroupFactory(name="Network")
    GroupFactory(name="Network")
    with refused("group_name_unique"):
        Group.objects.create(organization=group.organization, name="NETWORK", created_at=now)


def test_a_member_has_a_group_role_once():
    user = UserFactory()
    group = GroupFactory(organization=user.organization, primary=[user])
    GroupMember.objects.create(group=group, user=user, role="manager")
    with refused("member_once_per_role"):
        GroupMember.objects.create(group=group, user=user, role="primary", position=5)


@pytest.mark.parametrize(
    ("fields", "constraint"),
    [({"name": "app admin"}, "role_name_unique"), ({"name": "Second", "builtin": "App Admin"}, "role_builtin_once")],
)
def test_a_role_name_and_a_builtin_role_exist_once(fields, constraint):
    with refused(constraint):
        Role.objects.create(organization=OrganizationFactory(), **fields)
