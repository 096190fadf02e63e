"""The paths of this app's resources below /api/v1/."""

from rest_framework.routers import BaseRouter

from accounts.api.api_keys import ApiKeyViewSet
from accounts.api.audit_log import AuditLogViewSet
from accounts.api.contact_methods import ContactMethodViewSet
from accounts.api.group_contacts import PREFIX, GroupContactViewSet
from accounts.api.organizations import OrganizationSettingsViewSet
from accounts.api.roles import RoleViewSet


def register(router: BaseRouter) -> None:
    """Register this app's resources except `groups/` and `users/`.

    `heartbeat_project.api` registers those two, because it adds on-call data to them.
    """
    router.register("organizations", OrganizationSettingsViewSet, basename="organization")
    router.register("contact-methods", ContactMethodViewSet, basename="contact-method")
    router.register(PREFIX, GroupContactViewSet, basename="group-contact")
    router.register("roles", RoleViewSet, basename="role")
    router.register("api-keys", ApiKeyViewSet, basename="api-key")
    router.register("audit-log", AuditLogViewSet, basename="audit-log")
