"""The users of the organization: added with roles, changed, deactivated; never deleted."""

from datetime import datetime
from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.auth import update_session_auth_hash
from django.db.models import QuerySet
from django.http import HttpRequest

from accounts import services
from accounts.admin.base import OrganizationAdmin, ServiceForm, organization_of, person
from accounts.entitlements import BuiltinRole, Entitlement
from accounts.models import Role, User, time_zones


class UserForm(ServiceForm):
    """A person; without a password nobody can sign in as them until one is set."""

    time_zone = forms.ChoiceField(
        choices=lambda: [(name, name.replace("_", " ")) for name in sorted(time_zones())],
        help_text="Times on the pages are shown in it.",
    )
    password = forms.CharField(
        label="New password",
        required=False,
        strip=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
        help_text="At least ten characters. Left empty, it stays as it is.",
    )

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        if self.instance.pk is None:
            password = self.fields["password"]
            password.label = "Password"
            password.help_text = "At least ten characters. Left empty, they cannot sign in until it is set."

    class Meta:
        model = User
        fields = ["name", "email", "kind", "time_zone", "slack_id", "roles", "is_active"]
        labels = {"email": "E-mail", "is_active": "Active"}
        help_texts = {
            "email": "They sign in with it, and it is their Email-Official.",
            "is_active": "Without the tick the person cannot sign in, their keys are refused, and nobody pages them.",
        }


@admin.register(User)
class UserAdmin(OrganizationAdmin):
    """Users."""

    singular, plural = "User", "Users"
    warns = True
    change_needs = (Entitlement.SECURITY,)
    form = UserForm
    fields = ("name", "email", "kind", "time_zone", "roles", "slack_id", "password", "is_active")
    list_display = ("name", "email", "kind", "held_roles", "active")
    search_fields = ("name", "email")
    list_filter = ("kind",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).prefetch_related("roles")

    @admin.display(description="Roles")
    def held_roles(self, user: User) -> str:
        """Return the names of the roles."""
        names = [role.name for role in user.roles.all()]
        return ", ".join(["Owner", *names] if user.is_owner else names) or "none"

    @admin.display(description="Active", boolean=True, ordering="is_active")
    def active(self, user: User) -> bool:
        """Return whether they may sign in."""
        return user.is_active

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return self.fields if obj else tuple(name for name in self.fields if name != "is_active")

    def get_changeform_initial_data(self, request: HttpRequest) -> Any:
        return {"time_zone": organization_of(request).time_zone} | super().get_changeform_initial_data(request)

    def formfield_for_manytomany(self, db_field: Any, request: HttpRequest, **options: Any) -> Any:
        if db_field.name == "roles":
            roles = Role.objects.filter(organization=organization_of(request))
            options["queryset"] = roles.exclude(builtin=BuiltinRole.OWNER)
        return super().formfield_for_manytomany(db_field, request, **options)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def save_through(self, request: HttpRequest, form: Any, formsets: list[Any], *, stored: Any, now: datetime) -> User:
        values = dict(form.cleaned_data)
        values["password"] = values["password"] or None
        if stored is None:
            return services.create_user(organization_of(request), now=now, **values)
        user = services.update_user(stored, actor=person(request), now=now, **values)
        if values["password"] and user.pk == person(request).pk:
            update_session_auth_hash(request, user)
        return user
