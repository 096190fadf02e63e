"""Create, change and delete bridges."""

from typing import Final

from django.db import transaction

from accounts.models.organizations import Organization
from accounts.services.saving import clean_name, unique
from alerting.models.bridges import Bridge
from heartbeat_project.kernel.errors import DomainError, FieldError

MAX_NAMES: Final = 10  # integrations that an error names; a bridge may have thousands


class BridgeInUse(DomainError):
    """The bridge cannot be deleted while integrations use it."""

    code = "in_use"
    title = "Still in use"


def create_bridge(
    organization: Organization, *, name: str, phone_number: str = "", access_code: str = "", meeting_url: str = ""
) -> Bridge:
    """Create a bridge with a phone number, a meeting URL, or both. Raises FieldError at the field that is wrong."""
    bridge = Bridge(
        organization=organization,
        name=name,
        phone_number=phone_number,
        access_code=access_code,
        meeting_url=meeting_url,
    )
    return _save(bridge)


def update_bridge(
    bridge: Bridge,
    *,
    name: str | None = None,
    phone_number: str | None = None,
    access_code: str | None = None,
    meeting_url: str | None = None,
) -> Bridge:
    """Change the fields of a bridge that are not None. Raises FieldError at the field that is wrong."""
    if name is not None:
        bridge.name = name
    if phone_number is not None:
        bridge.phone_number = phone_number
    if access_code is not None:
        bridge.access_code = access_code
    if meeting_url is not None:
        bridge.meeting_url = meeting_url
    return _save(bridge)


def delete_bridge(bridge: Bridge) -> None:
    """Delete a bridge that no integration uses; alerts keep a copy.

    Raises BridgeInUse, which names the integrations.
    """
    with transaction.atomic():
        # An integration that somebody is just now giving this bridge waits for the lock, and finds the bridge gone.
        if not Bridge.objects.select_for_update().filter(pk=bridge.pk).exists():
            return
        names = list(bridge.integrations.order_by("name").values_list("name", flat=True)[: MAX_NAMES + 1])
        if names:
            names_text = ", ".join(f"“{name}”" for name in names[:MAX_NAMES])
            more = " and others" if len(names) > MAX_NAMES else ""
            raise BridgeInUse(f"“{bridge}” is used by {names_text}{more}. Give these integrations another one first.")
        bridge.delete()


def _save(bridge: Bridge) -> Bridge:
    bridge.name = clean_name(bridge.name)
    if not bridge.phone_number and not bridge.meeting_url:
        raise FieldError("phone_number", "Enter a phone number or a meeting URL.", code="required")
    if bridge.meeting_url and not bridge.meeting_url.lower().startswith(("http://", "https://")):
        raise FieldError("meeting_url", "Enter a URL that starts with https:// or http://.")
    message = f"There is already a bridge named “{bridge.name}”."
    with unique("bridge_name_unique", field="name", message=message):
        bridge.save()
    return bridge
