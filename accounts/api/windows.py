"""Weekly windows in the API, of contact methods and of shifts."""

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from heartbeat_project.kernel.api import BoundedList, CleanCharField, Strict, WholeNumberField
from heartbeat_project.kernel.weekly import DAYS, MAX_DAYS_LATER, NotAWindow, WeeklyWindow

_CLOCK = "([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9])?"


@extend_schema_field({"type": "string", "pattern": f"^{_CLOCK}$", "example": "08:00"})
class _StartField(CleanCharField):
    """A time of day without a zone, which JSON Schema's format `time` would require."""


@extend_schema_field({"type": "string", "pattern": f"^({_CLOCK}|24:00)$", "example": "24:00"})
class _EndField(CleanCharField):
    """A time of day without a zone, or 24:00 for the end of the day."""


class WindowSerializer(Strict):
    """A time window on some weekdays."""

    days = BoundedList(
        child=serializers.ChoiceField(choices=DAYS),
        min_length=1,
        max_length=7,
        help_text="The days on which it begins.",
    )
    starts = _StartField()
    ends = _EndField(
        help_text="The end, not included; 24:00 is the end of the day. If it is not after the start, it is on the "
        "next day."
    )
    days_later = WholeNumberField(
        min_value=0,
        max_value=MAX_DAYS_LATER,
        required=False,
        help_text="How many days after its first day it ends: 0 the same day, 1 the next, 3 from a Friday to a Monday.",
    )

    def to_internal_value(self, data: Any) -> Any:
        """Return the window in its stored form. Raises ValidationError at the field that is wrong."""
        fields = super().to_internal_value(data)
        try:
            return WeeklyWindow.load(fields).dump()
        except NotAWindow as error:
            raise serializers.ValidationError({error.field: [str(error)]}) from error

    def to_representation(self, instance: Any) -> dict[str, Any]:
        """Return the stored window."""
        return dict(instance)
