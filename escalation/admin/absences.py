"""Out of office, for users who update all groups; all others enter their own on the page “On call”."""

from datetime import datetime
from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from accounts.admin.base import OrganizationAdmin, ServiceForm, moment, person, time_field
from accounts.entitlements import Entitlement
from escalation.models.on_call import OutOfOffice
from escalation.oncall.absences import create_absence, delete_absence, update_absence


class OutOfOfficeForm(ServiceForm):
    """A time in which a user is out of office, and the cover who is notified instead."""

    starts_at = time_field("From")
    ends_at = time_field("Until")

    class Meta:
        model = OutOfOffice
        fields = ["user", "cover", "group", "starts_at", "ends_at"]


@admin.register(OutOfOffice)
class OutOfOfficeAdmin(OrganizationAdmin):
    """Out-of-office entries of the organization."""

    singular, plural = "Out of Office", "Out of Office"
    warns = True
    view_needs = (Entitlement.GROUPS_VIEW_ALL,)
    change_needs = (Entitlement.GROUPS_UPDATE_ALL,)
    organization_path = "user__organization"
    form = OutOfOfficeForm
    fields = ("user", "cover", "group", "starts_at", "ends_at")
    list_display = ("user", "cover", "group", moment("starts_at", "From"), moment("ends_at", "Until"))
    list_select_related = ("user", "cover", "group")
    search_fields = ("user__name", "cover__name")
    ordering = ("-ends_at", "-pk")

    def get_readonly_fields(self, request: HttpRequest, obj: OutOfOffice | None = None) -> tuple[str, ...]:
        return ("user",) if obj else ()

    def save_through(
        self, request: HttpRequest, form: Any, formsets: list[Any], *, stored: Any, now: datetime
    ) -> OutOfOffice:
        values = {"actor": person(request), "now": now, **form.cleaned_data}
        if stored is None:
            return create_absence(values.pop("user"), **values)
        return update_absence(stored, **values)

    def delete_says(self, obj: OutOfOffice) -> str:
        return f"{obj.user} is notified again from now on."

    def delete_through(self, request: HttpRequest, obj: OutOfOffice, *, now: datetime) -> None:
        delete_absence(obj, actor=person(request))
