"""Authentication backend: sign-in by e-mail, and Django permissions that are answered from entitlements."""

from typing import Any

from django.contrib.auth.backends import ModelBackend

from accounts.held_entitlements import entitlements_of
from accounts.models.users import User


class EntitlementBackend(ModelBackend):
    """Sign users in by e-mail and password; answer the permission `accounts.<code>` from their roles."""

    def authenticate(
        self, request: Any, username: str | None = None, password: str | None = None, **credentials: Any
    ) -> Any:
        """Return the active user, or None. The case of the e-mail does not matter."""
        email = username if username is not None else credentials.get("email")
        return super().authenticate(request, username=email.lower() if email else None, password=password)

    def has_perm(self, user_obj: Any, perm: str, obj: Any = None) -> bool:  # noqa: ARG002 - Django's protocol
        """Return whether the user holds the entitlement `accounts.<code>`; nobody holds any other permission."""
        if not isinstance(user_obj, User) or not user_obj.is_active:
            return False
        return perm.removeprefix("accounts.") in entitlements_of(user_obj)

    def get_user(self, user_id: int) -> Any:
        """Return the user with their organization and roles, which nearly every request reads."""
        user = User.objects.select_related("organization").prefetch_related("roles").filter(pk=user_id).first()
        return user if user and self.user_can_authenticate(user) else None
