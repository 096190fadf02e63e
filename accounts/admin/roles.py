"""The admin pages of roles: the seven built-in ones are read-only, custom ones can be changed."""

from datetime import datetime
from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest

from accounts.admin.base import OrganizationAdmin, ServiceForm, organization_of, person
from accounts.entitlements import Entitlement
from accounts.models.users import Role
from accounts.services import roles
from heartbeat_project.kernel.choice_fields import CheckBoxes


class RoleForm(ServiceForm):
    """The name and the entitlements of a custom role."""

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
        return "Built-in" if role.builtin else "Custom"

    @admin.display(description="Entitlements")
    def rights(self, role: Role) -> int:
        return len(role.entitlements)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_change_permission(request, obj) and not (obj and obj.builtin)

    def save_through(self, request: HttpRequest, form: Any, formsets: list[Any], *, stored: Any, now: datetime) -> Role:
        if stored is None:
            return roles.create_role(organization_of(request), actor=person(request), **form.cleaned_data)
        return roles.update_role(stored, actor=person(request), **form.cleaned_data)

    def delete_says(self, obj: Role) -> str:
        return "A role that users still hold cannot be deleted."

    def delete_through(self, request: HttpRequest, obj: Role, *, now: datetime) -> None:
        roles.delete_role(obj, actor=person(request))
