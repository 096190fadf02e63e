"""The form of integrations by which people open alerts in a chat."""

from typing import Any, Final

from django import forms

from integrations.admin.event_form import MORE_FIELDS as EVENT_FIELDS
from integrations.admin.event_form import EventForm
from integrations.inbound.chat_checks import MAX_BASE, MAX_SECRET, ORIGINS, SECRETS
from integrations.models.chat import ChatSettings
from integrations.models.integrations import InboundIntegration

MAX_LIST: Final = 20_000  # characters of the list of channels
_NAMES: Final = tuple(dict.fromkeys(name for names in SECRETS.values() for name in names))
SECRET_FIELDS: Final = (*(f"secret_{name}" for name in _NAMES), "api_base")
MORE_FIELDS: Final = (
    "open_from",
    "who_may_open",
    "channels",
    "command",
    "updates",
    *(name for name in EVENT_FIELDS if name != "allow_get" and not name.startswith("signature_")),
)
_ORIGIN_LABELS: Final = {
    "command": "The slash command, and the message action",
    "mention": "A message that mentions the app",
    "message": "Every message in the channels",
}
_KEPT: Final = "One is stored, which is never shown. Leave the field empty to keep it."


def _secret(label: str, help_text: str) -> forms.CharField:
    return forms.CharField(
        label=label,
        max_length=MAX_SECRET,
        required=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
        help_text=help_text,
    )


def secret_fields(integration: InboundIntegration | None) -> tuple[str, ...]:
    """Return the fields for what the platform of an integration gives; those of all platforms for a new one."""
    if integration is None:
        return SECRET_FIELDS
    own = SECRETS[ChatSettings.objects.get(pk=integration.pk).platform]
    return (*(f"secret_{name}" for name in own), *(["api_base"] if "bot_token" in own else []))


class ChatForm(EventForm):
    """The fields of a Chat integration, named as the service names them, but for the secrets and the delay."""

    shown_at = {**EventForm.shown_at, **{f"secrets/{name}": f"secret_{name}" for name in _NAMES}}
    allow_get = None  # type: ignore[assignment] # no field here
    platform = forms.ChoiceField(label="Platform", choices=ChatSettings.Platform.choices)
    secret_signing_secret = _secret("Slack: signing secret", "In the app's settings: Basic Information.")
    secret_bot_token = _secret(
        "Slack or Mattermost: token of the bot",
        "Slack: OAuth & Permissions, it begins with xoxb-. It writes the changes of an alert into its thread.",
    )
    secret_command_token = _secret("Mattermost: token of the slash command", "Shown once the command is saved there.")
    secret_webhook_token = _secret(
        "Mattermost: token of the outgoing webhook", "Only if messages shall open alerts as well."
    )
    secret_token = _secret("Others: token", "Sent along as Authorization: Bearer, or as token in the body.")
    api_base = forms.CharField(
        label="Address of the platform",
        max_length=MAX_BASE,
        required=False,
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false", "inputmode": "url"}),
        help_text="Mattermost: that of your server, such as https://chat.example.org. Slack: leave it empty.",
    )
    open_from = forms.MultipleChoiceField(
        label="What opens alerts",
        choices=[(origin, _ORIGIN_LABELS[origin]) for origin in ORIGINS],
        required=False,
        initial=["command"],
        widget=forms.CheckboxSelectMultiple,
    )
    who_may_open = forms.ChoiceField(
        label="Who may open alerts",
        choices=ChatSettings.WhoMayOpen.choices,
        required=False,
        initial=ChatSettings.WhoMayOpen.ANYBODY,
        help_text="Whoever has not linked their chat account can do nothing but open alerts.",
    )
    channels = forms.CharField(
        label="Channels",
        required=False,
        max_length=MAX_LIST,
        widget=forms.Textarea(attrs={"rows": 2, "spellcheck": "false", "autocapitalize": "none"}),
        help_text="One in a line: the name or the id. Empty: any channel.",
    )
    command = forms.CharField(
        label="Slash command",
        max_length=40,
        required=False,
        initial="/heartbeat",
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false"}),
        help_text="As it is called in the platform; answers name it.",
    )
    updates = forms.ChoiceField(
        label="Changes of an alert are written",
        choices=ChatSettings.Updates.choices,
        required=False,
        initial=ChatSettings.Updates.THREAD,
        help_text="This needs the token of the bot.",
    )

    def _fill_in(self) -> None:
        super()._fill_in()
        stored = self.instance.chat_settings
        self.initial.pop("allow_get", None)
        for field in ("platform", "api_base", "open_from", "who_may_open", "command", "updates"):
            self.initial[field] = getattr(stored, field)
        self.initial["channels"] = "\n".join(stored.channels)
        for name in stored.secrets:
            self.fields[f"secret_{name}"].help_text = _KEPT

    def clean_channels(self) -> list[str]:
        """Return the lines that are not empty."""
        return [line.strip() for line in self.cleaned_data["channels"].splitlines() if line.strip()]

    def service_values(self) -> dict[str, Any]:
        """Return the keyword arguments of the service; an empty secret keeps the stored one."""
        values = super().service_values()
        entered = {name: values.pop(f"secret_{name}") for name in _NAMES}
        own = SECRETS[values["platform"]]
        values["secrets"] = {name: value or None for name, value in entered.items() if name in own}
        defaults = {"who_may_open": ChatSettings.WhoMayOpen.ANYBODY, "updates": ChatSettings.Updates.THREAD}
        for name, default in {**defaults, "command": "/heartbeat"}.items():
            values[name] = values[name] or default
        return values

    def clean(self) -> dict[str, Any] | None:
        """Refuse a secret that belongs to another platform: it would be lost silently."""
        cleaned = super().clean()
        own = SECRETS.get(self.cleaned_data.get("platform") or "", _NAMES)
        for name in _NAMES:
            if self.cleaned_data.get(f"secret_{name}") and name not in own:
                self.add_error(f"secret_{name}", "This belongs to another platform. Leave the field empty.")
        return cleaned
