"""The admin of escalation policies and their roles.

An edit raises the version; escalations that run go on by the version with which they began.
"""

from datetime import datetime
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.template.loader import render_to_string
from django.urls import URLPattern, path
from django.utils.safestring import SafeString

from accounts.admin.base import OrganizationAdmin, OrganizationInline, organization_of, person, rows_of
from accounts.entitlements import Entitlement
from accounts.permissions import may
from escalation.admin.running import StopForm, new_values, running_says
from escalation.models.channel_actions import ACTIONS, CHANNELS
from escalation.models.policies import EscalationPolicy, PolicyRole
from escalation.policies import policies
from escalation.policies.clone import clone_policy
from heartbeat_project.kernel.errors import DomainError

# How many of the integrations that use a policy its page names.
MAX_USES_LISTED = 50


class PolicyRoleForm(forms.ModelForm):  # type: ignore[type-arg] # not subscriptable at run time
    """One role of a policy; numbers may stay at zero."""

    class Meta:
        model = PolicyRole
        fields = [
            "role",
            "wait_minutes",
            "between_members_minutes",
            "retries",
            "retry_interval_minutes",
            "contact_labels",
        ]
        labels = {
            "wait_minutes": "Wait before (min)",
            "between_members_minutes": "Between members (min)",
            "retry_interval_minutes": "Retry every (min)",
            "contact_labels": "Contact labels",
        }


class AllowedActionsTable(forms.CheckboxSelectMultiple):
    """A table of check boxes with a row for each channel and a column for each action."""

    use_fieldset = True

    def render(self, name: str, value: Any, attrs: Any = None, renderer: Any = None) -> SafeString:
        """Render with the project's templates: the renderer of forms does not find them."""
        checked = set(value or ())
        rows = [
            (label, [(action.value.capitalize(), f"{channel}:{action}") for action in ACTIONS])
            for channel, label in CHANNELS.items()
        ]
        context = {"name": name, "id": (attrs or {}).get("id", name), "rows": rows, "ticked": checked}
        return render_to_string("parts/allowed_actions.html", context)


class RuleForm(StopForm):
    """A policy or play; a new one that leaves the reminder empty gets the default of its priority."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        if field := self.fields.get("reopen_after_minutes"):
            field.label = "Remind the owner after (min)"
            field.required = False
            if self.instance.pk is None:
                self.initial["reopen_after_minutes"] = None
        if field := self.fields.get("low_waits_until"):
            field.label = "Low and None wait until"
            field.widget = forms.TimeInput(attrs={"type": "time"}, format="%H:%M")


LABELS = {
    "next_group_wait_minutes": "Wait between groups (min)",
    "acknowledge_stops": "Acknowledging stops the escalation",
    "recovery_notice": "Notify of the recovery",
    "repeats": "Repeat everything (times)",
    "quick_launch": "Quick launch (offered for alerts made by hand)",
}


class PolicyForm(RuleForm):
    """A policy; its allowed actions are checked in a table."""

    allowed_actions = forms.MultipleChoiceField(
        label="Allowed actions in messages",
        required=False,
        choices=[(f"{channel}:{action}", f"{channel}:{action}") for channel in CHANNELS for action in ACTIONS],
        widget=AllowedActionsTable,
        help_text="What people can do from a message. On the alert's page every action is always possible.",
    )

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        for name in LABELS.keys() & self.fields.keys():
            self.fields[name].label = LABELS[name]
        allowed_actions = self.instance.allowed_actions.items()
        self.initial["allowed_actions"] = [
            f"{channel}:{action}" for channel, actions in allowed_actions for action in actions
        ]

    def clean_allowed_actions(self) -> dict[str, list[str]]:
        """Return the allowed actions of each channel."""
        allowed_actions: dict[str, list[str]] = {channel: [] for channel in CHANNELS}
        for pair in self.cleaned_data["allowed_actions"]:
            channel, _, action = pair.partition(":")
            allowed_actions[channel].append(action)
        return allowed_actions


class PolicyRoleInline(OrganizationInline):
    """The roles that are notified, in the order Primary, Secondary, Manager."""

    model = PolicyRole
    form = PolicyRoleForm
    verbose_name = "role"
    verbose_name_plural = "Roles, in the order Primary, Secondary, Manager"
    max_num = 3
    extra = 3
    min_num = 1


@admin.register(EscalationPolicy)
class EscalationPolicyAdmin(OrganizationAdmin):
    """Escalation policies of the organization."""

    singular, plural = "Escalation Policy", "Escalation Policies"
    warns = True
    view_needs = (Entitlement.RULES_VIEW,)
    change_needs = (Entitlement.RULES_UPDATE,)
    form = PolicyForm
    fieldsets = (
        (None, {"fields": ("name", "description", "priority", "enabled", "stop_running")}),
        (
            "More settings",
            {
                "classes": ("collapse",),
                "fields": (
                    "notify_using",
                    "next_group_wait_minutes",
                    "acknowledge_stops",
                    "recovery_notice",
                    "reopen_after_minutes",
                    "low_waits_until",
                    "repeats",
                    "quick_launch",
                ),
            },
        ),
        ("Allowed actions in messages", {"classes": ("collapse",), "fields": ("allowed_actions",)}),
    )
    inlines = (PolicyRoleInline,)
    list_display = ("name", "priority", "enabled", "notify_using", "version")
    list_filter = ("enabled", "priority")
    search_fields = ("name", "description")

    @admin.display(description="What runs by it")
    def stop_running(self, rule: EscalationPolicy) -> str:
        """Return the text that users see who may not change the policy."""
        return running_says(rule)

    @admin.display(description="Allowed actions in messages")
    def allowed_actions(self, policy: EscalationPolicy) -> str:
        """Return the text that users see who may not change the policy."""
        return "\n".join(
            f"{CHANNELS[channel]}: {', '.join(actions) or 'nothing'}"
            for channel, actions in policy.allowed_actions.items()
        )

    def save_through(
        self, request: HttpRequest, form: Any, formsets: list[Any], *, stored: Any, now: datetime
    ) -> EscalationPolicy:
        rules = [policies.RoleRule(**row) for row in _role_rows(formsets)]
        if stored is None:
            return policies.create_policy(organization_of(request), roles=rules, **new_values(form))
        return policies.update_policy(stored, actor=person(request), now=now, roles=rules, **form.cleaned_data)

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **options: Any) -> Any:
        policy = context.get("original")
        if policy is not None:
            used_by = list(policy.integrations.order_by("name")[: MAX_USES_LISTED + 1])
            context |= {"used_by": used_by[:MAX_USES_LISTED], "used_by_more": len(used_by) > MAX_USES_LISTED}
            context["may_open"] = may(request.user, Entitlement.INBOUND_INTEGRATIONS)
        return super().render_change_form(request, context, *args, **options)

    def delete_says(self, obj: EscalationPolicy) -> str:
        return f"{running_says(obj)} A policy that an integration uses is not deleted."

    def delete_through(self, request: HttpRequest, obj: EscalationPolicy, *, now: datetime) -> None:
        policies.delete_policy(obj, actor=person(request), now=now)

    def get_urls(self) -> list[URLPattern]:
        clone = path(
            "<path:object_id>/clone/",
            self.admin_site.admin_view(self.clone_view),
            name="escalation_escalationpolicy_clone",
        )
        return [clone, *super().get_urls()]

    def clone_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Copy the policy and open the copy."""
        if not self.has_add_permission(request):
            raise PermissionDenied
        policy = self.get_object(request, object_id)
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        try:
            copy = clone_policy(policy)
        except DomainError as error:
            messages.error(request, str(error))
            return HttpResponseRedirect(self.page_of(policy))
        messages.success(request, f"This is a copy of “{policy}”. Give it its own name.")
        return HttpResponseRedirect(self.page_of(copy))


def _role_rows(formsets: list[Any]) -> list[dict[str, Any]]:
    rows = [row for formset in formsets for row in rows_of(formset)]
    for row in rows:
        row["contact_labels"] = tuple(row.get("contact_labels") or ())
    return rows
