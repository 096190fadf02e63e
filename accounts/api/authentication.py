"""API keys in requests: `Authorization: Bearer <key>` or `api-key: <key>`."""

from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from accounts.models import ApiKey, User
from accounts.services.api_keys import find_key, note_use
from heartbeat_project.kernel import clock


class ApiKeyAuthentication(BaseAuthentication):
    """The user whose key the request carries; a key that does not work is a 401, never an anonymous request."""

    def authenticate(self, request: Request) -> tuple[User, ApiKey] | None:
        """Return the key's user and the key, or None when the request carries no key."""
        presented = _presented(request)
        if presented is None:
            return None
        key = find_key(presented)
        if key is None:
            raise AuthenticationFailed("This API key is not valid. It may have been revoked.", code="invalid_key")
        note_use(key, now=clock.now())
        return key.user, key

    def authenticate_header(self, request: Request) -> str:  # noqa: ARG002 - DRF's protocol
        """Return the challenge that goes with a 401 (RFC 6750)."""
        return "Bearer"


def _presented(request: Request) -> str | None:
    """Return the key in either header; another scheme in `Authorization` is somebody else's business."""
    scheme, _, credentials = request.headers.get("Authorization", "").strip().partition(" ")
    if scheme.lower() == "bearer":
        return credentials.strip()
    return request.headers.get("api-key")


class ApiKeyScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]  # the library has no types
    """How the OpenAPI document says that either header will do."""

    target_class = ApiKeyAuthentication
    name = ["bearerKey", "apiKeyHeader"]

    def get_security_requirement(self, auto_schema: Any) -> list[dict[str, list[str]]]:  # noqa: ARG002
        """Return the schemes as alternatives."""
        return [{name: []} for name in self.name]

    def get_security_definition(self, auto_schema: Any) -> list[dict[str, str]]:  # noqa: ARG002
        """Return both schemes, in the order of `name`."""
        return [
            {"type": "http", "scheme": "bearer", "description": "An API key."},
            {"type": "apiKey", "in": "header", "name": "api-key", "description": "The same key in its own header."},
        ]
