"""Serializers that answer null for the fields that the user may not see."""

from typing import Any, ClassVar


class HidesFields:
    """A mixin before the serializer: unless `shows_all`, every field except those `for_everybody` is null.

    The same resource must not filter, search or order by a hidden field: the result would reveal its value.
    """

    for_everybody: ClassVar[frozenset[str]]

    def shows_all(self, instance: Any) -> bool:
        """Return whether the user of the request may see all fields of the instance."""
        raise NotImplementedError

    def to_representation(self, instance: Any) -> dict[str, Any]:
        """Return the fields; hidden ones are null."""
        fields: dict[str, Any] = super().to_representation(instance)  # type: ignore[misc]
        if self.shows_all(instance):
            return fields
        return {name: value if name in self.for_everybody else None for name, value in fields.items()}

    def writable_values(self, instance: Any) -> dict[str, Any]:
        """Return the values on which the ETag depends; without hidden ones, so that it does not show their changes."""
        values: dict[str, Any] = super().writable_values(instance)  # type: ignore[misc]
        if self.shows_all(instance):
            return values
        return {name: value for name, value in values.items() if name in self.for_everybody}
