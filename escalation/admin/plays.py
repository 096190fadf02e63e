"""The admin of response plays and their tiers."""

from datetime import datetime
from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest

from accounts.admin.base import OrganizationAdmin, OrganizationInline, organization_of, person, rows_of
from accounts.entitlements import Entitlement
from escalation.admin.policies import RuleForm
from escalation.admin.running import new_values, running_says
from escalation.models.policies import PlayTier, ResponsePlay
from escalation.policies import plays


class PlayTierForm(forms.ModelForm):  # type: ignore[type-arg] # not subscriptable at run time
    """One tier of a play."""

    class Meta:
        model = PlayTier
        fields = ["offset_minutes", "users", "groups"]
        labels = {"offset_minutes": "Minutes after opening"}


class PlayTierInline(OrganizationInline):
    """The people and groups that are notified some minutes after the alert opened."""

    model = PlayTier
    form = PlayTierForm
    fields = ("offset_minutes", "users", "groups")
    verbose_name = "tier"
    verbose_name_plural = "Tiers"
    min_num = 1
    extra = 1


@admin.register(ResponsePlay)
class ResponsePlayAdmin(OrganizationAdmin):
    """Response plays of the organization."""

    singular, plural = "Response Play", "Response Plays"
    warns = True
    view_needs = (Entitlement.RULES_VIEW,)
    change_needs = (Entitlement.RULES_UPDATE,)
    form = RuleForm
    fields = (
        "name",
        "description",
        "priority",
        "enabled",
        "stop_running",
        "recovery_notice",
        "reopen_after_minutes",
        "low_waits_until",
    )
    inlines = (PlayTierInline,)
    list_display = ("name", "priority", "enabled", "version")
    list_filter = ("enabled", "priority")
    search_fields = ("name", "description")

    @admin.display(description="What runs by it")
    def stop_running(self, rule: ResponsePlay) -> str:
        """Return the text that users see who may not change the play."""
        return running_says(rule)

    def save_through(
        self, request: HttpRequest, form: Any, formsets: list[Any], *, stored: Any, now: datetime
    ) -> ResponsePlay:
        tiers = [plays.TierRule(**row) for formset in formsets for row in rows_of(formset)]
        if stored is None:
            return plays.create_play(organization_of(request), tiers=tiers, **new_values(form))
        return plays.update_play(stored, actor=person(request), now=now, tiers=tiers, **form.cleaned_data)

    def delete_says(self, obj: ResponsePlay) -> str:
        return f"{running_says(obj)} A play that an integration uses is not deleted."

    def delete_through(self, request: HttpRequest, obj: ResponsePlay, *, now: datetime) -> None:
        plays.delete_play(obj, actor=person(request), now=now)
