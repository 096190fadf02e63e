"""The ping endpoint as a DRF view, for servers that do not run the ping lane and for the OpenAPI document."""

from typing import Any

from django.conf import settings
from django.db import Error
from django.http import HttpResponse
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.views import APIView

from heartbeat_project.kernel import clock
from integrations.ping_lane import answers
from integrations.ping_lane.batch import MAX_AGENT, Arrival, agent, ip, record_pings


class PingAnswer(serializers.Serializer[Any]):
    """The answer to a stored ping."""

    status = serializers.ChoiceField(choices=["ok", "disabled"])
    received_at = serializers.DateTimeField()
    deadline_at = serializers.DateTimeField(allow_null=True)


class HeartbeatPing(APIView):
    """Record one ping. The body is never parsed: only the arrival matters."""

    authentication_classes = ()
    permission_classes = ()

    def dispatch(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        """Stamp the arrival before anything else is done."""
        self.received_at = clock.now()
        return super().dispatch(request, *args, **kwargs)

    @extend_schema(
        auth=[],
        request={"application/json": {"type": "object"}},
        responses={
            200: PingAnswer,
            404: OpenApiResponse(description="No heartbeat has this token."),
            413: OpenApiResponse(description="The body is larger than 1 MiB."),
            503: OpenApiResponse(description="The database is away; send the ping again. See Retry-After."),
        },
        description="Reset the timer of one heartbeat. Any body counts, also none or broken JSON. "
        "The answer is sent once the ping is committed.",
    )
    def post(self, request: Request, token: str) -> HttpResponse:
        """Record a ping."""
        if _body_is_too_large(request):
            return _response(answers.TOO_LARGE)
        arrival = Arrival(
            token=token,
            received_at=self.received_at,
            method=str(request.method),
            source_ip=ip(request.META.get("REMOTE_ADDR")),
            user_agent=agent(request.META.get("HTTP_USER_AGENT", "").encode("latin-1", "replace")[:MAX_AGENT]),
        )
        try:
            [receipt] = record_pings([arrival])
        except Error:
            return _response(answers.AWAY)
        return _response(answers.answer_to(receipt))

    @extend_schema(exclude=True)
    def get(self, request: Request, token: str) -> HttpResponse:
        """Record a ping if the heartbeat accepts GET, else answer 405."""
        return self.post(request, token)

    @extend_schema(exclude=True)
    def head(self, request: Request, token: str) -> HttpResponse:
        """Do as for GET."""
        return self.post(request, token)

    def http_method_not_allowed(self, request: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: ARG002 - DRF's signature
        """Answer 405 with the methods that this heartbeat accepts."""
        return self.post(request, kwargs["token"])

    def options(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        """Answer 405, as for any method that is no ping."""
        return self.http_method_not_allowed(request, *args, **kwargs)

    @property
    def default_response_headers(self) -> dict[str, str]:
        """Return no headers: DRF's Allow would be that of all heartbeats alike."""
        return {}

    @property
    def allowed_methods(self) -> list[str]:
        """Return the method that every heartbeat accepts."""
        return ["POST"]


def _body_is_too_large(request: Request) -> bool:
    """Return whether the body exceeds the limit; read at most one byte more than that, whatever Content-Length says."""
    limit: int = settings.PING_MAX_BODY_BYTES
    length = request.META.get("CONTENT_LENGTH") or ""
    if length.isdecimal() and (len(length) > len(str(limit)) or int(length) > limit):
        return True
    return len(request._request.read(limit + 1)) > limit  # noqa: SLF001 - DRF's wrapper would parse it


def _response(answer: answers.RawResponse) -> HttpResponse:
    return HttpResponse(
        answer.content,
        status=answer.status,
        content_type=answer.content_type,
        headers=answer.headers,
    )
