"""Create and change API, Email and Chat integrations, which turn the events of other products into alerts."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, Final, TypedDict, Unpack

from django.db import transaction

from accounts.models.groups import Group
from accounts.models.organizations import Organization
from accounts.models.users import User
from alerting.models.bridges import Bridge
from escalation.models.policies import EscalationPolicy, ResponsePlay
from heartbeat_project.kernel.errors import FieldError
from integrations.configuration.edits import (
    COMMON,
    check_common,
    close_live,
    follow_route,
    lock,
    new_recipients,
    read_recipients,
    save_named,
    save_recipients,
)
from integrations.inbound.chat_checks import CHAT_SETTINGS, set_chat_settings
from integrations.inbound.mail_checks import check_free, plain_addresses
from integrations.inbound.settings_checks import check_settings, with_stored_secret
from integrations.models.chat import ChatSettings
from integrations.models.events import EventKey, EventSettings, EventState
from integrations.models.integrations import InboundIntegration

# The types whose integrations can be created now.
ADDABLE: Final = (InboundIntegration.Type.API, InboundIntegration.Type.EMAIL, InboundIntegration.Type.CHAT)
SETTINGS: Final = (
    "allow_get",
    "preset",
    "mapping",
    "status_words",
    "rules",
    "no_rule",
    "delay",
    "group_minutes",
    "auto_close_minutes",
    "storm_per_minute",
    "signature",
    "aliases",
    "sequence",
    "every_mail_opens",
    "allowed_senders",
    "require_authenticated",
    "extract",
)


class ChatSettingsChanges(TypedDict, total=False):
    """The settings of `ChatSettings`; those that are left out stay as they are."""

    platform: str
    secrets: Mapping[str, str | None]
    api_base: str
    channels: list[str]
    command: str
    open_from: list[str]
    updates: str
    who_may_open: str


class EventSettingsChanges(ChatSettingsChanges, total=False):
    """The settings of `EventSettings` and `ChatSettings`; those that are left out stay as they are."""

    allow_get: bool
    preset: str
    mapping: Mapping[str, str]
    status_words: Mapping[str, list[str]]
    rules: list[Mapping[str, Any]]
    no_rule: str
    delay: Mapping[str, Any]
    group_minutes: Decimal | float
    auto_close_minutes: Decimal | float
    storm_per_minute: int
    signature: Mapping[str, Any] | None
    aliases: list[str]
    sequence: int
    every_mail_opens: bool
    allowed_senders: list[str]
    require_authenticated: bool
    extract: Mapping[str, Mapping[str, str]]


class EventIntegrationChanges(EventSettingsChanges, total=False):
    """The fields that `update_event_integration` changes; those that are left out stay as they are."""

    name: str
    escalation_policy: EscalationPolicy | None
    response_play: ResponsePlay | None
    recipient_groups: Iterable[Group]
    recipient_users: Iterable[User]
    bridge: Bridge | None
    enabled: bool
    tags: Iterable[str]
    description: str
    priority: str | None


def create_event_integration(
    organization: Organization,
    *,
    type: str,  # noqa: A002 - the name of the field
    now: datetime,
    name: str,
    escalation_policy: EscalationPolicy | None = None,
    response_play: ResponsePlay | None = None,
    recipient_groups: Iterable[Group] = (),
    recipient_users: Iterable[User] = (),
    bridge: Bridge | None = None,
    enabled: bool = True,
    tags: Iterable[str] = (),
    description: str = "",
    priority: str | None = None,
    **settings: Unpack[EventSettingsChanges],
) -> InboundIntegration:
    """Create an integration of another type than heartbeat; what is left out has the defaults of `EventSettings`.

    Raises FieldError with the field that is wrong; then nothing is saved.
    """
    check_addable(type)
    integration = InboundIntegration(
        organization=organization,
        type=type,
        name=name,
        escalation_policy=escalation_policy,
        response_play=response_play,
        bridge=bridge,
        enabled=enabled,
        tags=list(tags),
        description=description,
        priority=priority,
        created_at=now,
    )
    recipients = read_recipients({"recipient_groups": recipient_groups, "recipient_users": recipient_users})
    check_common(integration, recipients)
    event_settings = EventSettings(integration=integration)
    set_settings(event_settings, settings, organization_id=organization.pk)
    chat = ChatSettings(integration=integration) if type == InboundIntegration.Type.CHAT else None
    if chat is not None:
        set_chat_settings(chat, settings)
    with transaction.atomic():
        check_free(event_settings.aliases, organization_id=organization.pk)
        save_named(integration)
        event_settings.integration = integration
        event_settings.save(force_insert=True)
        integration.event_settings = event_settings
        if chat is not None:
            chat.integration = integration
            chat.save(force_insert=True)
            integration.chat_settings = chat
        integration.event_state = EventState.objects.create(integration=integration)
        save_recipients(integration, recipients)
    return integration


def update_event_integration(
    integration: InboundIntegration,
    *,
    actor: User | None,
    now: datetime,
    **changes: Unpack[EventIntegrationChanges],
) -> InboundIntegration:
    """Change the fields that are passed, and forget the fault of the newest event.

    A signature without a secret keeps the stored one. Disabling closes the open alerts and drops what waits. Raises
    FieldError with the field that is wrong, IntegrationGone after a deletion; then nothing is saved.
    """
    with transaction.atomic():
        integration = lock(integration)
        event_settings = EventSettings.objects.get(pk=integration.pk)
        before = {field: getattr(integration, field) for field in COMMON}
        values: dict[str, Any] = dict(changes)
        recipients = read_recipients(values)
        changed_recipients = new_recipients(integration, recipients)
        for field in values.keys() & {*COMMON}:
            setattr(integration, field, values[field])
        check_common(integration, recipients)
        set_settings(event_settings, values, organization_id=integration.organization_id)
        if "aliases" in values:
            check_free(event_settings.aliases, organization_id=integration.organization_id)
        save_named(integration)
        event_settings.save(update_fields=SETTINGS)
        if integration.type == InboundIntegration.Type.CHAT:
            integration.chat_settings = _changed_chat(integration, values)
        save_recipients(integration, recipients)
        follow_route(integration, before, changed_recipients, actor=actor, now=now)
        if before["enabled"] and not integration.enabled:
            close_live(integration, "disabled", actor=actor, now=now)
            EventKey.objects.filter(integration=integration, waiting__isnull=False).update(
                waiting=None, waiting_since=[], due_at=None, changed_at=now
            )
        EventState.objects.filter(pk=integration.pk).update(fault=None)
    integration.event_settings = event_settings
    integration.event_state = EventState.objects.get(pk=integration.pk)
    return integration


def _changed_chat(integration: InboundIntegration, values: Mapping[str, Any]) -> ChatSettings:
    """Save the changes of a Chat integration's own settings. Raises FieldError."""
    chat = ChatSettings.objects.get(pk=integration.pk)
    if values.keys() & {*CHAT_SETTINGS}:
        set_chat_settings(chat, values)
        chat.save(update_fields=CHAT_SETTINGS)
    return chat


def check_addable(type: str) -> None:  # noqa: A002 - the name of the field
    """Raise FieldError if integrations of this type cannot be created now."""
    if type not in ADDABLE:
        raise FieldError("type", "Integrations of this type cannot be added yet.", code="unsupported_type")


def set_settings(event_settings: EventSettings, values: Mapping[str, Any], *, organization_id: int) -> None:
    """Set the settings that are among the values, and check those that change. Nothing is saved. Raises FieldError.

    What stays as it is may name somebody who was deactivated since. A signature without a secret gets the stored one.
    """
    changed = []
    for field in SETTINGS:
        if field not in values:
            continue
        value = values[field]
        if field == "signature":
            value = with_stored_secret(value, event_settings.signature)
        elif field in {"aliases", "allowed_senders"}:
            value = plain_addresses(value)
        elif field.endswith("_minutes"):
            value = Decimal(str(value))
        if value != getattr(event_settings, field):
            setattr(event_settings, field, value)
            changed.append(field)
    check_settings(event_settings, changed, organization_id=organization_id)
