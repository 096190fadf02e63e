"""The Django admin as integration and app admins see it."""

from django.contrib import admin
from django.http import HttpRequest


class HeartbeatAdminSite(admin.AdminSite):
    """Configuration pages, open to whoever holds an entitlement for one of them."""

    site_header = "Heartbeat"
    site_title = "Heartbeat"
    index_title = "Configuration"

    def has_permission(self, request: HttpRequest) -> bool:
        """Let in active users who may see at least one page."""
        user = request.user
        return bool(user.is_active and getattr(user, "is_staff", False))
