"""Authentication by API key: `Authorization: Bearer <key>` or `api-key: <key>`."""

from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from accounts.models.access import ApiKey
from accounts.models.users import User
from accounts.request_queue import take_turn
from accounts.services.api_keys import find_key, note_use
from heartbeat_project.kernel import clock


class ApiKeyAuthentication(BaseAuthentication):
    """Authenticate the user of the request's API key; a key that does not work is a 401, not an anonymous request."""

    def authenticate(self, request: Request) -> tuple[User, ApiKey] | None:
        """Return the key's user and the key, or None if the request has no key."""
        secret = _key_of(request)
        if secret is None:
            return None
        key = find_key(secret)
        if key is None:
            raise AuthenticationFailed("This API key is not valid. It may have been revoked.", code="invalid_key")
        take_turn(request.META, key.user.organization_id)
        note_use(key, now=clock.now())
        return key.user, key

    def authenticate_header(self, request: Request) -> str:  # noqa: ARG002 - DRF's protocol
        """Return the challenge that goes with a 401 (RFC 6750)."""
        return "Bearer"


def _key_of(request: Request) -> str | None:
    """Return the key in either header; other schemes of `Authorization` are ignored."""
    scheme, _, credentials = request.headers.get("Authorization", "").strip().partition(" ")
    if scheme.lower() == "bearer":
        return credentials.strip()
    return request.headers.get("api-key")


class ApiKeyScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]  # the library has no types
    """Describe in the OpenAPI document that either header is accepted."""

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
