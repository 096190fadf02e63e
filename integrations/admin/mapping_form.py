"""The form of the mapping, the status words and the rules of an integration, and what they make of a sample."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from django import forms

from heartbeat_project.kernel.errors import FieldError
from integrations.admin.event_words import ASKS
from integrations.inbound.decoding import TooLarge, decode
from integrations.inbound.event import Mapped, ReceivedEvent
from integrations.inbound.presets import presets
from integrations.inbound.replays import try_mapping
from integrations.inbound.settings_checks import MAPPED, MAX_RULES_LENGTH, PRESETS, STATUS_ACTIONS
from integrations.inbound.templates import LENGTH_LIMIT
from integrations.models.events import EventSettings
from integrations.models.integrations import InboundIntegration

MAX_WORDS_LENGTH: Final = 5_000
MAX_SHOWN: Final = 400  # characters of a result
_MAP, _WORDS = "map_", "words_"
_LABELS: Final[Mapping[str, str]] = {
    "source": "Source",
    "source_name": "Source name",
    "source_id": "Key",
    "subject": "Subject",
    "short_text": "Short text",
    "long_text": "Long text",
    "priority": "Priority",
    "url": "Link",
    "status": "Status",
    "event_at": "Time of the event",
    "each": "Split by",
}
_HELP: Final[Mapping[str, str]] = {
    "source_id": "Events with the same key belong to one alert.",
    "status": "The word that says whether to open, update, acknowledge or close.",
    "each": "One {{ expression }} that is a list: each element is an event of its own.",
}
_KEYS: Final = ("name", "when", "then", "stop")
EXAMPLE: Final = """[
  {
    "name": "Databases go to their own policy",
    "when": {"all": [
      {"path": "host", "op": "starts_with", "value": "db"},
      {"path": "environment", "op": "equals", "value": "test", "not": true}
    ]},
    "then": {"priority": "critical", "recipient_groups": [1], "note": "See the runbook of {{ payload.host }}"}
  },
  {"name": "Tests", "when": {"any": [{"path": "tags[*]", "op": "equals", "value": "test"}]},
   "then": {"action": "ignore"}}
]"""


class MappingForm(forms.Form):
    """Templates by field, status words by action, the preset, and the rules as JSON."""

    preset = forms.ChoiceField(label="Product", choices=())
    no_rule = forms.ChoiceField(label="If there are rules and none holds", choices=EventSettings.NoRule.choices)
    rules = forms.CharField(
        label="All rules as text",
        required=False,
        max_length=MAX_RULES_LENGTH,
        widget=forms.Textarea(attrs={"rows": 14, "spellcheck": "false", "class": "code", "data-takes": "path"}),
        help_text="A list in JSON, for what the fields above do not have.",
    )

    def __init__(self, data: Any, *, stored: EventSettings) -> None:
        super().__init__(data, label_suffix="")
        named = {name: preset.label for name, preset in presets().items()}
        others = {"auto": "Recognize it by itself", "none": "None: only the names of the fields"}
        self.fields["preset"].choices = [(name, others.get(name, named.get(name, name))) for name in PRESETS]  # type: ignore[attr-defined]
        for name in MAPPED:
            self.fields[_MAP + name] = forms.CharField(
                label=_LABELS[name],
                required=False,
                max_length=LENGTH_LIMIT,
                strip=True,
                widget=forms.Textarea(
                    attrs={"rows": 2, "spellcheck": "false", "class": "code", "data-takes": "template"}
                ),
                help_text=_HELP.get(name, ""),
            )
        for action in STATUS_ACTIONS:
            self.fields[_WORDS + action] = forms.CharField(
                label=f"Words that {action}",
                required=False,
                max_length=MAX_WORDS_LENGTH,
                widget=forms.TextInput(attrs={"spellcheck": "false"}),
            )
        self.initial.update(
            {
                "preset": stored.preset,
                "no_rule": stored.no_rule,
                "rules": _json(stored.rules),
                **{_MAP + name: template for name, template in stored.mapping.items()},
                **{_WORDS + action: ", ".join(words) for action, words in stored.status_words.items()},
            }
        )

    @property
    def mapped(self) -> list[tuple[str, forms.BoundField]]:
        """The fields of the mapping, by their names in the mapping."""
        return [(name, self[_MAP + name]) for name in MAPPED]

    @property
    def words(self) -> list[forms.BoundField]:
        """The fields of the status words."""
        return [self[_WORDS + action] for action in STATUS_ACTIONS]

    @property
    def has_words(self) -> bool:
        """Whether a status word is filled in."""
        return any(field.value() for field in self.words)

    def with_rules(self, rules: Sequence[Any], *, stored: EventSettings) -> "MappingForm":
        """Return the sent form with these rules instead of its own, checked."""
        form = MappingForm({**dict(self.data.items()), "rules": _json(rules)}, stored=stored)
        form.is_valid()
        return form

    def clean_rules(self) -> Any:
        """Return the rules. Raises ValidationError for what is not JSON."""
        text = self.cleaned_data["rules"].strip()
        if not text:
            return []
        try:
            decoded = decode(text.encode(errors="replace"), headers={"content-type": "application/json"}, query={})
        except TooLarge as error:
            raise forms.ValidationError("The rules are too long.") from error
        if decoded.fault:
            raise forms.ValidationError(f"The rules are not JSON: {decoded.fault}")
        return decoded.payload

    def settings(self) -> dict[str, Any]:
        """Return the settings as the service names them; what is empty or wrong is left out."""
        data = self.cleaned_data
        words = {action: _words(data.get(_WORDS + action, "")) for action in STATUS_ACTIONS}
        values: dict[str, Any] = {
            "mapping": {name: data[_MAP + name] for name in MAPPED if data.get(_MAP + name)},
            "status_words": {action: some for action, some in words.items() if some},
        }
        return values | {name: data[name] for name in ("preset", "no_rule", "rules") if name in data}

    def add_service_error(self, error: FieldError) -> str:
        """Show an error of the service at its field; return that field, "" for one that has none."""
        field = error.field.replace("mapping/", _MAP).replace("status_words/", _WORDS)
        name = field if field in self.fields else None
        self.add_error(name, str(error))
        return name or ""


def tried(
    integration: InboundIntegration, sample: ReceivedEvent, form: MappingForm | None
) -> tuple[dict[str, str], Mapped | None]:
    """Return what the settings of a form make of a sample, by field, and all of it; without a form, the stored ones.

    A field with an error is left out, and the error stands at it.
    """
    values = form.settings() if form is not None else {}
    while True:
        try:
            mapped = try_mapping(integration, sample, values)
        except FieldError as error:
            field = form.add_service_error(error) if form is not None else ""
            if not _leave_out(values, field):
                return {}, None
        else:
            return _results(mapped, own_priority=integration.priority), mapped


def _leave_out(values: dict[str, Any], field: str) -> bool:
    """Remove the value of a field of the form; return whether there was one."""
    for prefix, setting in ((_MAP, "mapping"), (_WORDS, "status_words")):
        if field.startswith(prefix):
            return values[setting].pop(field.removeprefix(prefix), None) is not None
    return values.pop(field, None) is not None


def _results(mapped: Mapped, *, own_priority: str | None) -> dict[str, str]:
    first = mapped.events[0]
    results = {name: str(getattr(first, name, "") or "") for name in MAPPED}
    results["status"] = f"It asks to {ASKS[first.action]}" if first.action != "ignore" else "It asks for nothing"
    results["priority"] = first.priority or own_priority or "as the policy says"
    results["event_at"] = f"{first.event_at:%Y-%m-%d %H:%M:%S} UTC" if first.event_at else ""
    results["each"] = "1 event" if len(mapped.events) == 1 else f"{len(mapped.events)} events; the first is shown"
    return {name: text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}…" for name, text in results.items()}


def _words(text: str) -> list[str]:
    return [word for part in text.split(",") if (word := part.strip())]


def _json(rules: Sequence[Any]) -> str:
    """Return rules as they are written, each with its keys in the order in which one reads; the database sorts them."""
    ordered = [
        {key: rule[key] for key in sorted(rule, key=_order)} if isinstance(rule, dict) else rule for rule in rules
    ]
    return json.dumps(ordered, indent=2, ensure_ascii=False) if ordered else ""


def _order(key: str) -> tuple[int, str]:
    return (_KEYS.index(key) if key in _KEYS else len(_KEYS), key)
