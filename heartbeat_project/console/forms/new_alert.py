"""The form for an alert made by hand."""

from typing import Any, Self

from django import forms

from accounts.models.contact_methods import Priority
from accounts.models.groups import Group
from accounts.models.users import User
from alerting.models.bridges import Bridge
from escalation.engine.manual import (
    SUBJECT_LENGTH,
    TEXT_LENGTH,
    ManualAlert,
    launchable_plays,
    launchable_policies,
    usual_recipients,
)
from escalation.models.policies import EscalationPolicy, ResponsePlay
from heartbeat_project.kernel.choice_fields import RowChoice, RowChoices
from heartbeat_project.kernel.errors import FieldError
from heartbeat_project.kernel.ids import digest, read_id


class NewAlertForm(forms.Form):
    """An alert made by hand.

    `follows` is a quick-launch policy or a play (`policy:<id>`, `play:<id>`). `source_id` keeps it from being sent
    twice. `previewed` is the `route_key` of the preview that stood on the page when the button was pressed.
    """

    subject = forms.CharField(
        max_length=SUBJECT_LENGTH,
        label="What is wrong?",
        error_messages={"required": "Say what is wrong."},
        widget=forms.TextInput(attrs={"autocomplete": "off", "enterkeyhint": "next"}),
    )
    text = forms.CharField(
        max_length=TEXT_LENGTH,
        required=False,
        label="Details (optional)",
        widget=forms.Textarea(attrs={"rows": 2}),
    )
    follows = forms.ChoiceField(
        label="Escalation Policy / Response Play", error_messages={"required": "Choose a policy or a play."}
    )
    recipient_groups = RowChoices(Group.objects.none(), required=False)
    recipient_users = RowChoices(User.objects.none(), required=False)
    priority = forms.ChoiceField(required=False, choices=[("", "As the policy or play says"), *Priority.choices])
    bridge = RowChoice(Bridge.objects.none(), required=False, empty_label="No bridge")
    source_id = forms.CharField(max_length=64, required=False)
    previewed = forms.CharField(max_length=64, required=False)

    RECIPIENT_FIELDS = ("follows", "recipient_groups", "recipient_users", "priority")

    def __init__(self, *args: Any, sender: User, **options: Any) -> None:
        super().__init__(*args, **options)
        organization = sender.organization_id
        for name, rows in (
            ("recipient_groups", Group.objects.filter(organization_id=organization)),
            ("recipient_users", User.objects.filter(organization_id=organization, is_active=True)),
            ("bridge", Bridge.objects.filter(organization_id=organization)),
        ):
            self.fields[name].queryset = rows  # type: ignore[attr-defined]
        policies, plays = launchable_policies(organization), launchable_plays(organization)
        self._rules = {f"policy:{row.pk}": row for row in policies} | {f"play:{row.pk}": row for row in plays}
        follows_choices: list[tuple[str, Any]] = [("", "Choose one")]
        for title, prefix in (("Escalation Policies", "policy:"), ("Response Plays", "play:")):
            entries = [(key, row.name) for key, row in self._rules.items() if key.startswith(prefix)]
            if entries:
                follows_choices.append((title, entries))
        self.fields["follows"].choices = follows_choices  # type: ignore[attr-defined]

    @classmethod
    def suggested(cls, sender: User) -> Self:
        """Return a form with suggestions: the rule that the sender used last and, for a policy, their own group."""
        usual = usual_recipients(sender)
        kind = "play" if isinstance(usual.rule, ResponsePlay) else "policy"
        follows = f"{kind}:{usual.rule.pk}" if usual.rule else ""
        groups = [] if kind == "play" else list(usual.groups)
        return cls(sender=sender, initial={"follows": follows, "recipient_groups": groups})

    @property
    def can_follow(self) -> bool:
        """Whether there is a policy or play to choose."""
        return bool(self._rules)

    @property
    def follows_play(self) -> bool:
        """Whether a play is chosen; it has people of its own, so recipients are optional."""
        return str(self["follows"].value()).startswith("play:")

    @property
    def groups(self) -> list[Group]:
        """The groups that are ticked."""
        return self._ticked("recipient_groups")

    @property
    def people(self) -> list[User]:
        """The people who are ticked."""
        return self._ticked("recipient_users")

    @property
    def recipients_error(self) -> str:
        """The first error that keeps it from notifying anybody; empty if there is none."""
        return next((str(self.errors[name][0]) for name in self.RECIPIENT_FIELDS if name in self.errors), "")

    @property
    def first_error(self) -> str:
        """The name of the first field with an error, in the order of the page; empty if there is none."""
        return next((name for name in self.fields if name in self.errors), "")

    @property
    def route_key(self) -> str:
        """A digest of everything that decides who is notified; two forms with the same key notify the same people."""
        groups, people = ([str(row.pk) for row in rows] for rows in (self.groups, self.people))
        parts = [str(self._value("follows")), ",".join(sorted(groups)), ",".join(sorted(people))]
        return digest("|".join([*parts, str(self._value("priority") or "")]))

    def _value(self, name: str) -> Any:
        if not self.is_bound:
            return self.initial.get(name)
        self.is_valid()
        return self.cleaned_data.get(name)

    def _ticked(self, name: str) -> list[Any]:
        """Return the ticked rows that can still be chosen, also when the field has an error."""
        if not self.is_bound or name not in self.errors:
            return list(self._value(name) or [])
        keys = [key for key in self.data.getlist(name) if read_id(key)]  # type: ignore[attr-defined]
        return list(self.fields[name].queryset.filter(pk__in=keys))  # type: ignore[attr-defined]

    def draft(self) -> ManualAlert:
        """Return the alert that the form describes, as a value for the service."""
        rule = self._rules.get(str(self._value("follows")))
        subject, text = self._value("subject") or "", self._value("text") or ""
        token = self._value("source_id")
        return ManualAlert(
            subject=subject,
            text=text,
            priority=self._value("priority") or None,
            escalation_policy=rule if isinstance(rule, EscalationPolicy) else None,
            response_play=rule if isinstance(rule, ResponsePlay) else None,
            recipient_groups=self.groups,
            recipient_users=self.people,
            bridge=self._value("bridge"),
            # Pressing the button twice sends one alert; going back and changing the form sends another one.
            source_id=digest(f"{token}|{self.route_key}|{subject}|{text}") if token else "",
        )

    def refuse(self, error: FieldError) -> None:
        """Show the service's error at the field where it can be corrected."""
        field = "follows" if error.field in {"escalation_policy", "response_play"} else error.field
        self.add_error(field if field in self.fields else None, str(error))
