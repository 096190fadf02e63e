"""What happens around each page: probes are answered by address, times are shown in the reader's own zone."""

import zoneinfo
from collections.abc import Callable

from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from heartbeat_project import health


class Probes:
    """Answer `/healthz` and `/readyz` whatever the Host header says: a load balancer asks by address.

    Nothing of the request is used in the answer. What comes after this refuses hosts that are not ours.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer a probe, or hand the request on."""
        probe = {"/healthz": health.healthz, "/readyz": health.readyz}.get(request.path)
        return probe(request) if probe else self.get_response(request)


class ReaderTimeZone:
    """Show times in the signed-in person's time zone; the API speaks UTC."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Activate the zone for this request alone."""
        path = request.path.lower()
        if path.startswith(("/api/", "/heartbeat/", "/healthz", "/readyz", "/metrics", "/static/")):
            return self.get_response(request)
        with timezone.override(zoneinfo.ZoneInfo(getattr(request.user, "time_zone", "UTC"))):
            return self.get_response(request)
