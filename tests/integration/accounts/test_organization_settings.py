"""What holds for everybody in an organization: in the API and in the admin."""

import pytest
from django.db import IntegrityError, transaction
from django.urls import reverse

from accounts.models.organizations import Organization
from escalation.policies.shipped_policies import found_organization
from tests import factories

pytestmark = pytest.mark.django_db


@pytest.fixture
def organization():
    return factories.OrganizationFactory(name="Acme")


@pytest.fixture
def admin(organization):
    return factories.UserFactory(organization=organization, name="Ada", roles=["App Admin"])


def test_a_new_organization_bundles_for_five_seconds(now):
    assert found_organization(name="New", now=now).bundle_seconds == 5


def test_the_api_shows_and_changes_ones_own(organization, admin, client_for):
    factories.OrganizationFactory()
    api = client_for(admin)
    (row,) = api.get("/api/v1/organizations/").json()["results"]
    assert row == {"id": organization.pk, "name": "Acme", "time_zone": "UTC", "bundle_seconds": 0}
    changed = api.patch(f"/api/v1/organizations/{organization.pk}/", {"bundle_seconds": 30}, format="json")
    assert changed.status_code == 200
    assert changed.json()["bundle_seconds"] == 30
    organization.refresh_from_db()
    assert (organization.bundle_seconds, organization.name) == (30, "Acme")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("bundle_seconds", -1),
        ("bundle_seconds", 601),
        ("bundle_seconds", "x"),
        ("time_zone", "Mars/Olympus"),
        ("name", " "),
    ],
)
def test_what_cannot_be_is_said_at_the_field(organization, admin, client_for, field, value):
    answer = client_for(admin).patch(f"/api/v1/organizations/{organization.pk}/", {field: value}, format="json")
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["pointer"] == f"/{field}"
    assert Organization.objects.get(pk=organization.pk).bundle_seconds == 0


def test_the_database_refuses_a_window_of_hours(organization):
    with pytest.raises(IntegrityError), transaction.atomic():
        Organization.objects.filter(pk=organization.pk).update(bundle_seconds=3_600)


def test_the_admin_changes_it(organization, admin, client):
    client.force_login(admin)
    page = reverse("admin:accounts_organization_change", args=[organization.pk])
    shown = client.get(page).content.decode()
    assert "Bundle alerts for (seconds)" in shown
    assert "0 sends every alert by itself" in shown
    form = {"name": "Acme", "time_zone": "Europe/Berlin", "bundle_seconds": "12"}
    assert client.post(page, form).status_code == 302
    organization.refresh_from_db()
    assert (organization.bundle_seconds, organization.time_zone) == (12, "Europe/Berlin")
    assert client.post(page, form | {"bundle_seconds": "601"}).status_code == 200
    assert Organization.objects.get(pk=organization.pk).bundle_seconds == 12


def test_it_is_neither_added_nor_deleted(organization, admin, client):
    client.force_login(admin)
    assert client.get(reverse("admin:accounts_organization_add")).status_code == 403
    assert (
        client.post(reverse("admin:accounts_organization_delete", args=[organization.pk]), {"post": "yes"}).status_code
        == 403
    )
