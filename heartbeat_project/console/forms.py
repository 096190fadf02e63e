"""What people send from the console."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Self

from django import forms
from django.contrib.auth.forms import AuthenticationForm
from django.core.cache import cache
from django.core.exceptions import ValidationError
from django.utils import timezone

from accounts import windows
from accounts.admin.base import CheckBoxes, time_field
from accounts.models import ContactMethod, Group, GroupRole, User, time_zones
from accounts.services.contact_methods import MAX_REPEATS
from alerting.models import Bridge, Priority
from alerting.services import REASON_LENGTH
from escalation import holds
from escalation.models import EscalationPolicy, ResponsePlay
from escalation.services.manual import SUBJECT_LENGTH, TEXT_LENGTH, ManualAlert
from escalation.services.reachable import why_not_reached
from escalation.services.reminders import MOST_HOURS
from heartbeat_project.kernel.errors import FieldError
from heartbeat_project.kernel.ids import digest

if TYPE_CHECKING:
    UserChoice = forms.ModelChoiceField[User]
    GroupChoice = forms.ModelChoiceField[Group]
    BridgeChoice = forms.ModelChoiceField[Bridge]
    GroupChoices = forms.ModelMultipleChoiceField[Group]
    UserChoices = forms.ModelMultipleChoiceField[User]
    PolicyChoice = forms.ModelChoiceField[EscalationPolicy]
    PlayChoice = forms.ModelChoiceField[ResponsePlay]
else:
    PolicyChoice = PlayChoice = forms.ModelChoiceField
    UserChoice = GroupChoice = BridgeChoice = forms.ModelChoiceField
    GroupChoices = UserChoices = forms.ModelMultipleChoiceField

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

    def __init__(self, *args: Any, actor: User, integration_id: int | None, now: datetime, **options: Any) -> None:
        super().__init__(*args, **options)
        active = User.objects.filter(organization_id=actor.organization_id, is_active=True)
        people = active.exclude(kind=User.Kind.STAKEHOLDER)
        why = why_not_reached(people, integration_id=integration_id, now=now)
        field: Any = self.fields["user"]
        field.queryset = people
        field.label_from_instance = lambda user: " ".join([f"{user}:", *why[user.pk]]) if user.pk in why else str(user)


class HoldForm(forms.Form):
    """Until when the alert is on hold; nothing chosen is until somebody resumes it."""

    until = forms.CharField(required=False, max_length=10)
    time = forms.CharField(required=False, max_length=40)

    def __init__(self, *args: Any, now: datetime, **options: Any) -> None:
        super().__init__(*args, **options)
        self._now = now

    def clean(self) -> dict[str, Any]:
        """Return the moment alone."""
        given = super().clean() or {}
        zone = timezone.get_current_timezone()
        try:
            until = holds.chosen(given.get("until", ""), given.get("time", ""), now=self._now, zone=zone)
        except ValueError:
            raise ValidationError({"until": "Choose a date and a time."}) from None
        return {"until": until}


class ReasonForm(forms.Form):
    """Why the alert ends."""

    reason = forms.CharField(required=False, max_length=REASON_LENGTH, label="Reason (optional)")


class ReplyForm(forms.Form):
    """A note for the timeline."""

    text = forms.CharField(max_length=4_000, label="Note", widget=forms.Textarea(attrs={"rows": 3}))


class ReassignForm(forms.Form):
    """Where the escalation begins anew."""

    groups = GroupChoices(Group.objects.none(), required=False, label="Groups", widget=CheckBoxes)
    escalation_policy = PolicyChoice(
        EscalationPolicy.objects.none(), required=False, label="Escalation Policy", empty_label="The one it follows now"
    )

    def __init__(self, *args: Any, actor: User, **options: Any) -> None:
        super().__init__(*args, **{"prefix": "reassign", **options})
        _offer(self, "groups", Group.objects.filter(organization_id=actor.organization_id))
        policies = EscalationPolicy.objects.filter(organization_id=actor.organization_id, enabled=True)
        _offer(self, "escalation_policy", policies)


class RespondersForm(forms.Form):
    """Who is asked for help."""

    users = UserChoices(User.objects.none(), required=False, label="People", widget=CheckBoxes)
    groups = GroupChoices(Group.objects.none(), required=False, label="Groups", widget=CheckBoxes)
    response_play = PlayChoice(
        ResponsePlay.objects.none(), required=False, label="Response Play", empty_label="No play"
    )

    def __init__(self, *args: Any, actor: User, **options: Any) -> None:
        super().__init__(*args, **{"prefix": "responders", **options})
        _offer(self, "users", User.objects.filter(organization_id=actor.organization_id, is_active=True))
        _offer(self, "groups", Group.objects.filter(organization_id=actor.organization_id))
        plays = ResponsePlay.objects.filter(organization_id=actor.organization_id, enabled=True)
        _offer(self, "response_play", plays)


def _offer(form: forms.Form, field: str, rows: Any) -> None:
    form.fields[field].queryset = rows  # type: ignore[attr-defined]


class NewAlertForm(forms.Form):
    """An alert made by hand; `follows` is a quick-launch policy or a play, `source_id` prevents sending it twice."""

    subject = forms.CharField(
        max_length=SUBJECT_LENGTH,
        label="What is wrong?",
        error_messages={"required": "Say what is wrong."},
        help_text="One line, as people read it first.",
    )
    text = forms.CharField(
        max_length=TEXT_LENGTH,
        required=False,
        label="Details (optional)",
        widget=forms.Textarea(attrs={"rows": 4}),
    )
    follows = forms.ChoiceField(
        label="Escalation Policy / Response Play",
        error_messages={"required": "Choose a policy or a play."},
        help_text="Who is told, and when. Policies that are marked for quick launch, and all plays, are offered here.",
    )
    recipient_groups = GroupChoices(Group.objects.none(), required=False, label="Recipient Group(s)", widget=CheckBoxes)
    recipient_users = UserChoices(User.objects.none(), required=False, label="Recipient User(s)", widget=CheckBoxes)
    priority = forms.ChoiceField(required=False, choices=[("", "As the policy or play says"), *Priority.choices])
    bridge = BridgeChoice(Bridge.objects.none(), required=False, empty_label="No bridge")
    source_id = forms.CharField(max_length=64, required=False, widget=forms.HiddenInput)

    def __init__(self, *args: Any, sender: User, **options: Any) -> None:
        super().__init__(*args, **options)
        organization = sender.organization_id
        for name, rows in (
            ("recipient_groups", Group.objects.filter(organization_id=organization)),
            ("recipient_users", User.objects.filter(organization_id=organization, is_active=True)),
            ("bridge", Bridge.objects.filter(organization_id=organization)),
        ):
            self.fields[name].queryset = rows  # type: ignore[attr-defined]
        policies = EscalationPolicy.objects.filter(organization_id=organization, enabled=True, quick_launch=True)
        plays = ResponsePlay.objects.filter(organization_id=organization, enabled=True)
        self._rules = {f"policy:{row.pk}": row for row in policies} | {f"play:{row.pk}": row for row in plays}
        groups = [
            (title, [(key, row.name) for key, row in self._rules.items() if key.startswith(kind)])
            for kind, title in (("policy:", "Escalation Policies"), ("play:", "Response Plays"))
        ]
        choices = [("", "Choose one"), *(group for group in groups if group[1])]
        self.fields["follows"].choices = choices  # type: ignore[attr-defined]

    @property
    def can_follow(self) -> bool:
        """Whether there is any policy or play to choose."""
        return bool(self._rules)

    def draft(self) -> ManualAlert:
        """Return what the form says, as the service takes it."""
        values = dict(self.cleaned_data)
        rule = self._rules[values.pop("follows")]
        return ManualAlert(
            **values | {"priority": values["priority"] or None},
            escalation_policy=rule if isinstance(rule, EscalationPolicy) else None,
            response_play=rule if isinstance(rule, ResponsePlay) else None,
        )

    def refuse(self, error: FieldError) -> None:
        """Show what the service refused, at the field where it can be mended."""
        field = "follows" if error.field in {"escalation_policy", "response_play"} else error.field
        self.add_error(field if field in self.fields else None, str(error))


class ProfileForm(forms.Form):
    """What people say about themselves."""

    name = forms.CharField(max_length=200, label="Name", widget=forms.TextInput(attrs={"autocomplete": "name"}))
    time_zone = forms.ChoiceField(
        label="Time zone",
        choices=lambda: [(name, name.replace("_", " ")) for name in sorted(time_zones())],
        help_text="Every time on these pages is shown in it.",
    )


@dataclass(frozen=True, slots=True)
class KindWords:
    """What the pages say about a kind of contact method."""

    add: str
    address: str
    help: str
    label: str


KINDS = {
    ContactMethod.Kind.EMAIL.value: KindWords("an e-mail address", "E-mail address", "", "Email-Personal"),
    ContactMethod.Kind.SMS.value: KindWords(
        "a number for SMS", "Phone number", "With its country code, such as +49 1512 3456789.", "SMS-Personal"
    ),
    ContactMethod.Kind.VOICE.value: KindWords(
        "a number to call", "Phone number", "With its country code, such as +49 1512 3456789.", "Voice-Personal"
    ),
    ContactMethod.Kind.PUSH.value: KindWords("this browser", "Subscription", "", "Push-Official"),
    ContactMethod.Kind.CHAT.value: KindWords(
        "a chat channel",
        "Address of an incoming webhook",
        "Of Slack, Mattermost, Rocket.Chat or Microsoft Teams. Everybody in the channel reads along, the code too.",
        "Chat-Official",
    ),
    ContactMethod.Kind.WEBHOOK.value: KindWords(
        "a webhook",
        "Address",
        "It gets a signed POST with JSON. Its signing secret is shown here once it is confirmed.",
        "Webhook-Official",
    ),
    ContactMethod.Kind.APPRISE.value: KindWords(
        "another service",
        "Apprise URL",
        "Such as tgram://token/chat-id for Telegram, or ntfys://topic.",
        "Other",
    ),
}


class ContactMethodForm(forms.Form):
    """One more way to reach me."""

    label = forms.CharField(max_length=40, label="Label", help_text="Policies name it by this.")
    address = forms.CharField(max_length=2_000)

    def __init__(self, *args: Any, kind: str, **options: Any) -> None:
        words = KINDS[kind]
        options = {"initial": {"label": words.label}, "auto_id": f"id_{kind}_%s", **options}
        super().__init__(*args, **options)
        self.kind = kind
        field = self.fields["address"]
        field.label, field.help_text = words.address, words.help
        if kind in {ContactMethod.Kind.SMS, ContactMethod.Kind.VOICE}:
            field.widget = forms.TextInput(attrs={"type": "tel", "autocomplete": "tel", "inputmode": "tel"})


class EditContactMethodForm(ContactMethodForm):
    """All that can be chosen about a contact method."""

    delay_minutes = forms.DecimalField(
        min_value=0,
        max_digits=6,
        decimal_places=1,
        label="Wait (minutes)",
        help_text="After an alert reaches you, until this is used. 0: at once.",
    )
    repeat_count = forms.IntegerField(
        min_value=0, max_value=MAX_REPEATS, label="Repeat (times)", help_text="0: tell me once."
    )
    repeat_gap_minutes = forms.DecimalField(
        min_value=0, max_digits=6, decimal_places=1, label="Between repeats (minutes)"
    )
    windows = forms.CharField(
        required=False,
        max_length=1_000,
        label="When it is used",
        help_text="Empty: at any time. Otherwise for example <code>Mon-Fri 08:00-18:00; Sat, Sun 22:00-06:00</code>, "
        "in your time zone.",
    )

    def __init__(self, *args: Any, is_official: bool, **options: Any) -> None:
        super().__init__(*args, **options)
        if is_official:
            for name in ("label", "address", "windows"):
                del self.fields[name]
        elif self.kind == ContactMethod.Kind.PUSH:
            del self.fields["address"]

    def clean_windows(self) -> list[dict[str, Any]]:
        """Return the windows as they are stored."""
        try:
            return windows.read(self.cleaned_data["windows"])
        except ValueError as error:
            raise ValidationError(str(error), code="windows") from error


class SlackForm(forms.Form):
    """Who presses a button in Slack is this person."""

    slack_id = forms.CharField(
        max_length=24,
        required=False,
        label="Slack member ID",
        help_text="In Slack: open your profile, then ⋮, then “Copy member ID”. Empty: Slack answers for nobody.",
    )


class SharedContactForm(ContactMethodForm):
    """What a group shares: where it is, and what it is called."""

    LABELS = {
        ContactMethod.Kind.EMAIL.value: "Mailbox",
        ContactMethod.Kind.CHAT.value: "Channel",
        ContactMethod.Kind.WEBHOOK.value: "Webhook",
    }

    def __init__(self, *args: Any, kind: str, **options: Any) -> None:
        super().__init__(*args, **{"kind": kind, "initial": {"label": self.LABELS[kind]}, **options})
        self.fields["label"].help_text = "Alerts say by this what was told."

    @classmethod
    def of(cls, method: ContactMethod, data: Any = None) -> Self:
        """Return the form that changes a contact; its address is shown as everybody sees it."""
        initial = {"label": method.label, "address": method.shown}
        return cls(data, kind=method.kind, initial=initial, auto_id=f"id_{method.pk}_%s")


class MemberForm(forms.Form):
    """One more member of a group, in one role."""

    user = UserChoice(User.objects.none(), label="Person", empty_label="Choose a person")
    role = forms.ChoiceField(choices=GroupRole.choices, label="Role")

    def __init__(self, *args: Any, group: Group, **options: Any) -> None:
        super().__init__(*args, **options)
        people = User.objects.filter(organization_id=group.organization_id, is_active=True)
        self.fields["user"].queryset = people  # type: ignore[attr-defined]


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
    shift_notices = forms.BooleanField(
        label="Notify me when somebody puts me on a shift or makes me a cover", required=False
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
