"""Adds to the OpenAPI document what drf-spectacular cannot infer: filters, ETags, warnings and hidden fields."""

from typing import Any, Final, Literal

from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import OpenApiParameter

from heartbeat_project.kernel.hidden_fields import HidesFields

WARNINGS: Final = {
    "type": "object",
    "properties": {
        "warnings": {
            "type": "array",
            "description": "Consequences of the change, such as heartbeats that would reach nobody within 14 days.",
            "items": {
                "type": "object",
                "properties": {"code": {"type": "string"}, "detail": {"type": "string"}},
                "required": ["code", "detail"],
            },
        }
    },
    "required": ["warnings"],
}
_CHANGES: Final = {"create", "update", "partial_update"}
_ETAG: Final = OpenApiParameter(
    "ETag",
    str,
    OpenApiParameter.HEADER,
    description="Changes with the fields that can be set, not with what happens by itself.",
    response=[200, 201],
)
_IF_MATCH: Final = OpenApiParameter(
    "If-Match",
    str,
    OpenApiParameter.HEADER,
    description="The ETag that was read. If the object has another one now, nothing is done and the answer is 412.",
)
_CONFLICT: Final = {"description": "If-Match is not the present ETag of the object; nothing was done."}


class Schema(AutoSchema):
    """Document what our base classes add: filters, ETags, the warnings of views that give them, and hidden fields."""

    def get_override_parameters(self) -> list[Any]:
        """Return the filters of a list, If-Match of a change, and the ETag of responses."""
        parameters: list[Any] = super().get_override_parameters()
        action = getattr(self.view, "action", "")
        filters = getattr(self.view, "filters", None) if action == "list" else None
        if filters is not None and filters().fields:
            parameters.append(filters)
        if self._is_guarded():
            parameters.append(_IF_MATCH)
        if hasattr(self.view, "shows_etag") and self.view.shows_etag():
            parameters.append(_ETAG)
        return parameters

    def _is_guarded(self) -> bool:
        """Answer whether the operation changes an object that has an ETag."""
        view: Any = self.view
        if self.method == "GET" or not hasattr(view, "etag_actions"):
            return False
        return bool(view.detail or view.action in view.etag_actions)

    def _map_basic_serializer(self, serializer: Any, direction: Literal["request", "response"]) -> dict[str, Any]:
        mapped: dict[str, Any] = super()._map_basic_serializer(serializer, direction)  # type: ignore[no-untyped-call]  # of the library
        if direction == "response" and isinstance(serializer, HidesFields):
            mapped["properties"] = {
                name: field if name in serializer.for_everybody else _or_null(field)
                for name, field in mapped["properties"].items()
            }
        return mapped

    def _get_response_bodies(self, direction: Literal["request", "response"] = "response") -> dict[str, Any]:
        bodies: dict[str, Any] = super()._get_response_bodies(direction)
        if self._is_guarded():
            bodies = {**bodies, "412": _CONFLICT}
        action = getattr(self.view, "action", "")
        if action in getattr(self.view, "may_warn", ()):
            _add_to_schemas(bodies, {key: value for key, value in WARNINGS.items() if key != "required"})
        if not getattr(self.view, "warns", False):
            return bodies
        if action in _CHANGES:
            _add_to_schemas(bodies, WARNINGS)
        elif action == "destroy":
            content = {"application/json": {"schema": WARNINGS}}
            bodies = {"200": {"content": content, "description": "Deleted, with warnings."}, **bodies}
        return bodies


def _add_to_schemas(bodies: dict[str, Any], schema: dict[str, Any]) -> None:
    for body in bodies.values():
        for media in body.get("content", {}).values():
            media["schema"] = {"allOf": [media["schema"], schema]}


def _or_null(field: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a field, or null."""
    if "$ref" in field or "allOf" in field or "oneOf" in field:
        return {"nullable": True, "oneOf": [field, {"enum": [None]}]}
    return {**field, "nullable": True}
