"""Organizations."""

from datetime import datetime

from django.db import transaction

from accounts.entitlements import BUILTIN_ENTITLEMENTS, BuiltinRole
from accounts.models import MOST_BUNDLE_SECONDS, Organization, Role
from accounts.services.saving import clean_name, clean_time_zone
from heartbeat_project.kernel.errors import FieldError


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


def update_organization(
    organization: Organization,
    *,
    name: str | None = None,
    time_zone: str | None = None,
    bundle_seconds: int | None = None,
) -> Organization:
    """Change what is given: the name, the time zone that new people start with, for how long alerts are collected.

    Raises FieldError at the field that cannot be.
    """
    if name is not None:
        organization.name = clean_name(name)
    if time_zone is not None:
        organization.time_zone = clean_time_zone(time_zone)
    if bundle_seconds is not None:
        if not 0 <= bundle_seconds <= MOST_BUNDLE_SECONDS:
            raise FieldError("bundle_seconds", f"Enter 0 to {MOST_BUNDLE_SECONDS} seconds.", code="range")
        organization.bundle_seconds = bundle_seconds
    organization.save(update_fields=["name", "time_zone", "bundle_seconds"])
    return organization
