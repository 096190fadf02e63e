"""The fields of integrations: those of all types, of heartbeats, and of those that turn events into alerts."""

import operator
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, ClassVar, Final

from django.utils.translation import gettext_lazy
from drf_spectacular.utils import PolymorphicProxySerializer, extend_schema_field
from rest_framework import serializers

from accounts.models.contact_methods import Priority
from accounts.models.groups import Group
from accounts.models.users import User
from alerting.models.bridges import Bridge
from escalation.models.policies import EscalationPolicy, ResponsePlay
from heartbeat_project.kernel.api import (
    BoundedList,
    CleanCharField,
    MinutesField,
    OwnedRelatedField,
    Strict,
    WholeNumberField,
)
from heartbeat_project.kernel.hidden_fields import HidesFields
from integrations.heartbeats.selectors import may_configure
from integrations.inbound.chat.manifest import slack_manifest
from integrations.inbound.chat_checks import MAX_BASE, MAX_CHANNELS, ORIGINS
from integrations.inbound.mail_checks import MAX_SEQUENCE
from integrations.inbound.selectors import api_url, email_address, request_url, state_of
from integrations.inbound.settings_checks import MAX_STORM, PRESETS
from integrations.models.chat import ChatSettings
from integrations.models.events import EventSettings
from integrations.models.heartbeats import Heartbeat
from integrations.models.integrations import InboundIntegration
from integrations.models.labels import MAX_DESCRIPTION, MAX_TAG, MAX_TAGS

_Type = InboundIntegration.Type
EVENT_TYPES: Final = [(_Type.API.value, _Type.API.label)]
CHAT_TYPES: Final = [(_Type.CHAT.value, _Type.CHAT.label)]
EMAIL_TYPES: Final = [(_Type.EMAIL.value, _Type.EMAIL.label)]
# Either grows whenever something else changes by itself.
_COUNTS: Final = ("event_count", "rejected_count")
# The shapes of settings that are JSON, for the OpenAPI document; the service checks their values.
_OBJECT: Final = {"type": "object", "additionalProperties": {}}
_MAPPING: Final = {"type": "object", "additionalProperties": {"type": "string"}}
_WORDS: Final = {"type": "object", "additionalProperties": {"type": "array", "items": {"type": "string"}}}
_RULES: Final = {"type": "array", "items": _OBJECT, "maxItems": 100}
_DELAY: Final = {
    "type": "object",
    "properties": {
        "mode": {"type": "string", "enum": ["none", "minutes", "count", "count_within"]},
        "minutes": {"type": "number", "nullable": True},
        "count": {"type": "integer", "nullable": True},
    },
    "required": ["mode"],
}
_SIGNATURE: Final = {
    "type": "object",
    "nullable": True,
    "properties": {
        "scheme": {"type": "string"},
        "header": {"type": "string", "nullable": True},
        "secret": {"type": "string", "nullable": True},
    },
    "required": ["scheme"],
}
_EXTRACT: Final = {
    "type": "object",
    "additionalProperties": {
        "type": "object",
        "properties": {name: {"type": "string"} for name in ("from", "start", "end", "regex")},
        "required": ["from"],
    },
}
_FAULT: Final = {
    "type": "object",
    "nullable": True,
    "properties": {
        "at": {"type": "string", "format": "date-time"},
        "event": {"type": "integer"},
        "field": {"type": "string"},
        "text": {"type": "string"},
    },
}


class TagsField(BoundedList):
    """A list of tags."""

    def __init__(self, **options: Any) -> None:
        super().__init__(max_length=MAX_TAGS, child=CleanCharField(max_length=MAX_TAG), **options)


class IntegrationFields(HidesFields, Strict):
    """The fields that integrations of all types have.

    Users who may not manage integrations get null for all but id, type, name and state.
    """

    for_everybody = frozenset({"id", "type", "name", "state"})
    # The attribute of an integration with the settings of its type.
    own: ClassVar[str]

    id = serializers.IntegerField(read_only=True)
    name = CleanCharField(max_length=200)
    escalation_policy = OwnedRelatedField(queryset=EscalationPolicy.objects.all(), allow_null=True, required=False)
    response_play = OwnedRelatedField(queryset=ResponsePlay.objects.all(), allow_null=True, required=False)
    recipient_groups = OwnedRelatedField(queryset=Group.objects.all(), many=True, required=False)
    recipient_users = OwnedRelatedField(queryset=User.objects.all(), many=True, required=False)
    bridge = OwnedRelatedField(queryset=Bridge.objects.all(), allow_null=True, required=False)
    tags = TagsField(
        required=False,
        help_text=f"name or name:value, stored in lower case: at most {MAX_TAGS} of {MAX_TAG} characters.",
    )
    description = CleanCharField(required=False, allow_blank=True, max_length=MAX_DESCRIPTION)
    priority = serializers.ChoiceField(
        choices=Priority.choices,
        required=False,
        allow_null=True,
        help_text="Of its alerts, unless their event or a rule says another; null: that of the policy or play.",
    )
    enabled = serializers.BooleanField(
        required=False,
        help_text="While it is disabled, what comes in is recorded, and no alert opens. Its open alerts are closed.",
    )
    api_url = serializers.SerializerMethodField()
    email_address = serializers.SerializerMethodField()
    request_url = serializers.SerializerMethodField()
    state = serializers.SerializerMethodField()

    def shows_all(self, instance: InboundIntegration) -> bool:  # noqa: ARG002 - a rule for all integrations alike
        """Return whether the requesting user may manage integrations."""
        return may_configure(self.context["request"].user)

    def get_api_url(self, integration: InboundIntegration) -> str | None:
        """Return the secret URL to which jobs and other products send."""
        return api_url(integration)

    def get_email_address(self, integration: InboundIntegration) -> str | None:
        """Return the secret address to which mails are sent; null for types that have none."""
        return email_address(integration)

    def get_request_url(self, integration: InboundIntegration) -> str | None:
        """Return the secret URL for requests of a chat platform; null for other types."""
        return request_url(integration)

    def get_state(self, integration: InboundIntegration) -> str:
        """Return the state now."""
        return state_of(integration, now=self.context["now"])

    def validate_type(self, value: str) -> str:
        """Return the type. Raises ValidationError for one that cannot be added, and for a change."""
        if self.instance is not None and value != self.instance.type:
            raise serializers.ValidationError(gettext_lazy("The type cannot be changed."), code="invalid")
        return value

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Return the keyword arguments of the service, with exactly one of policy and play."""
        fields = {**attrs, **attrs.pop(self.own, {})}
        fields.pop(self.own, None)
        rules = {
            field: fields.get(field, getattr(self.instance, field, None))
            for field in ("escalation_policy", "response_play")
        }
        # A request that sets one of the two replaces the other, so that a change needs one field, not two.
        if self.instance is not None and all(rules.values()) and len(rules.keys() & fields.keys()) == 1:
            other = next(field for field in rules if field not in fields)
            fields[other] = rules[other] = None
        if sum(rule is not None for rule in rules.values()) != 1:
            error = serializers.ErrorDetail("Choose an escalation policy or a response play.", code="required")
            if rules["escalation_policy"] is not None:
                text = "Choose an escalation policy or a response play, not both."
                error = serializers.ErrorDetail(text, code="invalid")
            raise serializers.ValidationError({"escalation_policy": error})
        return fields


class HeartbeatIntegrationSerializer(IntegrationFields):
    """One heartbeat integration.

    Users who may not manage integrations get null for all but id, type, name and state.
    """

    own = "heartbeat"
    # A busy heartbeat is pinged between a GET and the PUT of what it returned.
    changing = frozenset({"state", "last_ping_at", "deadline_at", "ping_count"})
    counter = "ping_count"

    type = serializers.ChoiceField(choices=[(_Type.HEARTBEAT.value, _Type.HEARTBEAT.label)], default=_Type.HEARTBEAT)
    interval_minutes = MinutesField(source="heartbeat.interval_minutes", min_value=Decimal("0.1"))
    grace_minutes = MinutesField(source="heartbeat.grace_minutes", required=False)
    start_timer = serializers.ChoiceField(
        source="heartbeat.start_timer",
        choices=Heartbeat.StartTimer.choices,
        required=False,
    )
    allow_get = serializers.BooleanField(source="heartbeat.allow_get", required=False)
    last_ping_at = serializers.DateTimeField(source="heartbeat.last_ping_at", read_only=True, allow_null=True)
    deadline_at = serializers.DateTimeField(source="heartbeat.deadline_at", read_only=True, allow_null=True)
    ping_count = serializers.IntegerField(source="heartbeat.ping_count", read_only=True)


class JSONValue(serializers.JSONField):
    """Any JSON value that is not nested too deeply."""

    def to_internal_value(self, data: Any) -> Any:
        """Return the value. Raises ValidationError."""
        try:
            return super().to_internal_value(data)
        except RecursionError:
            self.fail("invalid")


@extend_schema_field(_MAPPING)
class MappingField(JSONValue):
    """Templates by field."""


@extend_schema_field(_WORDS)
class StatusWordsField(JSONValue):
    """Lists of words by action."""


@extend_schema_field(_RULES)
class RulesField(JSONValue):
    """The rules, in their order."""


@extend_schema_field(_DELAY)
class DelayField(JSONValue):
    """How long an event waits before an alert opens."""


@extend_schema_field(_SIGNATURE)
class SignatureField(JSONValue):
    """How senders prove themselves; the secret is written and never read."""


@extend_schema_field({"type": "array", "items": {"type": "string"}})
class AddressesField(JSONValue):
    """A list of mail addresses."""


@extend_schema_field(_EXTRACT)
class ExtractField(JSONValue):
    """Where fields stand in a mail."""


class EventIntegrationSerializer(IntegrationFields):
    """One integration that turns the events of other products into alerts.

    Users who may not manage integrations get null for all but id, type, name and state.
    """

    own = "event_settings"
    # Events come in between a GET and the PUT of what it returned.
    changing = frozenset({"state", "last_event_at", *_COUNTS, "fault"})

    type = serializers.ChoiceField(
        choices=EVENT_TYPES,
    )
    allow_get = serializers.BooleanField(
        source="event_settings.allow_get", required=False, help_text="Whether GET with a query is an event, too."
    )
    preset = serializers.ChoiceField(
        source="event_settings.preset",
        choices=PRESETS,
        required=False,
        help_text="The product that sends the events; auto recognizes it.",
    )
    mapping = MappingField(source="event_settings.mapping", required=False, help_text="Templates by field.")
    status_words = StatusWordsField(
        source="event_settings.status_words",
        required=False,
        help_text="Words of a status that close, acknowledge, update or ignore; the case does not matter.",
    )
    rules = RulesField(source="event_settings.rules", required=False)
    no_rule = serializers.ChoiceField(
        source="event_settings.no_rule", choices=EventSettings.NoRule.choices, required=False
    )
    delay = DelayField(source="event_settings.delay", required=False)
    group_minutes = MinutesField(
        source="event_settings.group_minutes",
        required=False,
        help_text="For so long after an alert opened, other keys join it. 0 turns it off.",
    )
    auto_close_minutes = MinutesField(
        source="event_settings.auto_close_minutes",
        required=False,
        help_text="An alert closes by itself if no event comes for so long. 0 turns it off.",
    )
    storm_per_minute = WholeNumberField(
        source="event_settings.storm_per_minute",
        required=False,
        min_value=0,
        max_value=MAX_STORM,
        help_text="Alerts that may open in a minute; further ones stand in one alert. 0 means no limit.",
    )
    signature = SignatureField(
        source="event_settings.signature",
        required=False,
        allow_null=True,
        help_text="How senders prove themselves. The secret is null in responses; null keeps the stored one.",
    )
    last_event_at = serializers.DateTimeField(source="event_state.last_event_at", read_only=True, allow_null=True)
    event_count = serializers.IntegerField(source="event_state.event_count", read_only=True)
    rejected_count = serializers.IntegerField(
        source="event_state.rejected_count", read_only=True, help_text="With a bad signature, or over the hard limit."
    )
    fault = serializers.SerializerMethodField()

    def to_internal_value(self, data: Any) -> Any:
        """Take the type of the integration if a change leaves it out."""
        if self.instance is not None and isinstance(data, Mapping):
            data = {"type": self.instance.type, **data}
        return super().to_internal_value(data)

    def to_representation(self, instance: InboundIntegration) -> dict[str, Any]:
        """Return the fields, without the secret of the signature."""
        fields = super().to_representation(instance)
        if fields.get("signature") is not None:
            fields["signature"] = {"header": None, **fields["signature"], "secret": None}
        return fields

    @extend_schema_field(_FAULT)
    def get_fault(self, integration: InboundIntegration) -> dict[str, Any] | None:
        """Return why the newest event could not be read as configured; null if it could, or if it was saved since."""
        fault = integration.event_state.fault
        if fault is None:
            return None
        return {**fault, "at": serializers.DateTimeField().to_representation(datetime.fromisoformat(fault["at"]))}

    def _may_be_an_earlier_reading(self, data: Mapping[str, Any], present: Mapping[str, Any]) -> bool:
        """Answer whether the request may hold earlier values: one of the counts is smaller, and none is larger."""
        sent = [data.get(name) for name in _COUNTS]
        counts = [count for count in sent if isinstance(count, int) and not isinstance(count, bool) and count >= 0]
        now = [present[name] for name in _COUNTS]
        return len(counts) == len(now) and counts != now and all(map(operator.le, counts, now))


class EmailIntegrationSerializer(EventIntegrationSerializer):
    """One integration that turns mails into alerts.

    Users who may not manage integrations get null for all but id, type, name and state.
    """

    type = serializers.ChoiceField(choices=EMAIL_TYPES)
    # A mail has neither, so they are no fields here.
    allow_get = None  # type: ignore[assignment]
    signature = None  # type: ignore[assignment]
    aliases = AddressesField(
        source="event_settings.aliases",
        required=False,
        help_text="Further addresses whose mails come here, such as a shared mailbox.",
    )
    sequence = WholeNumberField(
        source="event_settings.sequence",
        required=False,
        min_value=1,
        max_value=MAX_SEQUENCE,
        help_text="Integrations with the same alias are tried in this order; the first that does not refuse takes it.",
    )
    every_mail_opens = serializers.BooleanField(
        source="event_settings.every_mail_opens",
        required=False,
        help_text="Whether each mail opens an alert of its own, whatever its words say.",
    )
    allowed_senders = AddressesField(
        source="event_settings.allowed_senders",
        required=False,
        help_text="Addresses, or @domain; empty: everybody. A sender's address alone is easy to forge.",
    )
    require_authenticated = serializers.BooleanField(
        source="event_settings.require_authenticated",
        required=False,
        help_text="Whether the mail server in front must have authenticated the sender (DMARC, else SPF or DKIM).",
    )
    extract = ExtractField(
        source="event_settings.extract",
        required=False,
        help_text="Where fields stand in a mail; what is not found there has its default.",
    )


@extend_schema_field({"type": "object", "additionalProperties": {"type": "string", "nullable": True}})
class SecretsField(JSONValue):
    """Secrets by name; they are written and never read."""


@extend_schema_field({"type": "array", "items": {"type": "string"}, "maxItems": MAX_CHANNELS})
class ChannelsField(JSONValue):
    """A list of channels."""


@extend_schema_field({"type": "array", "items": {"type": "string", "enum": list(ORIGINS)}})
class OriginsField(JSONValue):
    """Kinds of messages."""


class ChatIntegrationSerializer(EventIntegrationSerializer):
    """One integration by which people open alerts and answer them in a chat.

    Users who may not manage integrations get null for all but id, type, name and state.
    """

    type = serializers.ChoiceField(choices=CHAT_TYPES)
    # The platform proves itself with its secrets, so these are no fields here.
    allow_get = None  # type: ignore[assignment]
    signature = None  # type: ignore[assignment]
    platform = serializers.ChoiceField(source="chat_settings.platform", choices=ChatSettings.Platform.choices)
    secrets = SecretsField(
        source="chat_settings.secrets",
        required=False,
        help_text="By platform: slack signing_secret and bot_token; mattermost command_token, bot_token and "
        "webhook_token; generic token. Null in responses; null keeps the stored one, an empty text forgets it.",
    )
    api_base = CleanCharField(
        source="chat_settings.api_base",
        max_length=MAX_BASE,
        required=False,
        allow_blank=True,
        help_text="The address of the platform's API. Empty: https://slack.com/api; Mattermost needs its server's.",
    )
    channels = ChannelsField(
        source="chat_settings.channels",
        required=False,
        help_text="Ids or names of the channels that may be used; empty: any.",
    )
    command = CleanCharField(
        source="chat_settings.command", max_length=40, required=False, help_text="As it is called in answers."
    )
    open_from = OriginsField(source="chat_settings.open_from", required=False, help_text="What opens alerts.")
    updates = serializers.ChoiceField(
        source="chat_settings.updates",
        choices=ChatSettings.Updates.choices,
        required=False,
        help_text="Where changes of an alert are written.",
    )
    who_may_open = serializers.ChoiceField(
        source="chat_settings.who_may_open",
        choices=ChatSettings.WhoMayOpen.choices,
        required=False,
        help_text="Whether only users may open alerts who have linked their chat account.",
    )
    manifest = serializers.SerializerMethodField()

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Return the keyword arguments of the service."""
        return super().validate({**attrs, **attrs.pop("chat_settings", {})})

    def to_representation(self, instance: InboundIntegration) -> dict[str, Any]:
        """Return the fields, with the names of the secrets that are stored."""
        fields = super().to_representation(instance)
        if fields.get("secrets") is not None:
            fields["secrets"] = dict.fromkeys(sorted(fields["secrets"]))
        return fields

    @extend_schema_field({**_OBJECT, "nullable": True})
    def get_manifest(self, integration: InboundIntegration) -> dict[str, Any] | None:
        """Return what Slack's page “Create an app from a manifest” takes; null for other platforms."""
        return slack_manifest(integration)


class IntegrationSerializer(serializers.BaseSerializer[InboundIntegration]):
    """Integrations of all types in one list, each with the fields of its type."""

    def to_representation(self, instance: InboundIntegration) -> dict[str, Any]:
        """Return the fields of the integration's type."""
        by_type: dict[type[IntegrationFields], IntegrationFields] = self.__dict__.setdefault("_by_type", {})
        fields = fields_of(instance.type)
        serializer = by_type.get(fields) or by_type.setdefault(fields, fields(context=self.context))
        return serializer.to_representation(instance)


def fields_of(kind: object) -> type[IntegrationFields]:
    """Return the serializer for integrations of a type; for anything that is no type, that of heartbeats."""
    if kind == _Type.EMAIL:
        return EmailIntegrationSerializer
    if kind == _Type.CHAT:
        return ChatIntegrationSerializer
    is_event_type = isinstance(kind, str) and kind in _Type.values and kind != _Type.HEARTBEAT
    return EventIntegrationSerializer if is_event_type else HeartbeatIntegrationSerializer


# Requests and responses in the OpenAPI document.
ANY_INTEGRATION: Final = PolymorphicProxySerializer(
    component_name="Integration",
    serializers={
        _Type.HEARTBEAT.value: HeartbeatIntegrationSerializer,
        _Type.EMAIL.value: EmailIntegrationSerializer,
        _Type.CHAT.value: ChatIntegrationSerializer,
        _Type.API.value: EventIntegrationSerializer,
    },
    resource_type_field_name="type",
)
