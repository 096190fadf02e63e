"""The form of one rule of an integration: rows of conditions, and what the rule asks for.

The rules of the page travel as JSON in a field of their own; this form takes one of them out and puts it back. What it
has no field for stays as it is.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from django import forms
from django.db.models import Q

from accounts.models.groups import Group
from accounts.models.users import User
from escalation.models.policies import EscalationPolicy, ResponsePlay
from heartbeat_project.kernel.choice_fields import RowChoice, RowChoices
from heartbeat_project.kernel.ids import read_id
from integrations.admin.delay_fields import DELAYS, add_delay_errors, count_field, delay_of, minutes_field
from integrations.admin.rule_list import ACTIONS, OPS, PRIORITY_CHOICES, WITHOUT_VALUE, as_text
from integrations.inbound.rule_checks import CONDITIONS_LIMIT, NAME_LIMIT, check_rules
from integrations.inbound.templates import LENGTH_LIMIT

PREFIX: Final = "rule"
_MAX_DIGITS: Final = 3  # of the index of a row
MAX_TYPED: Final = 2_000  # characters of a path or a value
_MATCH: Final = (("all", "all of these conditions hold"), ("any", "one of these conditions holds"))
_CHOICES: Final = ("action", "priority", "escalation_policy", "response_play")
_MANY: Final = ("recipient_groups", "recipient_users")
_TEMPLATES: Final = ("subject", "note")
_DELAY: Final = ("delay_mode", "delay_minutes", "delay_count")
_DELAYS: Final = (("", "As the integration says"), *DELAYS)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConditionRow:
    """One row of the form; `index` is part of the names of its fields, and that of the stored condition."""

    index: int
    path: str = ""
    op: str = "equals"
    value: str = ""
    is_negated: bool = False

    @property
    def is_empty(self) -> bool:
        """Whether nothing was entered."""
        return not self.path and not self.value

    @property
    def ops(self) -> list[tuple[str, str]]:
        """The comparisons to choose from."""
        return OPS

    def condition(self, stored: Mapping[str, Any] | None) -> dict[str, Any]:
        """Return the condition of the row; a value that was not changed keeps its type."""
        condition: dict[str, Any] = {"path": self.path, "op": self.op}
        if stored is not None and stored.get("op") == self.op and as_text(stored.get("value")) == self.value:
            if "value" in stored:
                condition["value"] = stored["value"]
        elif self.op == "in":
            condition["value"] = [word.strip() for word in self.value.split(",") if word.strip()]
        elif self.op not in WITHOUT_VALUE:
            condition["value"] = self.value
        return {**condition, "not": True} if self.is_negated else condition


class RuleForm(forms.Form):
    """The fields of one rule; `number` is its place in the list from 1, and empty for a new one."""

    number = forms.IntegerField(required=False, min_value=1, widget=forms.HiddenInput)
    name = forms.CharField(label="Name", required=False, max_length=NAME_LIMIT)
    match = forms.ChoiceField(label="The rule holds if", choices=_MATCH, required=False)
    action = forms.ChoiceField(label="The event asks to", choices=ACTIONS, required=False)
    priority = forms.ChoiceField(label="Priority", choices=PRIORITY_CHOICES, required=False)
    escalation_policy = RowChoice(
        EscalationPolicy.objects.none(),
        label="Escalation Policy",
        required=False,
        empty_label="As the integration says",
    )
    response_play = RowChoice(
        ResponsePlay.objects.none(), label="Response Play", required=False, empty_label="As the integration says"
    )
    recipient_groups = RowChoices(Group.objects.none(), label="Recipient Group(s)", required=False)
    recipient_users = RowChoices(User.objects.none(), label="Recipient User(s)", required=False)
    replace = forms.BooleanField(label="Only these recipients, not those of the integration", required=False)
    subject = forms.CharField(
        label="Subject of the alert",
        required=False,
        max_length=LENGTH_LIMIT,
        widget=forms.TextInput(attrs={"data-takes": "template", "spellcheck": "false", "class": "code"}),
    )
    note = forms.CharField(
        label="Note in the timeline",
        required=False,
        max_length=LENGTH_LIMIT,
        widget=forms.Textarea(attrs={"rows": 2, "data-takes": "template", "spellcheck": "false", "class": "code"}),
    )
    delay_mode = forms.ChoiceField(label="Open the alert", choices=_DELAYS, required=False)
    delay_minutes = minutes_field("Delay (minutes)", "For the delays that count minutes.")
    delay_count = count_field()
    goes_on = forms.BooleanField(label="If it holds, try the next rules, too", required=False)

    def __init__(self, data: Mapping[str, Any] | None = None, *, organization_id: int, rule: Any = None) -> None:
        """Make the form of sent data, or of a stored rule: a mapping that was checked, with its `number`."""
        initial = None if rule is None else _initial(rule)
        super().__init__(data, prefix=PREFIX, initial=initial, label_suffix="")
        own = {"organization_id": organization_id}
        # Somebody who was deactivated since stays in sight: the rules are refused until they are taken out.
        chosen_ids = [number for value in self["recipient_users"].value() or () if (number := read_id(str(value)))]
        for field, rows in (
            ("escalation_policy", EscalationPolicy.objects.filter(**own)),
            ("response_play", ResponsePlay.objects.filter(**own)),
            ("recipient_groups", Group.objects.filter(**own)),
            ("recipient_users", User.objects.filter(Q(is_active=True) | Q(pk__in=chosen_ids), **own)),
        ):
            self.fields[field].queryset = rows  # type: ignore[attr-defined]
        self.rows = _sent_rows(data) if data is not None else _stored_rows(rule)

    @property
    def rows_and_empty(self) -> list[ConditionRow]:
        """The rows with an empty one behind them, while there may be more."""
        if len(self.rows) >= CONDITIONS_LIMIT or (self.rows and self.rows[-1].is_empty):
            return self.rows
        return [*self.rows, ConditionRow(index=max((row.index for row in self.rows), default=-1) + 1)]

    @property
    def is_filled(self) -> bool:
        """Whether a rule stands in the sent form."""
        if self.data.get(self.add_prefix("number")):
            return True
        fields = ("name", "goes_on", "replace", *_CHOICES, *_MANY, *_TEMPLATES, *_DELAY)
        return any(not row.is_empty for row in self.rows) or any(self[name].value() for name in fields)

    @property
    def has_more(self) -> bool:
        """Whether one of the fields that are folded away is filled in, or has an error."""
        folded = ("escalation_policy", "response_play", *_MANY, "replace", *_TEMPLATES, *_DELAY)
        return any(self[name].value() for name in folded) or (
            self.is_bound and any(self[name].errors for name in folded)
        )

    @property
    def is_ready(self) -> bool:
        """Whether nothing in the form keeps the rules from being saved."""
        return not self.is_bound or not self.errors

    @property
    def title(self) -> str:
        """The heading of the form."""
        number = self["number"].value()
        return f"Rule {number}" if number else "A new rule"

    def clean(self) -> dict[str, Any] | None:
        """Refuse a delay without its minutes or its number of events, and these without a delay."""
        cleaned = super().clean()
        add_delay_errors(self)
        values = self.cleaned_data
        if not values.get("delay_mode") and (values.get("delay_minutes") or values.get("delay_count")):
            self.add_error("delay_mode", "Choose when the alert opens, or leave the fields of the delay empty.")
        return cleaned

    def change_rows(self, change: str) -> None:
        """Add an empty row after `row`, or remove one after `unrow:3`."""
        what, _, index = change.partition(":")
        if what == "unrow":
            self.rows = [row for row in self.rows if str(row.index) != index]
        elif what == "row" and len(self.rows) < CONDITIONS_LIMIT:
            self.rows = [*self.rows, ConditionRow(index=max((row.index for row in self.rows), default=-1) + 1)]

    def put_into(self, rules: Sequence[Any]) -> list[Any]:
        """Return the rules with that of the form in its place, or at the end; the form is left with its errors if any.

        If there are errors, the rules are returned as they are.
        """
        if not self.is_valid():
            return list(rules)
        number = self.cleaned_data["number"] or 0
        stored = rules[number - 1] if 0 < number <= len(rules) else {}
        rule = self._rule(stored if isinstance(stored, dict) else {})
        for fault in check_rules([rule]):
            self.add_error(None, fault.partition(", ")[2])
        if self.errors:
            return list(rules)
        return [*rules[: number - 1], rule, *rules[number:]] if stored else [*rules, rule]

    def _rule(self, stored: Mapping[str, Any]) -> dict[str, Any]:
        values = self.cleaned_data
        [(_, conditions)] = stored.get("when", {"all": []}).items()
        by_index = dict(enumerate(conditions))
        rows = [row.condition(by_index.get(row.index)) for row in self.rows if not row.is_empty]
        match = values["match"] if rows and values["match"] else "all"
        rule: dict[str, Any] = {"name": values["name"]} if values["name"] else {}
        rule |= {"when": {match: rows}, "then": self._then(stored.get("then", {}))}
        return {**rule, "stop": False} if values["goes_on"] else rule

    def _then(self, stored: Mapping[str, Any]) -> dict[str, Any]:
        """Return what the rule asks for, with what the form has no field for as it was."""
        fields = (*_CHOICES, *_MANY, "replace", *_TEMPLATES)
        then = {name: value for name, value in stored.items() if name not in {*fields, "delay"}}
        for name in fields:
            value = self.cleaned_data[name]
            if name in _MANY:
                value = [row.pk for row in value]
            elif hasattr(value, "pk"):
                value = value.pk
            if value:
                then[name] = value
        if self.cleaned_data["delay_mode"]:
            then["delay"] = delay_of(self.cleaned_data)
        return then


def _initial(rule: Mapping[str, Any]) -> dict[str, Any]:
    then = rule["then"]
    fields = (*_CHOICES, *_MANY, "replace", *_TEMPLATES)
    [match] = rule.get("when", {"all": []})
    return {
        **{name: then[name] for name in fields if then.get(name)},
        "number": rule["number"],
        "name": rule.get("name", ""),
        "match": match,
        "goes_on": not rule.get("stop", True),
        **{f"delay_{part}": value for part, value in (then.get("delay") or {}).items()},
    }


def _stored_rows(rule: Mapping[str, Any] | None) -> list[ConditionRow]:
    if rule is None:
        return []
    [(_, conditions)] = rule.get("when", {"all": []}).items()
    return [
        ConditionRow(
            index=index,
            path=condition["path"],
            op=condition["op"],
            value=as_text(condition.get("value")),
            is_negated=bool(condition.get("not")),
        )
        for index, condition in enumerate(conditions)
    ]


def _sent_rows(data: Mapping[str, Any]) -> list[ConditionRow]:
    """Return the rows of a sent form by their indexes, at most CONDITIONS_LIMIT."""
    rows = []
    for index in sorted(index for name in data if (index := _row_index(name)) is not None):
        start = f"{PREFIX}-{index}"
        path, op, value = (str(data.get(f"{start}-{part}", ""))[:MAX_TYPED].strip() for part in ("path", "op", "value"))
        rows.append(ConditionRow(index=index, path=path, op=op, value=value, is_negated=f"{start}-not" in data))
    return rows[:CONDITIONS_LIMIT]


def _row_index(name: str) -> int | None:
    """Return the index of the row whose path has this name, `rule-7-path`; None for other fields."""
    start, _, rest = name.partition("-")
    index, _, part = rest.partition("-")
    is_path = start == PREFIX and part == "path" and index.isascii() and index.isdecimal()
    return int(index) if is_path and len(index) <= _MAX_DIGITS else None


def is_editable(rule: Any) -> bool:
    """Return whether the form can show a rule of the JSON field: one without a fault."""
    return not check_rules([rule])
