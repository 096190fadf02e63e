"""Bridges: conference lines that travel with alerts."""

from datetime import datetime
from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest

from accounts.admin.base import OrganizationAdmin, ServiceForm, organization_of
from accounts.entitlements import Entitlement
from accounts.services.saving import unique
from alerting.models import Bridge
from heartbeat_project.kernel.errors import FieldError


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
        bridge = stored or Bridge(organization=organization_of(request))
        for field, value in form.cleaned_data.items():
            setattr(bridge, field, value)
        if not (bridge.phone_number or bridge.meeting_url):
            raise FieldError("phone_number", "Give a phone number or a meeting URL: the bridge must lead somewhere.")
        with unique("bridge_name_unique", field="name", message=f"There is already a bridge named “{bridge.name}”."):
            bridge.save()
        return bridge

    def delete_says(self, obj: Bridge) -> str:
        return "Integrations and alerts that name it have no bridge afterwards."

    def delete_through(self, request: HttpRequest, obj: Bridge, *, now: datetime) -> None:
        obj.delete()
