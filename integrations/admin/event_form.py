"""The form of integrations that open alerts for events of other products, in the order of the heartbeat's form."""

from decimal import Decimal
from typing import Any, Final

from django import forms

from integrations.admin.delay_fields import DELAYS, NO_DELAY, add_delay_errors, count_field, delay_of, minutes_field
from integrations.admin.integration_form import IntegrationForm
from integrations.inbound import signatures
from integrations.inbound.settings_checks import MAX_STORM, with_stored_secret

_SCHEMES: Final = (
    ("", "None: whoever knows the API URL may send"),
    ("github", "GitHub: X-Hub-Signature-256"),
    ("gitlab_token", "GitLab: X-Gitlab-Token"),
    ("sentry", "Sentry: Sentry-Hook-Signature"),
    ("slack", "Slack: X-Slack-Signature"),
    ("sns", "Amazon SNS"),
    ("standard", "Standard Webhooks: webhook-signature"),
    ("hmac_sha256", "HMAC-SHA256 of the body, in a header"),
    ("header", "The secret itself, in a header"),
    ("basic", "User and password (HTTP Basic)"),
)
MORE_FIELDS: Final = (
    "signature_scheme",
    "signature_header",
    "signature_secret",
    "allow_get",
    "auto_close_minutes",
    "group_minutes",
    "storm_per_minute",
    "delay_mode",
    "delay_minutes",
    "delay_count",
)


class EventForm(IntegrationForm):
    """The fields of an API integration, named as the service names them, but for those of signature and delay."""

    shown_at = {**IntegrationForm.shown_at, "delay": "delay_mode", "signature": "signature_scheme"}

    signature_scheme = forms.ChoiceField(
        label="Signature",
        choices=_SCHEMES,
        required=False,
        help_text="How a sender proves that an event is its own; without the proof it is answered 401.",
    )
    signature_header = forms.CharField(
        label="Header of the signature",
        max_length=signatures.MAX_HEADER,
        required=False,
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false"}),
        help_text="For the two schemes “in a header”: its name, such as X-Signature or Authorization.",
    )
    signature_secret = forms.CharField(
        label="Secret of the signature",
        max_length=signatures.MAX_SECRET,
        required=False,
        strip=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
        help_text="As it stands at the sender; user:password for HTTP Basic, the ARN of the topic for Amazon SNS.",
    )

    allow_get = forms.BooleanField(
        label="Accept GET",
        required=False,
        help_text="For senders that cannot POST: the fields stand in the address. Link previews can then open alerts.",
    )
    auto_close_minutes = minutes_field(
        "Close by itself after (minutes)",
        "After the last event of the alert, for senders that never say that it is over. 0 turns it off.",
        initial=0,
    )
    group_minutes = minutes_field(
        "Group alerts for (minutes)",
        "What comes within this time after an alert opened joins it as a member. 0 turns it off.",
        initial=0,
    )
    storm_per_minute = forms.IntegerField(
        label="Alerts per minute",
        min_value=0,
        max_value=MAX_STORM,
        required=False,
        initial=60,
        help_text="Further ones of that minute stand in one alert. 0 means no limit.",
    )
    delay_mode = forms.ChoiceField(label="Open the alert", choices=DELAYS, required=False, initial=NO_DELAY)
    delay_minutes = minutes_field("Delay (minutes)", "For the delays that count minutes.")
    delay_count = count_field()

    def _fill_in(self) -> None:
        super()._fill_in()
        stored = self.instance.event_settings
        for field in ("auto_close_minutes", "group_minutes"):
            self.initial[field] = f"{getattr(stored, field):f}".removesuffix(".0")
        for field in ("allow_get", "storm_per_minute"):
            self.initial[field] = getattr(stored, field)
        for part in ("mode", "minutes", "count"):
            self.initial[f"delay_{part}"] = stored.delay.get(part)
        signature = stored.signature or {}
        for part in ("scheme", "header"):
            self.initial[f"signature_{part}"] = signature.get(part) or ""
        if signature.get("secret"):
            text = "One is stored, which is never shown. Leave the field empty to keep it."
            self.fields["signature_secret"].help_text = text

    def clean_auto_close_minutes(self) -> Decimal:
        """Return zero minutes if nothing was entered."""
        return self.cleaned_data["auto_close_minutes"] or Decimal(0)

    def clean_group_minutes(self) -> Decimal:
        """Return zero minutes if nothing was entered."""
        return self.cleaned_data["group_minutes"] or Decimal(0)

    def clean_storm_per_minute(self) -> int:
        """Return the default if nothing was entered."""
        limit: int | None = self.cleaned_data["storm_per_minute"]
        return self.fields["storm_per_minute"].initial if limit is None else limit

    def clean(self) -> dict[str, Any] | None:
        """Refuse a delay without its minutes or its number of events, and a signature that nobody could give."""
        cleaned = super().clean()
        self._check_signature()
        add_delay_errors(self)
        return cleaned

    def service_values(self) -> dict[str, Any]:
        """Return the keyword arguments of the service; a delay has only what its mode needs."""
        values = super().service_values()
        delay = delay_of(values)
        for part in ("mode", "minutes", "count"):
            del values[f"delay_{part}"]
        for part in ("scheme", "header", "secret"):
            values.pop(f"signature_{part}", None)
        if "signature_scheme" in self.data:  # else the form is older than the field: the signature stays
            values["signature"] = self._signature()
        return values | {"delay": delay}

    def _signature(self) -> dict[str, Any] | None:
        """Return the signature as the service takes it: without a secret if the stored one is kept."""
        parts = {part: self.cleaned_data.get(f"signature_{part}") for part in ("scheme", "header", "secret")}
        return {part: value for part, value in parts.items() if value} if parts["scheme"] else None

    def _check_signature(self) -> None:
        """Add each fault of the signature at its field."""
        stored = self.instance.event_settings.signature if self.instance.pk else None
        signature = with_stored_secret(self._signature(), stored)
        if signature is None:
            return
        for fault in signatures.header_faults(signature["scheme"], signature.get("header")):
            self.add_error("signature_header", fault)
        for fault in signatures.secret_faults(signature["scheme"], signature.get("secret")):
            self.add_error("signature_secret", fault)
