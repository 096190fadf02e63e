"""Ask for entitlements before a view of the management API runs."""

from typing import Any

from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request

from accounts.entitlements import Entitlement
from accounts.permissions import may

Needed = Entitlement | tuple[Entitlement, ...] | None


def entitled(*, read: Needed = None, write: Needed = None) -> type[BasePermission]:
    """Return a permission class: `read` is needed for GET, HEAD and OPTIONS, `write` for every other method.

    A tuple means any one of its entitlements, None means any user who is signed in. A missing entitlement is a 403;
    nobody signed in is a 401.
    """

    class Entitled(BasePermission):
        message = "Your roles do not permit this."
        code = "forbidden"

        def has_permission(self, request: Request, view: Any) -> bool:  # noqa: ARG002 - DRF's protocol
            return holds(request.user, read if request.method in SAFE_METHODS else write)

    return Entitled


def holds(user: object, needed: Needed) -> bool:
    """Answer whether `user` is signed in, active, and holds what is needed (a tuple: any one of them)."""
    if not getattr(user, "is_authenticated", False) or not getattr(user, "is_active", False):
        return False
    if needed is None:
        return True
    return any(may(user, entitlement) for entitlement in (needed if isinstance(needed, tuple) else (needed,)))
