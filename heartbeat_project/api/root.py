"""`/api/v1/`: the list of resources."""

from typing import Any, Final

from django.conf import settings
from django.urls import NoReverseMatch, get_script_prefix, reverse
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.routers import APIRootView, DefaultRouter

from heartbeat_project.kernel.named_parameters import NamedParameters

# Resources that the router does not know, with the names of their addresses.
FURTHER: Final = {"outbound-integrations": "outbound_integrations", "usage": "usage"}


class Root(NamedParameters, APIRootView):
    """The addresses of the resources; they begin with HEARTBEAT_BASE_URL, as all links of the API."""

    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:  # noqa: ARG002 - DRF's signature
        """Return the addresses by name; resources that stand below another object are left out."""
        links = {}
        for resource, name in ((self.api_root_dict or {}) | FURTHER).items():
            try:
                path = reverse(name)
            except NoReverseMatch:
                continue
            links[resource] = f"{settings.BASE_URL}/{path.removeprefix(get_script_prefix())}"
        return Response(links)


class Router(DefaultRouter):
    """The router of the management API."""

    APIRootView = Root
