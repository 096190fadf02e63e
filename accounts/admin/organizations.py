"""The admin page of the settings of the user's organization."""

from datetime import datetime
from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest

from accounts.admin.base import OrganizationAdmin, ServiceForm
from accounts.entitlements import Entitlement
from accounts.models.organizations import MAX_BUNDLE_SECONDS, Organization, time_zones
from accounts.services import organizations
from heartbeat_project.kernel.choice_fields import LongSelect


class OrganizationForm(ServiceForm):
    """The settings that apply to everybody in the organization."""

    time_zone = forms.ChoiceField(
        widget=LongSelect,
        choices=lambda: [(name, name.replace("_", " ")) for name in sorted(time_zones())],
        help_text="The time zone of new users, until they choose another.",
    )
    bundle_seconds = forms.IntegerField(
        label="Bundle alerts for (seconds)",
        min_value=0,
        max_value=MAX_BUNDLE_SECONDS,
        help_text=str(Organization._meta.get_field("bundle_seconds").help_text),  # noqa: SLF001 - documented Meta API
    )

    class Meta:
        model = Organization
        fields = ["name", "time_zone", "bundle_seconds"]


@admin.register(Organization)
class OrganizationSettingsAdmin(OrganizationAdmin):
    """The settings of the one organization that the user belongs to."""

    singular, plural = "Organization", "Organization"
    organization_path = "pk"
    change_needs = (Entitlement.SECURITY,)
    add_needs = ()
    form = OrganizationForm
    fields = ("name", "time_zone", "bundle_seconds")
    list_display = ("name", "time_zone", "bundle_seconds")

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def save_through(
        self, request: HttpRequest, form: Any, formsets: list[Any], *, stored: Any, now: datetime
    ) -> Organization:
        return organizations.update_organization(stored, **form.cleaned_data)
