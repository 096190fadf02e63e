"""Serves the OpenAPI document, which each process renders once because it is the same for everybody."""

import threading
from typing import Any

from django.http import HttpResponse
from drf_spectacular.utils import extend_schema
from drf_spectacular.views import SpectacularAPIView
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.request import Request

from heartbeat_project.kernel.named_parameters import NamedParameters

_lock = threading.Lock()
_responses: dict[str, HttpResponse] = {}  # by media type


class FormatOrAccept(DefaultContentNegotiation):
    """Choose by `?format=json` or `?format=yaml`, and without it by the header Accept."""

    def select_renderer(self, request: Request, renderers: Any, format_suffix: str | None = None) -> Any:
        """Return the renderer and its media type. Raises Http404 for a format that there is not."""
        return super().select_renderer(request, renderers, request.query_params.get("format") or format_suffix)


class SchemaView(NamedParameters, SpectacularAPIView):
    """The document as YAML or JSON; these have four media types."""

    content_negotiation_class = FormatOrAccept

    def query_parameters(self) -> set[str]:
        """Return the only one: it is read by FormatOrAccept."""
        return {"format"}

    @extend_schema(exclude=True)
    def get(self, request: Request, *args: Any, **options: Any) -> HttpResponse:  # noqa: ARG002 - DRF's signature
        """Return the document; the first request renders it, which takes a third of a second of processor time."""
        renderer: Any = request.accepted_renderer
        with _lock:
            if renderer.media_type not in _responses:
                response = self._get_schema_response(request)  # type: ignore[no-untyped-call] # the library has no types
                response.accepted_renderer = renderer
                response.accepted_media_type = renderer.media_type
                response.renderer_context = self.get_renderer_context()
                _responses[renderer.media_type] = response.render()
        stored = _responses[renderer.media_type]
        return HttpResponse(stored.content, headers=dict(stored.items()))

    def _get_version_parameter(self, request: Request) -> None:
        """Ignore the version in the request: otherwise the first request would choose it for everybody."""
