"""Response plays with their tiers."""

from datetime import datetime
from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from accounts.admin.base import OrganizationAdmin, OrganizationInline, organization_of, rows_of
from accounts.entitlements import Entitlement
from escalation.models import PlayTier, ResponsePlay
from escalation.services import plays


class PlayTierInline(OrganizationInline):
    """Who is told so many minutes after the alert opened."""

    model = PlayTier
    fields = ("offset_minutes", "users", "groups")
    verbose_name = "tier"
    verbose_name_plural = "Tiers"
    min_num = 1
    extra = 1


@admin.register(ResponsePlay)
class ResponsePlayAdmin(OrganizationAdmin):
    """Response plays."""

    singular, plural = "Response Play", "Response Plays"
    warns = True
    view_needs = (Entitlement.RULES_VIEW,)
    change_needs = (Entitlement.RULES_UPDATE,)
    fields = ("name", "description", "priority", "enabled", "recovery_notice")
    inlines = (PlayTierInline,)
    list_display = ("name", "priority", "enabled", "version")
    list_filter = ("enabled", "priority")
    search_fields = ("name", "description")

    def save_through(
        self, request: HttpRequest, form: Any, formsets: list[Any], *, stored: Any, now: datetime
    ) -> ResponsePlay:
        tiers = [plays.TierRule(**row) for formset in formsets for row in rows_of(formset)]
        if stored is None:
            return plays.create_play(organization_of(request), tiers=tiers, **form.cleaned_data)
        return plays.update_play(stored, tiers=tiers, **form.cleaned_data)

    def delete_says(self, obj: ResponsePlay) -> str:
        return "Escalations that follow it now go on to their end. A play that an integration uses is not deleted."

    def delete_through(self, request: HttpRequest, obj: ResponsePlay, *, now: datetime) -> None:
        plays.delete_play(obj)
