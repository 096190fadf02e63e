"""The form of integrations: what those of all types have in common, in the order in which it is filled in."""

from decimal import Decimal
from typing import Any

from django import forms

from accounts.admin.base import ServiceForm, organization_of
from accounts.models.contact_methods import Priority
from accounts.models.groups import Group
from accounts.models.users import User
from alerting.models.bridges import Bridge
from escalation.models.policies import EscalationPolicy, ResponsePlay
from heartbeat_project.kernel.choice_fields import CheckBoxes
from heartbeat_project.kernel.errors import FieldError
from integrations.configuration.edits import MAX_MINUTES, RECIPIENTS, live_alert_ids
from integrations.models.integrations import InboundIntegration
from integrations.models.labels import MAX_DESCRIPTION, MAX_TAG, MAX_TAGS, clean_tags, split_tags

_POLICY, _PLAY = "policy", "play"
MAX_NUMBERS = 10  # of open alerts, in the help text


class RotateForm(forms.Form):
    """How long the old API URL works after its rotation."""

    overlap_minutes = forms.DecimalField(
        label="Keep the old URL for (minutes)",
        label_suffix="",
        min_value=Decimal(0),
        max_value=MAX_MINUTES,
        max_digits=6,
        decimal_places=1,
        required=False,
        initial=0,
        widget=forms.NumberInput(attrs={"step": "0.1", "inputmode": "decimal"}),
        help_text="0 if somebody else may have it.",
    )


class TagsField(forms.CharField):
    """Tags, with spaces or commas between them."""

    def __init__(self, **options: Any) -> None:
        help_text = (
            f"Such as shop env:prod, with spaces between them; at most {MAX_TAGS}. Lists can be filtered by them."
        )
        longest = MAX_TAGS * (MAX_TAG + 1)
        super().__init__(
            **{"label": "Tags", "required": False, "max_length": longest, "help_text": help_text, **options}
        )
        self.widget.attrs |= {"autocapitalize": "none", "autocomplete": "off", "spellcheck": "false"}

    def clean(self, value: Any) -> list[str]:
        """Return the tags. Raises ValidationError."""
        try:
            return clean_tags(split_tags(super().clean(value)))
        except FieldError as error:
            raise forms.ValidationError(str(error), code=error.code) from error


class IntegrationForm(ServiceForm):
    """The fields that integrations of all types have, named as the services name them.

    `follows` stands for two of them: it is an escalation policy or a response play.
    """

    shown_at = {"escalation_policy": "follows", "response_play": "follows"}

    follows = forms.ChoiceField(
        label="Escalation Policy / Response Play",
        error_messages={"required": "Choose an escalation policy or a response play."},
        help_text="Who is notified, and when, while an alert is open.",
    )

    tags = TagsField()

    class Meta:
        model = InboundIntegration
        fields = ["name", "recipient_groups", "recipient_users", "bridge", "enabled", "description", "priority"]
        widgets = {
            "description": forms.Textarea(attrs={"rows": 3}),
            "recipient_groups": CheckBoxes,
            "recipient_users": CheckBoxes,
        }
        error_messages = {"name": {"required": "Enter a name for the integration."}}
        help_texts = {
            "name": "Unique among the inbound integrations; the alert is named after it.",
            "recipient_groups": "Their members are notified in the order of the policy: Primary, Secondary, Manager.",
            "recipient_users": "Notified at once, as Primary.",
            "description": f"What it is for, and what to do when it fails. At most {MAX_DESCRIPTION:,} characters.",
            "priority": "Of its alerts, unless an event or a rule says another.",
            "bridge": "A conference line that travels with the alert.",
            "enabled": "A disabled integration keeps its events, but opens no alerts. Its open alerts are closed.",
        }

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        organization = organization_of(self.request)
        users = User.objects.filter(organization=organization)
        current_users = users.none()
        if self.instance.pk:
            current_users = users.filter(pk__in=self.instance.recipient_users.values("pk"))
        self._set_choices("recipient_groups", Group.objects.filter(organization=organization))
        self._set_choices("recipient_users", users.filter(is_active=True) | current_users)
        self._set_choices("bridge", Bridge.objects.filter(organization=organization))
        self.fields["recipient_users"].label_from_instance = _name_and_email  # type: ignore[attr-defined]
        self.fields["bridge"].empty_label = "No bridge"  # type: ignore[attr-defined]
        self.fields["name"].widget.attrs["autocomplete"] = "off"
        self.fields["priority"].choices = [("", "That of the policy or play"), *Priority.choices]  # type: ignore[attr-defined]
        self.fields["follows"].choices = self._policies_and_plays()  # type: ignore[attr-defined]
        if self.instance.pk:
            self._fill_in()

    def _set_choices(self, name: str, rows: Any) -> None:
        self.fields[name].queryset = rows  # type: ignore[attr-defined]

    def _policies_and_plays(self) -> list[Any]:
        """Return the choices in two groups; a disabled policy or play is listed only if the integration follows it."""
        organization = organization_of(self.request)
        groups = []
        for prefix, title, rows, current_id in (
            (_POLICY, "Escalation Policies", EscalationPolicy.objects, self.instance.escalation_policy_id),
            (_PLAY, "Response Plays", ResponsePlay.objects, self.instance.response_play_id),
        ):
            options = [
                (f"{prefix}:{row.pk}", row.name if row.enabled else f"{row.name} (disabled)")
                for row in rows.filter(organization=organization)
                if row.enabled or row.pk == current_id
            ]
            if options:
                groups.append((title, options))
        return [("", "Choose one"), *groups]

    def _fill_in(self) -> None:
        integration = self.instance
        self.initial["tags"] = " ".join(integration.tags)
        if integration.escalation_policy_id:
            self.initial["follows"] = f"{_POLICY}:{integration.escalation_policy_id}"
        elif integration.response_play_id:
            self.initial["follows"] = f"{_PLAY}:{integration.response_play_id}"
        if pks := live_alert_ids(integration):
            numbers = ", ".join(f"#{pk}" for pk in pks[:MAX_NUMBERS])
            if len(pks) > MAX_NUMBERS:
                numbers += " and others"
            alerts = f"Alert {numbers} is open. If you disable this {integration.noun}, it is closed."
            if len(pks) > 1:
                alerts = f"Alerts {numbers} are open. If you disable this {integration.noun}, they are closed."
            self.fields["enabled"].help_text = alerts

    def service_values(self) -> dict[str, Any]:
        """Return the keyword arguments of the service; of policy and play, one is None."""
        values = dict(self.cleaned_data)
        if self.instance.pk:
            values |= {field: self._in_stored_order(field) for field in RECIPIENTS}
        prefix, _, pk = values.pop("follows").partition(":")
        # The field accepts only choices of the organization, so these lookups need no filter of their own.
        values["escalation_policy"] = EscalationPolicy.objects.filter(pk=pk).first() if prefix == _POLICY else None
        values["response_play"] = ResponsePlay.objects.filter(pk=pk).first() if prefix == _PLAY else None
        return values

    def _in_stored_order(self, field: str) -> list[Any]:
        """Return the chosen recipients: those of before in their order, which boxes cannot show, then the others."""
        relation = getattr(InboundIntegration, field)
        stored = relation.through.objects.filter(inboundintegration=self.instance).order_by("id")
        pks = stored.values_list(f"{relation.field.m2m_reverse_field_name()}_id", flat=True)
        places = {pk: place for place, pk in enumerate(pks)}
        return sorted(self.cleaned_data[field], key=lambda recipient: places.get(recipient.pk, len(places)))


def _name_and_email(user: User) -> str:
    return f"{user.name} ({user.email})" + ("" if user.is_active else " (deactivated)")
