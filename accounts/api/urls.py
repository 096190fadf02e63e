"""Where this app's resources answer, below /api/v1/."""

from rest_framework.routers import BaseRouter

from accounts.api.resources.api_keys import ApiKeyViewSet
from accounts.api.resources.contact_methods import ContactMethodViewSet
from accounts.api.resources.group_contacts import PREFIX, GroupContactViewSet
from accounts.api.resources.organizations import OrganizationSettingsViewSet
from accounts.api.resources.roles import RoleViewSet


def register(router: BaseRouter) -> None:
    """Add this app's resources; groups and users are added by escalation, with who is on call."""
    router.register("organizations", OrganizationSettingsViewSet, basename="organization")
    router.register("contact-methods", ContactMethodViewSet, basename="contact-method")
    router.register(PREFIX, GroupContactViewSet, basename="group-contact")
    router.register("roles", RoleViewSet, basename="role")
    router.register("api-keys", ApiKeyViewSet, basename="api-key")
