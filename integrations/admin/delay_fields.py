"""The three fields of a delay in the forms of integrations and of rules: mode, minutes and number of events."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

from django import forms

from integrations.configuration.edits import MAX_MINUTES
from integrations.inbound.delays import MAX_COUNT

NO_DELAY: Final = "none"
DELAYS: Final = (
    (NO_DELAY, "At once"),
    ("minutes", "If no close comes for some minutes"),
    ("count", "At the n-th event of the same problem"),
    ("count_within", "At the n-th event within some minutes"),
)
_WITH_MINUTES: Final = ("minutes", "count_within")
_WITH_COUNT: Final = ("count", "count_within")


def minutes_field(label: str, help_text: str, **options: Any) -> forms.DecimalField:
    """Return a field for minutes with one decimal place."""
    return forms.DecimalField(
        label=label,
        min_value=Decimal(0),
        max_value=MAX_MINUTES,
        max_digits=6,
        decimal_places=1,
        required=False,
        widget=forms.NumberInput(attrs={"step": "0.1", "inputmode": "decimal"}),
        help_text=help_text,
        **options,
    )


def count_field() -> forms.IntegerField:
    """Return the field for the number of events."""
    return forms.IntegerField(
        label="Delay (number of events)",
        min_value=1,
        max_value=MAX_COUNT,
        required=False,
        help_text="For the delays that count events.",
    )


def add_delay_errors(form: forms.BaseForm) -> None:
    """Refuse a delay without the minutes or the number of events that its mode needs."""
    values = form.cleaned_data
    mode = values.get("delay_mode")
    if mode in _WITH_MINUTES and not (values.get("delay_minutes") or form.has_error("delay_minutes")):
        form.add_error("delay_minutes", "Enter the minutes of the delay.")
    if mode in _WITH_COUNT and not (values.get("delay_count") or form.has_error("delay_count")):
        form.add_error("delay_count", "Enter the number of events.")


def delay_of(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the delay of cleaned values as the service takes it: with what its mode needs and nothing else."""
    mode = values["delay_mode"] or NO_DELAY
    delay: dict[str, Any] = {"mode": mode}
    if mode in _WITH_MINUTES:
        length = values["delay_minutes"]
        delay["minutes"] = int(length) if length == int(length) else float(length)
    if mode in _WITH_COUNT:
        delay["count"] = values["delay_count"]
    return delay
