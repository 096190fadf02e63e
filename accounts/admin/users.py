"""The admin pages of users, who are added, changed and deactivated, but never deleted."""

from contextlib import AbstractContextManager, nullcontext
from datetime import datetime
from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.admin.utils import unquote
from django.contrib.auth import update_session_auth_hash
from django.db.models import QuerySet
from django.http import HttpRequest

from accounts.admin.base import OrganizationAdmin, ServiceForm, instant, organization_of, person
from accounts.entitlements import BuiltinRole, Entitlement
from accounts.models.organizations import time_zones
from accounts.models.users import Role, User
from accounts.services import taken_addresses, users
from heartbeat_project.kernel.choice_fields import LongSelect


class UserForm(ServiceForm):
    """A user; without a password nobody can sign in as them until one is set."""

    time_zone = forms.ChoiceField(
        widget=LongSelect,
        choices=lambda: [(name, name.replace("_", " ")) for name in sorted(time_zones())],
        help_text="The pages show times in this zone.",
    )
    password = forms.CharField(
        label="New password",
        required=False,
        strip=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
        help_text="At least ten characters. Leave it empty to keep the current password.",
    )
    keep_api_keys = forms.BooleanField(
        label="Keep their API keys",
        required=False,
        help_text="Unless this is ticked, a new password revokes them.",
    )

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        if self.instance.pk is None:
            password = self.fields["password"]
            password.label = "Password"
            password.help_text = "At least ten characters. Without one, they cannot sign in until it is set."

    class Meta:
        model = User
        fields = ["name", "email", "kind", "time_zone", "roles", "is_active"]
        labels = {"email": "E-mail", "is_active": "Active"}
        help_texts = {
            "email": "They sign in with this address. It is also their Email-Official.",
            "is_active": "A user who is not active cannot sign in or use API keys, and is not paged.",
        }


_ONLY_FOR_EXISTING_USERS = ("keep_api_keys", "is_active")


@admin.register(User)
class UserAdmin(OrganizationAdmin):
    """Users."""

    singular, plural = "User", "Users"
    warns = True
    change_needs = (Entitlement.SECURITY,)
    form = UserForm
    fields = ("name", "email", "kind", "time_zone", "roles", "password", "keep_api_keys", "is_active")
    list_display = ("name", "e_mail", "kind", "held_roles", "active")
    search_fields = ("name", "email")
    list_filter = ("kind",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).prefetch_related("roles")

    @admin.display(description="E-mail", ordering="email")
    def e_mail(self, user: User) -> str:
        return user.email

    @admin.display(description="Roles")
    def held_roles(self, user: User) -> str:
        names = [role.name for role in user.roles.all()]
        return ", ".join(["Owner", *names] if user.is_owner else names) or "none"

    @admin.display(description="Active", boolean=True, ordering="is_active")
    def active(self, user: User) -> bool:
        return user.is_active

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return self.fields if obj else tuple(name for name in self.fields if name not in _ONLY_FOR_EXISTING_USERS)

    def get_changeform_initial_data(self, request: HttpRequest) -> Any:
        return {"time_zone": organization_of(request).time_zone} | super().get_changeform_initial_data(request)

    def formfield_for_manytomany(self, db_field: Any, request: HttpRequest, **options: Any) -> Any:
        if db_field.name == "roles":
            roles = Role.objects.filter(organization=organization_of(request))
            options["queryset"] = roles.exclude(builtin=BuiltinRole.OWNER)
        return super().formfield_for_manytomany(db_field, request, **options)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def around_saving(self, request: HttpRequest, object_id: str | None) -> AbstractContextManager[None]:
        """Count refused addresses outside the transaction, which a refusal rolls back."""
        stored = self.get_object(request, unquote(object_id)) if object_id is not None else None
        if stored is not None and not users.is_new_address(stored, request.POST.get("email")):
            return nullcontext()
        return taken_addresses.counted_refusals(person(request).organization_id, now=instant(request))

    def save_through(self, request: HttpRequest, form: Any, formsets: list[Any], *, stored: Any, now: datetime) -> User:
        values = dict(form.cleaned_data)
        values["password"] = values["password"] or None
        if stored is None:
            values.pop("keep_api_keys", None)
            return users.create_user(organization_of(request), now=now, **values)
        user = users.update_user(stored, actor=person(request), now=now, **values)
        if values["password"] and user.pk == person(request).pk:
            update_session_auth_hash(request, user)
        return user
