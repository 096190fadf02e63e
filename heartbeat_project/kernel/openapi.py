"""What the OpenAPI document says beyond what drf-spectacular sees by itself."""

from typing import Any, Final, Literal

from drf_spectacular.openapi import AutoSchema

WARNINGS: Final = {
    "type": "object",
    "properties": {
        "warnings": {
            "type": "array",
            "description": "What the change brings: heartbeats that would reach nobody, now or in the 14 days after.",
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


class Schema(AutoSchema):
    """Document the warnings in the answers of resources that give them."""

    def _get_response_bodies(self, direction: Literal["request", "response"] = "response") -> dict[str, Any]:
        bodies: dict[str, Any] = super()._get_response_bodies(direction)
        if not getattr(self.view, "warns", False):
            return bodies
        action = getattr(self.view, "action", "")
        if action in _CHANGES:
            for body in bodies.values():
                for media in body.get("content", {}).values():
                    media["schema"] = {"allOf": [media["schema"], WARNINGS]}
        elif action == "destroy":
            content = {"application/json": {"schema": WARNINGS}}
            bodies = {"200": {"content": content, "description": "Deleted, with warnings."}, **bodies}
        return bodies
