"""Organizations and users: made, changed, deactivated, and who owns."""

import pytest

from accounts.entitlements import BUILTIN_ENTITLEMENTS, Entitlement
from accounts.models.organizations import Organization
from accounts.models.users import User
from accounts.permissions import may
from accounts.services.organizations import create_organization
from accounts.services.saving import clean_name
from accounts.services.users import (
    NotTheOwner,
    OwnerStays,
    create_user,
    deactivate_user,
    reactivate_user,
    transfer_ownership,
    update_profile,
    update_user,
)
from heartbeat_project.kernel.errors import FieldError, Forbidden
from tests.factories import WHEN, OrganizationFactory, UserFactory

pytestmark = pytest.mark.django_db
PASSWORD = "correct horse battery"


@pytest.fixture
def owner(organization):
    return UserFactory(organization=organization, roles=["Owner"])


@pytest.fixture
def admin(organization):
    return UserFactory(organization=organization, roles=["App Admin"])


@pytest.fixture
def basic(organization):
    return UserFactory(organization=organization)


def fresh(user):
    return User.objects.get(pk=user.pk)


def at(field):
    """Expect an error at this field."""
    return pytest.raises(FieldError, check=lambda error: error.field == field)


class TestOrganization:
    def test_a_new_one_has_the_seven_roles_with_their_entitlements(self, now):
        organization = create_organization(name=" Acme ", now=now)
        assert organization.name == "Acme"
        assert {role.builtin: set(role.entitlements) for role in organization.roles.all()} == {
            role.value: {code.value for code in codes} for role, codes in BUILTIN_ENTITLEMENTS.items()
        }

    def test_it_needs_a_name(self, now):
        with at("name"):
            create_organization(name="  ", now=now)
        assert not Organization.objects.exists()


class TestCreate:
    def test_a_user_comes_with_a_verified_email_official(self, organization, now):
        user = create_user(organization, email=" Ana@Example.COM ", name="Ana", now=now)
        method = user.contact_methods.get()
        assert user.email == "ana@example.com"
        assert (method.label, method.address) == ("Email-Official", "ana@example.com")
        assert (method.enabled, method.verified_at) == (True, now)

    def test_without_a_password_nobody_can_sign_in(self, organization, now, client):
        user = create_user(organization, email="ana@example.com", name="Ana", now=now)
        assert not user.has_usable_password()
        assert not client.login(username="ana@example.com", password="")

    def test_with_a_password_the_user_signs_in_whatever_the_case_of_the_email(self, organization, now, client):
        create_user(organization, email="ana@example.com", name="Ana", now=now, password=PASSWORD)
        assert client.login(username="ANA@example.com", password=PASSWORD)

    def test_the_time_zone_is_the_organizations_unless_given(self, now):
        organization = create_organization(name="Acme", now=now)
        Organization.objects.filter(pk=organization.pk).update(time_zone="Europe/Berlin")
        organization.refresh_from_db()
        assert create_user(organization, email="a@example.com", name="A", now=now).time_zone == "Europe/Berlin"
        given = create_user(organization, email="b@example.com", name="B", now=now, time_zone="Asia/Tokyo")
        assert given.time_zone == "Asia/Tokyo"

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("email", "not an address"),
            ("email", f"{'a' * 60}@{'b' * 60}.{'c' * 60}.{'d' * 60}.{'e' * 60}.example"),
            ("name", "   "),
            ("name", "x" * 201),
            ("kind", "robot"),
            ("time_zone", "Mars/Olympus"),
            ("password", "short"),
        ],
    )
    def test_a_wrong_value_is_reported_at_its_field_and_saves_nothing(self, organization, now, field, value):
        fields = {"email": "ana@example.com", "name": "Ana", field: value}
        with at(field):
            create_user(organization, now=now, **fields)
        assert not User.objects.exists()

    def test_a_taken_email_is_reported_at_its_field(self, organization, basic, now):
        with at("email"):
            create_user(OrganizationFactory(), email=basic.email.upper(), name="Twin", now=now)
        assert User.objects.count() == 1

    def test_roles_of_another_organization_are_refused(self, organization, now):
        with at("roles"):
            create_user(
                organization, email="a@example.com", name="A", now=now, roles=OrganizationFactory().roles.all()[1:2]
            )
        assert not User.objects.exists()

    def test_the_owner_role_is_not_given_away(self, organization, now):
        with at("roles"):
            create_user(
                organization,
                email="a@example.com",
                name="A",
                now=now,
                roles=[organization.roles.get(name="Owner")],
            )

    def test_a_second_owner_is_refused(self, owner, organization, now):
        with at("is_owner"):
            create_user(organization, email="a@example.com", name="A", now=now, is_owner=True)


class TestUpdate:
    def test_email_official_follows_the_email(self, admin, basic):
        basic.contact_methods.create(label="Email-Personal", address="mine@example.com")
        update_user(basic, now=WHEN, actor=admin, email="New@Example.com")
        assert fresh(basic).email == "new@example.com"
        addresses = dict(basic.contact_methods.values_list("label", "address"))
        assert addresses == {"Email-Official": "new@example.com", "Email-Personal": "mine@example.com"}

    def test_roles_are_replaced_and_count_at_once(self, admin, basic, organization):
        assert not may(basic, Entitlement.BRIDGES)
        changed = update_user(basic, now=WHEN, actor=admin, roles=[organization.roles.get(name="Integrations Admin")])
        assert may(changed, Entitlement.BRIDGES)
        assert may(fresh(basic), Entitlement.BRIDGES)

    def test_the_owner_role_is_not_given_away(self, admin, basic, organization):
        with at("roles"):
            update_user(basic, now=WHEN, actor=admin, roles=[organization.roles.get(name="Owner")])

    def test_roles_of_another_organization_are_refused(self, admin, basic):
        with at("roles"):
            update_user(basic, now=WHEN, actor=admin, roles=[OrganizationFactory().roles.get(name="Basic")])

    def test_an_error_at_one_field_saves_none(self, admin, basic, organization):
        with at("kind"):
            update_user(
                basic,
                now=WHEN,
                actor=admin,
                roles=[organization.roles.get(name="App Admin")],
                name="Changed",
                kind="robot",
            )
        assert fresh(basic).name == basic.name
        assert not may(fresh(basic), Entitlement.SECURITY)

    @pytest.mark.parametrize("role", ["Integrations Admin", "Basic", "System Viewer", "Billing Admin"])
    def test_only_who_administers_security_changes_users(self, organization, basic, role):
        with pytest.raises(Forbidden):
            update_user(basic, now=WHEN, actor=UserFactory(organization=organization, roles=[role]), name="Changed")
        assert fresh(basic).name == basic.name

    def test_nobody_of_another_organization_changes_a_user(self, basic):
        with pytest.raises(Forbidden):
            update_user(basic, now=WHEN, actor=UserFactory(roles=["Owner"]), name="Changed")

    def test_only_the_owner_changes_the_owner(self, owner, admin):
        with pytest.raises(NotTheOwner):
            update_user(owner, now=WHEN, actor=admin, password=PASSWORD)
        assert update_user(owner, now=WHEN, actor=owner, name="Me").name == "Me"

    def test_the_owner_stays_a_standard_user(self, owner):
        with at("kind"):
            update_user(owner, now=WHEN, actor=owner, kind="stakeholder")


class TestProfile:
    def test_users_change_their_own_name_and_zone(self, basic):
        update_profile(basic, now=WHEN, name="Ana", time_zone="Asia/Tokyo")
        assert (fresh(basic).name, fresh(basic).time_zone) == ("Ana", "Asia/Tokyo")

    def test_a_new_password_needs_the_current_one(self, basic):
        basic.set_password(PASSWORD)
        basic.save()
        for wrong in (None, "", "guess"):
            with at("current_password"):
                update_profile(basic, now=WHEN, password="another good one", current_password=wrong)
        update_profile(basic, now=WHEN, password="another good one", current_password=PASSWORD)
        assert fresh(basic).check_password("another good one")

    def test_it_needs_the_entitlement(self, organization):
        with pytest.raises(Forbidden):
            update_profile(UserFactory(organization=organization, roles=[]), now=WHEN, name="Ana")


class TestDeactivate:
    def test_it_stops_sign_in_and_keeps_everything(self, admin, basic, client):
        basic.set_password(PASSWORD)
        basic.save()
        assert client.login(username=basic.email, password=PASSWORD)
        deactivate_user(basic, now=WHEN, actor=admin)
        assert not client.login(username=basic.email, password=PASSWORD)
        assert fresh(basic).roles.count() == 1
        assert not may(fresh(basic), Entitlement.PROFILE_VIEW)
        reactivate_user(basic, now=WHEN, actor=admin)
        assert client.login(username=basic.email, password=PASSWORD)

    def test_the_owner_stays(self, owner, admin):
        with pytest.raises(OwnerStays):
            deactivate_user(owner, now=WHEN, actor=owner)
        with pytest.raises(NotTheOwner):
            deactivate_user(owner, now=WHEN, actor=admin)
        assert fresh(owner).is_active

    def test_it_takes_the_entitlement(self, basic, organization):
        with pytest.raises(Forbidden):
            deactivate_user(basic, now=WHEN, actor=UserFactory(organization=organization))


class TestOwnership:
    def test_it_passes_on_and_the_old_owner_becomes_app_admin(self, owner, basic, organization, now):
        transfer_ownership(organization, to=basic, actor=owner, now=now)
        assert fresh(basic).is_owner
        assert may(fresh(basic), Entitlement.BILLING)
        assert not fresh(owner).is_owner
        assert not may(fresh(owner), Entitlement.BILLING)
        assert may(fresh(owner), Entitlement.SECURITY)

    def test_the_objects_in_hand_know_it_at_once(self, owner, basic, organization, now):
        assert may(owner, Entitlement.BILLING)
        assert not may(basic, Entitlement.BILLING)
        heir = transfer_ownership(organization, to=basic, actor=owner, now=now)
        assert not may(owner, Entitlement.BILLING)
        assert may(heir, Entitlement.BILLING)

    def test_a_former_owner_whose_roles_were_read_before_has_the_new_one(self, owner, basic, organization, now):
        owner = User.objects.prefetch_related("roles").get(pk=owner.pk)
        assert not list(owner.roles.all())
        transfer_ownership(organization, to=basic, actor=owner, now=now)
        assert may(owner, Entitlement.SECURITY)

    def test_only_the_owner_passes_it_on(self, owner, admin, basic, organization, now):
        with pytest.raises(NotTheOwner):
            transfer_ownership(organization, to=basic, actor=admin, now=now)
        assert fresh(owner).is_owner

    def test_an_owner_who_was_one_a_moment_ago_cannot(self, owner, admin, basic, organization, now):
        stale = fresh(owner)
        transfer_ownership(organization, to=admin, actor=owner, now=now)
        with pytest.raises(NotTheOwner):
            transfer_ownership(organization, to=basic, actor=stale, now=now)

    @pytest.mark.parametrize("change", [{"is_active": False}, {"kind": "stakeholder"}])
    def test_the_heir_is_active_and_standard(self, owner, basic, organization, now, change):
        User.objects.filter(pk=basic.pk).update(**change)
        with at("to"):
            transfer_ownership(organization, to=basic, actor=owner, now=now)
        assert fresh(owner).is_owner

    def test_the_heir_is_another_user_of_the_organization(self, owner, organization, now):
        for to in (owner, UserFactory()):
            with at("to"):
                transfer_ownership(organization, to=to, actor=owner, now=now)
        assert fresh(owner).is_owner


@pytest.mark.parametrize("name", ["Night\nshift", "Night\r\nshift", "a\tb", "a\x07b", "a\u2028b", "a\u2029b", "a\x85b"])
def test_a_name_is_one_line(name):
    with pytest.raises(FieldError, match="Enter a name of one line"):
        clean_name(name)


@pytest.mark.parametrize("name", ["Ünïcode ☃ 👩\u200d🚒", "\u05e2\u05d1", "  spaces around\n"])
def test_a_name_may_have_any_letters(name):
    assert clean_name(name) == name.strip()
