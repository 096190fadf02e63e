"""Forms of the profile: name, time zone, API keys, password."""

from typing import Any

from django import forms

from accounts.models.organizations import time_zones
from heartbeat_project.kernel.choice_fields import LongSelect


class ProfileForm(forms.Form):
    """Change one's own name, time zone and recovery notices."""

    name = forms.CharField(max_length=200, label="Name", widget=forms.TextInput(attrs={"autocomplete": "name"}))
    time_zone = forms.ChoiceField(
        widget=LongSelect,
        label="Time zone",
        choices=lambda: [(name, name.replace("_", " ")) for name in sorted(time_zones())],
        help_text="All times on these pages are shown in it.",
    )
    recovery_notices = forms.BooleanField(
        label="Notify me when the signal is back",
        required=False,
        help_text="You get one short message about each alert that you were notified of, by push or e-mail if you have "
        "them, otherwise by chat or SMS, and never by a call.",
    )


class ApiKeyForm(forms.Form):
    """Name a new API key."""

    name = forms.CharField(max_length=100, label="What is it for?")


class PasswordForm(forms.Form):
    """Change the password; the new one is typed twice."""

    current_password = forms.CharField(
        label="Current password",
        strip=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "current-password"}),
    )
    password = forms.CharField(
        label="New password",
        strip=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
        help_text="At least ten characters, not only digits, not a common one, not your name or e-mail.",
    )
    again = forms.CharField(
        label="New password again",
        strip=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
    )
    keep_api_keys = forms.BooleanField(
        label="Keep my API keys",
        required=False,
        help_text="If you clear this, they are revoked, and programs that use them stop working at once.",
    )

    def clean(self) -> dict[str, Any] | None:
        """Check that both new passwords are the same."""
        cleaned = super().clean() or self.cleaned_data
        if "password" in cleaned and "again" in cleaned and cleaned["password"] != cleaned["again"]:
            self.add_error("again", "The two passwords are not the same.")
        return cleaned
