"""The admin pages of bridges, the conference lines that messages about an alert name."""

from datetime import datetime
from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest

from accounts.admin.base import OrganizationAdmin, ServiceForm, organization_of
from accounts.entitlements import Entitlement
from alerting.models.bridges import Bridge
from alerting.services.bridges import create_bridge, delete_bridge, update_bridge


class BridgeForm(ServiceForm):
    """A conference line: a number to dial, a page to join, or both."""

    meeting_url = forms.URLField(
        label="Meeting URL",
        required=False,
        max_length=500,
        assume_scheme="https",
        widget=forms.URLInput(attrs={"class": "vURLField"}),
    )

    class Meta:
        model = Bridge
        fields = ["name", "phone_number", "access_code", "meeting_url"]


@admin.register(Bridge)
class BridgeAdmin(OrganizationAdmin):
    """Bridges."""

    singular, plural = "Bridge", "Bridges"
    change_needs = (Entitlement.BRIDGES,)
    form = BridgeForm
    fields = ("name", "phone_number", "access_code", "meeting_url")
    list_display = ("name", "phone_number", "meeting_url")
    search_fields = ("name", "phone_number", "meeting_url")

    def save_through(
        self, request: HttpRequest, form: Any, formsets: list[Any], *, stored: Any, now: datetime
    ) -> Bridge:
        if stored is None:
            return create_bridge(organization_of(request), **form.cleaned_data)
        return update_bridge(stored, **form.cleaned_data)

    def delete_says(self, obj: Bridge) -> str:
        return "A bridge that an integration uses is not deleted. Alerts keep a copy of it."

    def delete_through(self, request: HttpRequest, obj: Bridge, *, now: datetime) -> None:
        delete_bridge(obj)
