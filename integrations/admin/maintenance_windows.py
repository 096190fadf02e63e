"""Maintenance windows."""

from datetime import datetime
from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from accounts.admin.base import OrganizationAdmin, ServiceForm, moment, organization_of, time_field
from accounts.entitlements import Entitlement
from integrations.admin.integration_form import TagsField
from integrations.maintenance import windows
from integrations.models.windows import MaintenanceWindow


class WindowForm(ServiceForm):
    """Name, period and integrations of a maintenance window."""

    tags = TagsField(help_text="It covers each integration that has one of them, also one that gets it meanwhile.")
    starts_at = time_field("Starts")
    ends_at = time_field("Ends")

    class Meta:
        model = MaintenanceWindow
        fields = ["name", "starts_at", "ends_at", "all_integrations", "integrations"]
        labels = {"all_integrations": "All integrations"}

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.initial["tags"] = " ".join(self.instance.tags)


@admin.register(MaintenanceWindow)
class MaintenanceWindowAdmin(OrganizationAdmin):
    """Maintenance windows: pings are recorded, nothing opens, and a fresh interval starts at the end."""

    singular, plural = "Maintenance Window", "Maintenance Windows"
    change_needs = (Entitlement.INBOUND_INTEGRATIONS,)
    form = WindowForm
    fields = ("name", "starts_at", "ends_at", "all_integrations", "tags", "integrations")
    list_display = (
        "name",
        moment("starts_at", "Starts"),
        moment("ends_at", "Ends"),
        "all_integrations",
        "covered_tags",
    )
    search_fields = ("name",)

    @admin.display(description="Tags")
    def covered_tags(self, window: MaintenanceWindow) -> str:
        return ", ".join(window.tags)

    def save_through(
        self, request: HttpRequest, form: Any, formsets: list[Any], *, stored: Any, now: datetime
    ) -> MaintenanceWindow:
        if stored is None:
            return windows.create_window(organization_of(request), now=now, **form.cleaned_data)
        return windows.update_window(stored, now=now, **form.cleaned_data)

    def delete_says(self, obj: MaintenanceWindow) -> str:
        return "Heartbeats that it covers now get a fresh interval at once."

    def delete_through(self, request: HttpRequest, obj: MaintenanceWindow, *, now: datetime) -> None:
        windows.delete_window(obj, now=now)
