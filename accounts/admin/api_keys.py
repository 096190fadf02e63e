"""The admin pages of API keys: users see their own; users who administer security see and revoke all."""

from datetime import datetime
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.template.response import TemplateResponse

from accounts.admin.base import OrganizationAdmin, moment, person
from accounts.entitlements import Entitlement
from accounts.models.access import ApiKey
from accounts.permissions import may
from accounts.services import api_keys

# The key in a request's META that carries the new API key to its response. It is displayed once and not stored.
_NEW_KEY = "heartbeat.new_key"


@admin.register(ApiKey)
class ApiKeyAdmin(OrganizationAdmin):
    """API keys."""

    singular, plural = "API key", "API keys"
    organization_path = "user__organization"
    view_needs = (Entitlement.PROFILE_VIEW,)
    add_needs = (Entitlement.PROFILE_UPDATE,)
    list_display = (
        "name",
        "prefix",
        "user",
        moment("created_at", "Made"),
        moment("last_used_at", "Last used"),
        moment("revoked_at", "Revoked", empty="no"),
    )
    list_select_related = ("user",)
    search_fields = ("name", "prefix", "user__name")
    delete_label = "Revoke"
    delete_confirmation_template = "admin/accounts/apikey/revoke.html"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        keys = super().get_queryset(request)
        return keys if may(request.user, Entitlement.SECURITY) else keys.filter(user=person(request))

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return ("name", "prefix", "user", "created_at", "last_used_at", "revoked_at") if obj else ("name",)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.has_view_permission(request, obj) and not (obj and obj.revoked_at)

    def save_through(
        self, request: HttpRequest, form: Any, formsets: list[Any], *, stored: Any, now: datetime
    ) -> ApiKey:
        key, request.META[_NEW_KEY] = api_keys.create_api_key(person(request), now=now, **form.cleaned_data)
        form.instance.prefix = key.prefix
        return key

    def response_add(self, request: HttpRequest, obj: Any, post_url_continue: str | None = None) -> Any:
        """Show the key on this response, without a redirect: it is not stored, so no later page could show it."""
        context = self.admin_site.each_context(request) | self._words() | {"opts": self.opts}
        context |= {"title": "The key is ready", "new_key": obj, "secret": request.META[_NEW_KEY]}
        response = TemplateResponse(request, "admin/accounts/apikey/created.html", context)
        response["Cache-Control"] = "no-store"
        return response

    def delete_says(self, obj: ApiKey) -> str:
        return "All requests with this key are refused from now on. The key stays in the list as revoked."

    def delete_through(self, request: HttpRequest, obj: ApiKey, *, now: datetime) -> None:
        api_keys.revoke_api_key(obj, actor=person(request), now=now)
