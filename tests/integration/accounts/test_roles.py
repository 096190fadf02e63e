"""Custom roles come and go; built-in ones stand."""

import pytest

from accounts.entitlements import Entitlement
from accounts.models.users import Role
from accounts.permissions import may
from accounts.services.roles import RoleFixed, RoleInUse, create_role, delete_role, update_role
from accounts.services.users import update_user
from heartbeat_project.kernel.errors import FieldError, Forbidden
from tests.factories import WHEN, UserFactory

pytestmark = pytest.mark.django_db


@pytest.fixture
def admin(organization):
    return UserFactory(organization=organization, roles=["App Admin"])


@pytest.fixture
def role(organization, admin):
    return create_role(
        organization, actor=admin, name="Auditor", entitlements=["Bridge_Maintenance", "AuditTrail_View"]
    )


def at(field):
    """Expect an error at this field."""
    return pytest.raises(FieldError, check=lambda error: error.field == field)


def test_a_custom_role_gives_its_entitlements_and_no_others(organization, admin, role):
    user = UserFactory(organization=organization, roles=[])
    user = update_user(user, now=WHEN, actor=admin, roles=[role])
    assert {code for code in Entitlement if may(user, code)} == {Entitlement.BRIDGES, Entitlement.AUDIT_VIEW}


def test_rights_are_the_union_of_the_roles(organization, admin, role):
    user = update_user(
        UserFactory(organization=organization),
        now=WHEN,
        actor=admin,
        roles=[role, organization.roles.get(name="Billing Admin")],
    )
    assert may(user, Entitlement.BRIDGES)
    assert may(user, Entitlement.BILLING)
    assert not may(user, Entitlement.GROUPS_VIEW_OWN)


def test_a_changed_role_counts_at_once(organization, admin, role):
    user = update_user(UserFactory(organization=organization), now=WHEN, actor=admin, roles=[role])
    update_role(role, actor=admin, name="Watcher", entitlements=[])
    assert Role.objects.get(pk=role.pk).name == "Watcher"
    assert not may(type(user).objects.get(pk=user.pk), Entitlement.BRIDGES)


def test_wrong_values_are_reported_at_their_field(organization, admin, role):
    with at("entitlements"):
        create_role(organization, actor=admin, name="New", entitlements=["Everything"])
    with at("name"):
        create_role(organization, actor=admin, name="AUDITOR", entitlements=[])
    with at("name"):
        update_role(role, actor=admin, name="basic")


def test_only_who_administers_security_of_the_organization(organization, role):
    for actor in (UserFactory(organization=organization, roles=["Integrations Admin"]), UserFactory(roles=["Owner"])):
        with pytest.raises(Forbidden):
            create_role(organization, actor=actor, name="New", entitlements=[])
        with pytest.raises(Forbidden):
            update_role(role, actor=actor, entitlements=[])
        with pytest.raises(Forbidden):
            delete_role(role, actor=actor)


def test_builtin_roles_stand(organization, admin):
    basic = organization.roles.get(name="Basic")
    with pytest.raises(RoleFixed):
        update_role(basic, actor=admin, entitlements=[])
    with pytest.raises(RoleFixed):
        delete_role(basic, actor=admin)


def test_a_role_that_somebody_holds_stays(organization, admin, role):
    user = update_user(UserFactory(organization=organization, name="Ana"), now=WHEN, actor=admin, roles=[role])
    with pytest.raises(RoleInUse, match="Ana"):
        delete_role(role, actor=admin)
    update_user(user, now=WHEN, actor=admin, roles=[])
    delete_role(role, actor=admin)
    assert not Role.objects.filter(pk=role.pk).exists()
