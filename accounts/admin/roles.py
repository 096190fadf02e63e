"""The seven built-in roles, to be looked at, and the organization's own."""

from datetime import datetime
from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest

from accounts import services
from accounts.admin.base import CheckBoxes, OrganizationAdmin, ServiceForm, organization_of, person
from accounts.entitlements import Entitlement
from accounts.models import Role


class RoleForm(ServiceForm):
    """A bundle of entitlements."""

    entitlements = forms.MultipleChoiceField(
        choices=[(code.value, code.value) for code in Entitlement],
        required=False,
        widget=CheckBoxes,
    )

    class Meta:
        model = Role
        fields = ["name", "entitlements"]


@admin.register(Role)
class RoleAdmin(OrganizationAdmin):
    """Roles."""

    singular, plural = "Role", "Roles"
    warns = True
    change_needs = (Entitlement.SECURITY,)
    form = RoleForm
    fields = ("name", "entitlements")
    list_display = ("name", "kind", "rights")
    search_fields = ("name",)

    @admin.display(description="Kind")
    def kind(self, role: Role) -> str:
        """Return whether the role is ours or theirs."""
        return "Built-in" if role.builtin else "Custom"

    @admin.display(description="Entitlements")
    def rights(self, role: Role) -> int:
        """Return how many rights it bundles."""
        return len(role.entitlements)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_change_permission(request, obj) and not (obj and obj.builtin)

    def save_through(self, request: HttpRequest, form: Any, formsets: list[Any], *, stored: Any, now: datetime) -> Role:
        if stored is None:
            return services.create_role(organization_of(request), actor=person(request), **form.cleaned_data)
        return services.update_role(stored, actor=person(request), **form.cleaned_data)

    def delete_says(self, obj: Role) -> str:
        return "A role that somebody still holds is not deleted."

    def delete_through(self, request: HttpRequest, obj: Role, *, now: datetime) -> None:
        services.delete_role(obj, actor=person(request))
