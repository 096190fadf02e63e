"""The ping endpoint as a DRF view, for where no ASGI server runs and for the OpenAPI document."""

from typing import Any

from django.conf import settings
from django.db import Error
from django.http import HttpResponse
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.views import APIView

from heartbeat_project.kernel import clock
from integrations.ingest import answers
from integrations.ingest.record import Arrival, ip, record_pings


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
            503: OpenApiResponse(description="The store is away; nothing was stored. See Retry-After."),
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
        )
        try:
            [receipt] = record_pings([arrival])
        except Error:
            return _response(answers.AWAY)
        return _response(answers.answer_to(receipt))

    @extend_schema(exclude=True)
    def get(self, request: Request, token: str) -> HttpResponse:
        """Record a ping where the heartbeat accepts GET; answer 405 where it does not."""
        return self.post(request, token)

    @extend_schema(exclude=True)
    def head(self, request: Request, token: str) -> HttpResponse:
        """As GET."""
        return self.post(request, token)

    def http_method_not_allowed(self, request: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: ARG002 - DRF's signature
        """Answer 405 with what is allowed."""
        return _response(answers.WRONG_METHOD)

    def options(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        """Answer as any wrong method: what may be done here is one thing."""
        return self.http_method_not_allowed(request, *args, **kwargs)

    @property
    def allowed_methods(self) -> list[str]:
        """Return what every heartbeat accepts."""
        return ["POST"]


def _body_is_too_large(request: Request) -> bool:
    """Read at most one byte more than is allowed, whatever Content-Length says."""
    limit: int = settings.PING_MAX_BODY_BYTES
    length = request.META.get("CONTENT_LENGTH") or ""
    if length.isdecimal() and int(length) > limit:
        return True
    return len(request._request.read(limit + 1)) > limit  # noqa: SLF001 - DRF's wrapper would parse it


def _response(answer: answers.Answer) -> HttpResponse:
    return HttpResponse(
        answer.content,
        status=answer.status,
        content_type=answer.content_type,
        headers=answer.headers,
    )
