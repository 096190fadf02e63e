"""Django's permission framework answers from entitlements."""

from typing import Any

from django.contrib.auth.backends import ModelBackend

from accounts.models import User
from accounts.permissions import entitlements_of


class EntitlementBackend(ModelBackend):
    """Sign in by e-mail and password; `accounts.<code>` is held through roles."""

    def authenticate(self, request: Any, username: str | None = None, password: str | None = None, **more: Any) -> Any:
        """Return the active user, or None; the e-mail's case does not matter."""
        email = username if username is not None else more.get("email")
        return super().authenticate(request, username=email.lower() if email else None, password=password)

    def has_perm(self, user_obj: Any, perm: str, obj: Any = None) -> bool:  # noqa: ARG002 - Django's protocol
        """Answer for one entitlement code; other permission names are held by nobody."""
        if not isinstance(user_obj, User) or not user_obj.is_active:
            return False
        return perm.removeprefix("accounts.") in entitlements_of(user_obj)

    def get_user(self, user_id: int) -> Any:
        """Return the user with their roles, which nearly every request asks about."""
        user = User.objects.select_related("organization").prefetch_related("roles").filter(pk=user_id).first()
        return user if user and self.user_can_authenticate(user) else None
