"""The events of an integration: `events/`, `events/<id>/`, `events/<id>/replay/`, and `test-mapping/`."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

from django.shortcuts import get_object_or_404
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.viewsets import OrganizationViewSet
from heartbeat_project.kernel.api import CleanCharField, NewestFirst, Strict
from integrations.api.integration_types import (
    AddressesField,
    ExtractField,
    JSONValue,
    MappingField,
    RulesField,
    StatusWordsField,
)
from integrations.inbound.bodies import body_in_list, body_of, for_list
from integrations.inbound.event import Fault, Mapped, MappedEvent
from integrations.inbound.receive import first_fault
from integrations.inbound.replays import check_maps_events, replay, sample, try_mapping
from integrations.inbound.selectors import events_of
from integrations.inbound.settings_checks import PRESETS
from integrations.models.events import EventSettings, InboundEvent

MAX_HEADERS: Final = 100
MAX_HEADER: Final = 10_000
MAX_RESULTS: Final = 50  # parts of an event that are shown
EVENT: Final = OpenApiParameter("event", OpenApiTypes.INT, OpenApiParameter.PATH)


class NewestEvents(NewestFirst):
    """Pages of events, which may be large."""

    page_size = 25
    max_page_size = 100


class FaultSerializer(serializers.Serializer[Any]):
    """Why a part of an event could not be read as configured."""

    field = serializers.CharField()
    text = serializers.CharField()


class ResultSerializer(serializers.Serializer[Any]):
    """What became of one part of an event; `reason` says why it was ignored or waits."""

    action = serializers.CharField()
    alert = serializers.IntegerField(allow_null=True)
    source_id = serializers.CharField()
    reason = serializers.CharField()


class EventMemberSerializer(serializers.Serializer[Any]):
    """A part of an event with a state of its own."""

    key = serializers.CharField()
    subject = serializers.CharField()
    is_open = serializers.BooleanField()


class MatchedRuleSerializer(serializers.Serializer[Any]):
    """A rule that held; the first one has the number 1."""

    number = serializers.IntegerField()
    name = serializers.CharField()


class MappedEventSerializer(serializers.Serializer[MappedEvent]):
    """One part of an event in the words of an alert, after the rules."""

    action = serializers.CharField()
    reason = serializers.CharField()
    source = serializers.CharField()  # type: ignore[assignment] # as above
    source_name = serializers.CharField()
    source_id = serializers.CharField()
    subject = serializers.CharField()
    short_text = serializers.CharField()
    long_text = serializers.CharField()
    priority = serializers.CharField()
    url = serializers.CharField()
    event_at = serializers.DateTimeField(allow_null=True)
    members = EventMemberSerializer(many=True)
    rules = serializers.SerializerMethodField()
    then = serializers.SerializerMethodField()
    faults = FaultSerializer(many=True)

    @extend_schema_field(MatchedRuleSerializer(many=True))
    def get_rules(self, event: MappedEvent) -> list[dict[str, Any]]:
        """Return number and name of each rule that held."""
        rules = self.context["rules"]
        return [{"number": number, "name": rules[number - 1].get("name", "")} for number in event.rules]

    @extend_schema_field({"type": "object", "additionalProperties": {}})
    def get_then(self, event: MappedEvent) -> dict[str, Any]:
        """Return what the rules ask for besides the action, as in a rule."""
        return {name: value for name, value in asdict(event.then).items() if value}


class TriedSerializer(MappedEventSerializer):
    """What an integration reads in an event: the fields of its first part, and all parts in `results`."""

    preset = serializers.CharField(help_text="The product that was recognized; empty if none was.")
    fault = FaultSerializer(allow_null=True)
    results = MappedEventSerializer(many=True, help_text=f"At most {MAX_RESULTS}.")
    result_count = serializers.IntegerField()


class ReplaySerializer(serializers.Serializer[Any]):
    """What became of a replayed event, or would; `action` and `alert` are the first result's."""

    dry_run = serializers.BooleanField()
    event = serializers.IntegerField()
    action = serializers.CharField()
    alert = serializers.IntegerField(allow_null=True)
    results = ResultSerializer(many=True)
    fault = FaultSerializer(allow_null=True)
    mapped = TriedSerializer()


class InboundEventSerializer(serializers.Serializer[InboundEvent]):
    """An event as it arrived, and what became of it; `action` and `alert` are the first result's."""

    id = serializers.IntegerField()
    received_at = serializers.DateTimeField()
    action = serializers.SerializerMethodField()
    alert = serializers.SerializerMethodField()
    results = ResultSerializer(many=True, source="result")
    fault = serializers.SerializerMethodField()
    external_id = serializers.CharField()
    source = serializers.CharField()  # type: ignore[assignment] # as above
    query = serializers.DictField(child=serializers.CharField())
    headers = serializers.DictField(child=serializers.CharField())
    size = serializers.IntegerField(help_text="Of the body, in bytes.")

    def get_action(self, row: InboundEvent) -> str:
        """Return the first result's action; empty if there is none."""
        return str(row.result[0]["action"]) if row.result else ""

    def get_alert(self, row: InboundEvent) -> int | None:
        """Return the id of the first result's alert."""
        return row.result[0].get("alert") if row.result else None

    @extend_schema_field(FaultSerializer(allow_null=True))
    def get_fault(self, row: InboundEvent) -> dict[str, str] | None:
        """Return the first fault of the event."""
        field, _, text = row.fault.partition(": ")
        return {"field": field, "text": text} if row.fault else None

    payload = serializers.JSONField(
        source="body.payload", allow_null=True, help_text="The body as it was understood; null if it is cut."
    )
    raw = serializers.CharField(source="body.raw", help_text="The body as it arrived.")
    raw_encoding = serializers.ChoiceField(source="body.raw_encoding", choices=["text", "base64"])
    truncated = serializers.BooleanField(
        source="body.truncated", help_text="Whether the body is too long for the list, and cut; the event has it whole."
    )


class ReplayRequestSerializer(Strict):
    """Whether the replay is only tried."""

    dry_run = serializers.BooleanField(default=True, help_text="Show what would happen, and change nothing.")


class TryMappingSerializer(Strict):
    """An event, and settings to try instead of those of the integration."""

    payload = JSONValue(allow_null=True, help_text="Text is taken as the body itself.")
    headers = serializers.DictField(child=CleanCharField(allow_blank=True, max_length=MAX_HEADER), required=False)
    preset = serializers.ChoiceField(choices=PRESETS, required=False)
    mapping = MappingField(required=False)
    status_words = StatusWordsField(required=False)
    rules = RulesField(required=False)
    no_rule = serializers.ChoiceField(choices=EventSettings.NoRule.choices, required=False)
    every_mail_opens = serializers.BooleanField(required=False, help_text="Of Email integrations, as those below.")
    extract = ExtractField(required=False)
    allowed_senders = AddressesField(required=False)
    require_authenticated = serializers.BooleanField(required=False)
    query = serializers.DictField(
        child=CleanCharField(allow_blank=True, max_length=MAX_HEADER),
        required=False,
        help_text="Of a mail: `key`, what stands behind the + of its address, and `sender`, as the mail server got it. "
        "Of other events: the parameters of their address.",
    )

    def validate_headers(self, value: dict[str, str]) -> dict[str, str]:
        """Return the headers. Raises ValidationError if there are too many."""
        if len(value) > MAX_HEADERS:
            raise serializers.ValidationError(f"Give at most {MAX_HEADERS} headers.", code="max_length")
        return value

    def validate_query(self, value: dict[str, str]) -> dict[str, str]:
        """Return the parameters. Raises ValidationError if there are too many."""
        if len(value) > MAX_HEADERS:
            raise serializers.ValidationError(f"Give at most {MAX_HEADERS} parameters.", code="max_length")
        return value


class InboundEventActions(OrganizationViewSet):
    """The actions of integrations about what they received."""

    @extend_schema(
        responses=InboundEventSerializer(many=True),
        parameters=[OpenApiParameter("cursor", str), OpenApiParameter("page_size", int)],
    )
    @action(detail=True, methods=["get"], pagination_class=NewestEvents, filter_backends=[])
    def events(self, request: Request, pk: str | None = None) -> Response:  # noqa: ARG002 - DRF's signature
        """List the events that it received, newest first; long bodies are cut."""
        page: Any = self.paginate_queryset(for_list(events_of(self.get_object()))) or []
        for row in page:
            row.body = body_in_list(row)
        return self.get_paginated_response(InboundEventSerializer(page, many=True).data)

    @extend_schema(responses=InboundEventSerializer, parameters=[EVENT])
    @action(detail=True, methods=["get"], url_path="events/(?P<event>[0-9]{1,18})")
    def event(self, request: Request, event: str, pk: str | None = None) -> Response:  # noqa: ARG002 - DRF's signature
        """Show one event with its whole body."""
        row: Any = get_object_or_404(events_of(self.get_object()), pk=event)
        row.body = body_of(row)
        return Response(InboundEventSerializer(row).data)

    @extend_schema(request=ReplayRequestSerializer, responses=ReplaySerializer, parameters=[EVENT])
    @action(detail=True, methods=["post"], url_path="events/(?P<event>[0-9]{1,18})/replay")
    def replay_event(self, request: Request, event: str, pk: str | None = None) -> Response:  # noqa: ARG002 - DRF's signature
        """Show what the present settings would make of an event; with `dry_run` false, carry it out once more.

        The timeline of its alert says that it was a replay.
        """
        integration = self.get_object()
        wish = ReplayRequestSerializer(data=request.data)
        wish.is_valid(raise_exception=True)
        row = get_object_or_404(events_of(integration), pk=event)
        replayed = replay(integration, row, actor=self.user, now=self.now, **wish.validated_data)
        results = [result.as_json() for result in replayed.results]
        body = {
            **wish.validated_data,
            "event": row.pk,
            "action": results[0]["action"],
            "alert": results[0]["alert"],
            "results": results,
            "fault": _fault(replayed.fault),
            "mapped": _tried(replayed.mapped, replayed.fault, integration.event_settings.rules),
        }
        return Response(body)

    @extend_schema(request=TryMappingSerializer, responses=TriedSerializer)
    @action(detail=True, methods=["post"], url_path="test-mapping")
    def test_mapping(self, request: Request, pk: str | None = None) -> Response:  # noqa: ARG002 - DRF's signature
        """Show what would be read in an event, by the settings of the integration or by those that are sent.

        Nothing is stored, and no alert opens.
        """
        integration = self.get_object()
        check_maps_events(integration)
        wish = TryMappingSerializer(data=request.data)
        wish.is_valid(raise_exception=True)
        values = dict(wish.validated_data)
        headers, query = values.pop("headers", {}), values.pop("query", {})
        event = sample(values.pop("payload"), headers, query=query, now=self.now)
        mapped = try_mapping(integration, event, values)
        rules = values.get("rules", integration.event_settings.rules)
        return Response(_tried(mapped, first_fault(event, mapped.events), rules))


def _tried(mapped: Mapped, fault: Fault | None, rules: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    events: Any = mapped.events[:MAX_RESULTS]
    results = MappedEventSerializer(events, many=True, context={"rules": rules}).data
    return {
        "preset": mapped.preset,
        "fault": _fault(fault),
        **results[0],
        "results": results,
        "result_count": len(mapped.events),
    }


def _fault(fault: Fault | None) -> dict[str, str] | None:
    return {"field": fault.field, "text": fault.text} if fault else None
