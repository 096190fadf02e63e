"""Forms that add, confirm and change contact methods."""

from typing import Any

from django import forms
from django.core.exceptions import ValidationError

from accounts import windows
from accounts.contact_kinds import CONTACT_KINDS, AddressType
from accounts.models.contact_methods import ContactMethod, Priority
from accounts.services.contact_methods import MAX_REPEATS


class ContactMethodForm(forms.Form):
    """Add a contact method: its label and address."""

    label = forms.CharField(max_length=40, label="Label", help_text="Policies refer to it by this label.")
    address = forms.CharField(max_length=2_000)

    def __init__(self, *args: Any, kind: str, **options: Any) -> None:
        texts = CONTACT_KINDS[kind].form
        options = {"initial": {"label": texts.label}, "auto_id": f"id_{kind}_%s", **options}
        super().__init__(*args, **options)
        self.kind = kind
        field = self.fields["address"]
        field.label, field.help_text = texts.address, texts.help
        if CONTACT_KINDS[kind].address_type is AddressType.PHONE_NUMBER:
            field.widget = forms.TextInput(attrs={"type": "tel", "autocomplete": "tel", "inputmode": "tel"})


class EditContactMethodForm(ContactMethodForm):
    """Change a contact method; an official one (Email-Official) keeps its label, address and hours."""

    delay_minutes = forms.DecimalField(
        min_value=0,
        max_digits=6,
        decimal_places=1,
        label="Wait (minutes)",
        help_text="How long after an alert reaches you it is used. 0: at once.",
    )
    repeat_count = forms.IntegerField(
        min_value=0, max_value=MAX_REPEATS, label="Repeat (times)", help_text="0: notify me once."
    )
    repeat_gap_minutes = forms.DecimalField(
        min_value=0, max_digits=6, decimal_places=1, label="Between repeats (minutes)"
    )
    windows = forms.CharField(
        required=False,
        max_length=1_000,
        label="When it is used",
        help_text="Empty: at any time. Otherwise for example <code>Mon-Fri 08:00-18:00; Sat, Sun 18:00-24:00</code>, "
        "in your time zone.",
    )
    critical_outside_windows = forms.BooleanField(
        required=False,
        label="Critical alerts at any time",
        help_text="A Critical alert is sent over it outside these hours, too.",
    )
    from_priority = forms.ChoiceField(
        choices=[
            (Priority.NONE.value, "Every alert"),
            *(
                (priority.value, f"{priority.label} and above" if priority != Priority.CRITICAL else "Critical only")
                for priority in (Priority.LOW, Priority.MEDIUM, Priority.HIGH, Priority.CRITICAL)
            ),
        ],
        required=False,
        label="Use it for",
        help_text="Alerts with a lower priority are not sent over it.",
    )

    def __init__(self, *args: Any, is_official: bool, **options: Any) -> None:
        super().__init__(*args, **options)
        if is_official:
            for name in ("label", "address", "windows", "critical_outside_windows", "from_priority"):
                del self.fields[name]
        elif self.kind == ContactMethod.Kind.PUSH:
            del self.fields["address"]

    def clean_from_priority(self) -> str:
        """Return the priority; an empty choice means every alert."""
        return self.cleaned_data["from_priority"] or Priority.NONE

    def clean_windows(self) -> list[dict[str, Any]]:
        """Return the windows as they are stored."""
        try:
            return windows.read(self.cleaned_data["windows"])
        except ValueError as error:
            raise ValidationError(str(error), code="windows") from error


class ChatCodeForm(forms.Form):
    """The code by which a chat account proves to be this person's."""

    code = forms.CharField(
        max_length=20,
        label="Code from the chat",
        widget=forms.TextInput(attrs={"autocomplete": "one-time-code", "autocapitalize": "characters"}),
        help_text="Type the chat's command with “link”, such as /heartbeat link: it shows a code.",
    )


class CodeForm(forms.Form):
    """The code that was sent to an address."""

    code = forms.CharField(
        max_length=20,
        label="Code",
        widget=forms.TextInput(attrs={"autocomplete": "one-time-code", "inputmode": "numeric"}),
    )
