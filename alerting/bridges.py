"""Create and change bridges."""

from typing import Any

from accounts.models import Organization
from accounts.services.saving import clean_name, unique
from alerting.models import Bridge
from heartbeat_project.kernel.errors import FieldError


def create_bridge(organization: Organization, *, name: str, **fields: Any) -> Bridge:
    """Create a bridge.

    Raises FieldError at the field that is wrong.
    """
    return _save(Bridge(organization=organization, name=name, **fields))


def update_bridge(bridge: Bridge, **changed: Any) -> Bridge:
    """Change some fields of a bridge.

    Raises FieldError at the field that is wrong.
    """
    for field, value in changed.items():
        setattr(bridge, field, value)
    return _save(bridge)


def _save(bridge: Bridge) -> Bridge:
    bridge.name = clean_name(bridge.name)
    if not bridge.phone_number and not bridge.meeting_url:
        raise FieldError("phone_number", "Give a phone number or a meeting URL.", code="required")
    if bridge.meeting_url and not bridge.meeting_url.lower().startswith(("http://", "https://")):
        raise FieldError("meeting_url", "The meeting URL starts with https:// or http://.")
    message = f"There is already a bridge named “{bridge.name}”."
    with unique("bridge_name_unique", field="name", message=message):
        bridge.save()
    return bridge
