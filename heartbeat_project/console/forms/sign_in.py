"""The form to sign in."""

from datetime import datetime
from typing import Any

from django import forms
from django.contrib.auth.forms import AuthenticationForm
from django.core.exceptions import ValidationError

from accounts.services.try_limits import sign_in_try
from heartbeat_project.kernel.errors import NotNow
from heartbeat_project.kernel.proxies import SENDER, Sender


class SignInForm(AuthenticationForm):
    """E-mail and password.

    `device` is the cookie of a known browser. `not_now` is set if the password was not checked: too many tries.
    """

    error_messages = {
        "invalid_login": "This e-mail and password do not match. Check both: the password is case-sensitive.",
        "inactive": "This account was deactivated. Ask an App Admin of your organization.",
    }

    def __init__(self, request: Any = None, *args: Any, now: datetime, device: str = "", **options: Any) -> None:
        super().__init__(request, *args, **options)
        self._now, self._device = now, device
        self.not_now: NotNow | None = None
        self.fields["username"].label = "E-mail"
        self.fields["username"].widget = forms.EmailInput(attrs={"autocomplete": "username", "autofocus": True})
        self.fields["username"].widget.attrs["maxlength"] = 254
        self.fields["password"].label = "Password"

    def clean(self) -> dict[str, Any]:
        """Authenticate, unless too many tries failed or too many passwords are being checked."""
        if not self.cleaned_data.get("username") or not self.cleaned_data.get("password"):
            return self.cleaned_data
        sender = self.request.META.get(SENDER) if self.request else None
        try:
            with sign_in_try(
                self.cleaned_data["username"], sender=sender or Sender(), device=self._device, now=self._now
            ):
                return super().clean()
        except NotNow as error:
            self.not_now = error
            raise ValidationError(str(error), code=error.code) from None
