"""Create organizations and change their settings."""

from datetime import datetime

from django.db import transaction

from accounts.entitlements import BUILTIN_ENTITLEMENTS, BuiltinRole
from accounts.models.organizations import MAX_BUNDLE_SECONDS, Organization
from accounts.models.users import Role
from accounts.services.saving import clean_name, clean_time_zone
from heartbeat_project.kernel.errors import FieldError


def create_organization(*, name: str, now: datetime) -> Organization:
    """Create an organization with the seven built-in roles.

    It has no escalation policies yet; `escalation.policies.shipped_policies.found_organization` creates them, too.
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
    """Change the settings that are not None: name, time zone of new users, seconds for which alerts are bundled.

    Raises FieldError at the field that is wrong.
    """
    if name is not None:
        organization.name = clean_name(name)
    if time_zone is not None:
        organization.time_zone = clean_time_zone(time_zone)
    if bundle_seconds is not None:
        if not 0 <= bundle_seconds <= MAX_BUNDLE_SECONDS:
            raise FieldError("bundle_seconds", f"Enter a number from 0 to {MAX_BUNDLE_SECONDS}.", code="range")
        organization.bundle_seconds = bundle_seconds
    organization.save(update_fields=["name", "time_zone", "bundle_seconds"])
    return organization
