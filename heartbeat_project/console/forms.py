"""What people send from the console."""

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib.auth.forms import AuthenticationForm
from django.core.cache import cache
from django.core.exceptions import ValidationError

from accounts.admin.base import time_field
from accounts.models import Group, User, time_zones
from alerting.services import REASON_LENGTH
from escalation.services.reminders import MOST_HOURS
from heartbeat_project.kernel.ids import digest

if TYPE_CHECKING:
    UserChoice = forms.ModelChoiceField[User]
    GroupChoice = forms.ModelChoiceField[Group]
else:
    UserChoice = GroupChoice = forms.ModelChoiceField

TRIES = 10
TRIES_WITHIN_SECONDS = 5 * 60


class SignInForm(AuthenticationForm):
    """E-mail and password; after ten failures from one place, five minutes of patience."""

    error_messages = {
        "invalid_login": "This e-mail and password do not match. Check both: the password tells capitals apart.",
        "inactive": "This account was deactivated. Ask an App Admin of your organization.",
    }

    def __init__(self, request: Any = None, *args: Any, **options: Any) -> None:
        super().__init__(request, *args, **options)
        self.fields["username"].label = "E-mail"
        self.fields["username"].widget = forms.EmailInput(attrs={"autocomplete": "username", "autofocus": True})
        self.fields["username"].widget.attrs["maxlength"] = 254
        self.fields["password"].label = "Password"

    def clean(self) -> dict[str, Any]:
        """Authenticate, unless too many tries failed."""
        key = self._key()
        if cache.get(key, 0) >= TRIES:
            raise ValidationError(
                "Too many tries with this e-mail. Wait five minutes, or ask an App Admin for a new password.",
                code="throttled",
            )
        try:
            cleaned = super().clean()
        except ValidationError:
            cache.add(key, 0, TRIES_WITHIN_SECONDS)
            cache.incr(key)
            raise
        if self.get_user() is not None:
            cache.delete(key)
        return cleaned

    def _key(self) -> str:
        email = str(self.cleaned_data.get("username", "")).lower()
        place = self.request.META.get("REMOTE_ADDR", "") if self.request else ""
        return f"sign-in:{digest(f'{email}|{place}')}"


class SearchForm(forms.Form):
    """What is looked for; a form, because it refuses what the database cannot hold."""

    q = forms.CharField(required=False, max_length=200)
    before = forms.IntegerField(required=False, min_value=1, max_value=2**63 - 1)


class AssignForm(forms.Form):
    """Who is to take the alert."""

    user = UserChoice(User.objects.none(), label="Assign to", empty_label="Choose a person")

    def __init__(self, *args: Any, actor: User, **options: Any) -> None:
        super().__init__(*args, **options)
        people = User.objects.filter(organization_id=actor.organization_id, is_active=True)
        self.fields["user"].queryset = people.exclude(kind=User.Kind.STAKEHOLDER)  # type: ignore[attr-defined]


class ReasonForm(forms.Form):
    """Why the alert ends."""

    reason = forms.CharField(required=False, max_length=REASON_LENGTH, label="Reason (optional)")


class ReplyForm(forms.Form):
    """A note for the timeline."""

    text = forms.CharField(max_length=4_000, label="Note", widget=forms.Textarea(attrs={"rows": 3}))


class ProfileForm(forms.Form):
    """What people say about themselves."""

    name = forms.CharField(max_length=200, label="Name", widget=forms.TextInput(attrs={"autocomplete": "name"}))
    time_zone = forms.ChoiceField(
        label="Time zone",
        choices=lambda: [(name, name.replace("_", " ")) for name in sorted(time_zones())],
        help_text="Every time on these pages is shown in it.",
    )


class ContactMethodForm(forms.Form):
    """One more way to reach me."""

    label = forms.CharField(max_length=40, label="Label", help_text="For example Email-Personal.")
    address = forms.EmailField(max_length=320, label="E-mail address")


class OutOfOfficeForm(forms.Form):
    """When somebody is away, and who is told instead."""

    starts_at = time_field("From")
    ends_at = time_field("Until")
    cover = UserChoice(User.objects.none(), label="Who is told instead", empty_label="Choose a person")
    group = GroupChoice(Group.objects.none(), label="In which group", required=False, empty_label="In all groups")

    def __init__(self, *args: Any, actor: User, **options: Any) -> None:
        super().__init__(*args, **options)
        others = User.objects.filter(organization_id=actor.organization_id, is_active=True).exclude(pk=actor.pk)
        self.fields["cover"].queryset = others  # type: ignore[attr-defined]
        self.fields["group"].queryset = Group.objects.filter(members__user=actor).distinct()  # type: ignore[attr-defined]


class ReminderForm(forms.Form):
    """How long before a duty its person is reminded."""

    remind_hours = forms.DecimalField(
        label="Remind me so many hours before",
        required=False,
        min_value=Decimal("0.1"),
        max_value=MOST_HOURS,
        max_digits=4,
        decimal_places=1,
        widget=forms.NumberInput(attrs={"step": "0.1", "inputmode": "decimal"}),
        help_text="By e-mail, once before each duty. Empty: no reminder.",
    )


class CodeForm(forms.Form):
    """The code that was sent to an address."""

    code = forms.CharField(
        max_length=20,
        label="Code",
        widget=forms.TextInput(attrs={"autocomplete": "one-time-code", "inputmode": "numeric"}),
    )


class ApiKeyForm(forms.Form):
    """What a key is for."""

    name = forms.CharField(max_length=100, label="What is it for?")


class PasswordForm(forms.Form):
    """A new password, typed twice."""

    current_password = forms.CharField(
        label="Current password",
        strip=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "current-password"}),
    )
    password = forms.CharField(
        label="New password",
        strip=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
        help_text="At least ten characters, not a common one, not your name or e-mail.",
    )
    again = forms.CharField(
        label="New password again",
        strip=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
    )

    def clean(self) -> dict[str, Any] | None:
        """Refuse two different passwords."""
        cleaned = super().clean() or self.cleaned_data
        if "password" in cleaned and "again" in cleaned and cleaned["password"] != cleaned["again"]:
            self.add_error("again", "This is not the same password.")
        return cleaned
