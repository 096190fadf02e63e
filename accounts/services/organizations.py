"""Organizations."""

from datetime import datetime

from django.db import transaction

from accounts.entitlements import BUILTIN_ENTITLEMENTS, BuiltinRole
from accounts.models import Organization, Role
from accounts.services.saving import clean_name


def create_organization(*, name: str, now: datetime) -> Organization:
    """Create an organization with the seven built-in roles.

    It has no escalation policies yet: `escalation.services.policies.found_organization` gives it those too.
    """
    with transaction.atomic():
        organization = Organization.objects.create(name=clean_name(name), created_at=now)
        Role.objects.bulk_create(
            Role(
                organization=organization,
                name=role.value,
                builtin=role.value,
                entitlements=sorted(code.value for code in BUILTIN_ENTITLEMENTS[role]),
            )
            for role in BuiltinRole
        )
    return organization
