"""The ping endpoint as a DRF view, for where no ASGI server runs and for the OpenAPI document."""

import ipaddress
from typing import Any

from django.conf import settings
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.exceptions import MethodNotAllowed, NotFound
from rest_framework.parsers import BaseParser
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from heartbeat_project.kernel import clock
from heartbeat_project.kernel.errors import DomainError
from integrations.ingest.record import Arrival, record_pings


class TooLarge(DomainError):
    """The body of a ping is larger than 1 MiB."""

    code = "too_large"
    title = "Content Too Large"
    status = 413


class PingAnswer(serializers.Serializer[Any]):
    """The answer to a stored ping."""

    status = serializers.ChoiceField(choices=["ok", "disabled"])
    received_at = serializers.DateTimeField()
    deadline_at = serializers.DateTimeField(allow_null=True)


class AnyBody(BaseParser):
    """Whatever the body is, only the arrival matters."""

    media_type = "*/*"

    def parse(self, stream: Any, media_type: Any = None, parser_context: Any = None) -> Any:  # noqa: ARG002
        """Return nothing: the body is not read as data."""
        return {}


class HeartbeatPing(APIView):
    """Record one ping."""

    authentication_classes = ()
    permission_classes = ()
    parser_classes = (AnyBody,)
    http_method_names = ["post", "get", "head", "put", "patch", "delete", "options"]

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Stamp the arrival before anything else is done."""
        self.received_at = clock.now()
        super().initial(request, *args, **kwargs)

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
    def post(self, request: Request, token: str) -> Response:
        """Record a ping."""
        if _body_is_too_large(request):
            raise TooLarge("The body of a ping may have at most 1 MiB (1,048,576 bytes). Nothing was stored.")
        arrival = Arrival(
            token=token,
            received_at=self.received_at,
            method=str(request.method),
            source_ip=_ip(request.META.get("REMOTE_ADDR")),
        )
        receipt = record_pings([arrival])[0]
        if receipt is None:
            raise NotFound
        if receipt.status == "method":
            self.http_method_names = ["post", "options"]
            raise MethodNotAllowed(str(request.method))
        return Response(PingAnswer(receipt).data)

    @extend_schema(exclude=True)
    def get(self, request: Request, token: str) -> Response:
        """Record a ping where the heartbeat accepts GET; answer 405 where it does not."""
        return self.post(request, token)

    @extend_schema(exclude=True)
    def head(self, request: Request, token: str) -> Response:
        """As GET."""
        return self.post(request, token)

    def options(self, request: Request, *args: Any, **kwargs: Any) -> Response:  # noqa: ARG002
        """Answer as any wrong method: what may be done here is one thing."""
        raise MethodNotAllowed(str(request.method))


def _body_is_too_large(request: Request) -> bool:
    """Read at most one byte more than is allowed, whatever Content-Length says."""
    limit = settings.PING_MAX_BODY_BYTES
    try:
        if int(request.META.get("CONTENT_LENGTH") or 0) > limit:
            return True
    except ValueError:
        pass
    return len(request._request.read(limit + 1)) > limit  # noqa: SLF001 - DRF's wrapper would parse it


def _ip(text: str | None) -> str | None:
    try:
        return str(ipaddress.ip_address(text or ""))
    except ValueError:
        return None
