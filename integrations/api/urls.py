"""Addresses of the management API's integrations, and of the endpoint to which a mail server posts replies."""

from django.urls import path
from rest_framework.routers import BaseRouter

from integrations.api.integrations import IntegrationViewSet
from integrations.api.mail import mail
from integrations.api.maintenance_windows import MaintenanceWindowViewSet

responses = [path("mail/", mail, name="responses_mail")]


def register(router: BaseRouter) -> None:
    """Add this app's resources."""
    router.register("integrations", IntegrationViewSet, basename="integration")
    router.register("maintenance-windows", MaintenanceWindowViewSet, basename="maintenance-window")
