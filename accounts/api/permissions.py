"""Permission classes of the management API, made from entitlements."""

from typing import Any

from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request

from accounts.entitlements import Entitlement
from accounts.permissions import may

Needed = Entitlement | tuple[Entitlement, ...] | None


def entitled(*, read: Needed = None, write: Needed = None) -> type[BasePermission]:
    """Return a permission class that requires `read` for GET, HEAD and OPTIONS, and `write` for every other method.

    A tuple means any one of its entitlements, None means any signed-in user. A missing entitlement is a 403, a request
    without a user a 401.
    """

    class Entitled(BasePermission):
        message = "Your roles do not permit this."
        code = "forbidden"

        def has_permission(self, request: Request, view: Any) -> bool:  # noqa: ARG002 - DRF's protocol
            return holds(request.user, read if request.method in SAFE_METHODS else write)

    return Entitled


def holds(user: object, needed: Needed) -> bool:
    """Return whether `user` is signed in, active, and holds an entitlement of `needed`; see `entitled`."""
    if not getattr(user, "is_authenticated", False) or not getattr(user, "is_active", False):
        return False
    if needed is None:
        return True
    entitlements = needed if isinstance(needed, tuple) else (needed,)
    return any(may(user, entitlement) for entitlement in entitlements)
