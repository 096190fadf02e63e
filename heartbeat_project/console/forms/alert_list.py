"""The filter bar of the list of alerts, and the form that acts on several of them."""

from typing import Any, Final

from django import forms

from accounts.models.contact_methods import Priority
from accounts.models.groups import Group
from accounts.models.users import User
from accounts.selectors import nameable_groups
from alerting.models.alerts import Alert
from alerting.services.alerts import REASON_LENGTH
from alerting.states import Action
from heartbeat_project.console.alert_lists import AlertFilter
from heartbeat_project.console.forms.audit_log import day_before_last, filter_times
from heartbeat_project.kernel.choice_fields import RowChoice
from heartbeat_project.kernel.ids import MAX_ID, read_id

MAX_BULK: Final = 500
_DATE: Final = {"type": "date"}
# The tabs that the list had, and the states that their addresses mean now.
OLD_TABS: Final = {"open": "open", "assigned": "assigned", "on-hold": "on_hold"}


class FilterForm(forms.Form):
    """What the list shows; days are those of the reader's time zone, and both are included."""

    q = forms.CharField(required=False, max_length=200, label="Find")
    status = forms.ChoiceField(required=False, label="State", choices=[("", "Any state"), *Alert.Status.choices])
    priority = forms.ChoiceField(required=False, label="Priority", choices=[("", "Any priority"), *Priority.choices])
    group = RowChoice(Group.objects.none(), label="Group", required=False, empty_label="Any group")
    owner = RowChoice(User.objects.none(), label="Owner", required=False, empty_label="Anybody or nobody")
    since = forms.DateField(label="From", required=False, widget=forms.DateInput(attrs=_DATE))
    until = forms.DateField(label="Until", required=False, widget=forms.DateInput(attrs=_DATE))
    integration = forms.IntegerField(required=False, min_value=1, max_value=MAX_ID, widget=forms.HiddenInput)
    before = forms.IntegerField(required=False, min_value=1, max_value=MAX_ID, widget=forms.HiddenInput)

    def __init__(self, *args: Any, reader: User, **options: Any) -> None:
        super().__init__(*args, **{"label_suffix": "", **options})
        for name, rows in (
            ("group", nameable_groups(reader)),
            ("owner", User.objects.filter(organization_id=reader.organization_id)),
        ):
            field: Any = self.fields[name]
            field.queryset = rows

    def clean_until(self) -> Any:
        """Refuse the last day of the calendar, which no day follows."""
        return day_before_last(self.cleaned_data["until"])

    def filters(self) -> AlertFilter:
        """Return the filter; fields with errors, which the page names, do not count."""
        chosen = self.cleaned_data
        after, before = filter_times(chosen.get("since"), chosen.get("until"))
        return AlertFilter(
            text=(chosen.get("q") or "").strip(),
            status=chosen.get("status") or "",
            priority=chosen.get("priority") or "",
            group=chosen["group"].pk if chosen.get("group") else None,
            integration=chosen.get("integration"),
            owner=chosen["owner"].pk if chosen.get("owner") else None,
            opened_after=after,
            opened_before=before,
        )


class BulkForm(forms.Form):
    """An action on the ticked alerts: `ids` holds each alert with the state in which it was shown."""

    action = forms.ChoiceField(
        choices=[(action.value, action.value) for action in (Action.ACKNOWLEDGE, Action.ASSIGN, Action.CLOSE)]
    )
    user = RowChoice(User.objects.none(), label="Assign to", required=False, empty_label="Me")
    reason = forms.CharField(required=False, max_length=REASON_LENGTH, label="Reason (optional)")

    def __init__(self, *args: Any, actor: User, **options: Any) -> None:
        super().__init__(*args, **{"label_suffix": "", "auto_id": "bulk_%s", **options})
        people = User.objects.filter(organization_id=actor.organization_id, is_active=True)
        field: Any = self.fields["user"]
        field.queryset = people.exclude(kind=User.Kind.STAKEHOLDER)

    def ticked(self) -> dict[int, str]:
        """Return the ticked alerts with the states in which they were shown; what is no alert is left out."""
        sent: Any = self.data
        pairs = (value.partition(":") for value in sent.getlist("ids")[: MAX_BULK + 1])
        return {pk: seen for number, _, seen in pairs if (pk := read_id(number))}
