"""Addresses of the management API's integrations, and of the endpoints for mails and for Slack's buttons."""

from django.urls import path
from rest_framework.routers import BaseRouter

from integrations.api.chat import slack_buttons
from integrations.api.integrations import IntegrationViewSet
from integrations.api.mail import mail
from integrations.api.maintenance_windows import MaintenanceWindowViewSet

responses = [
    path("mail/", mail, name="responses_mail"),
    path("slack/", slack_buttons, name="responses_slack"),
]


def register(router: BaseRouter) -> None:
    """Add this app's resources."""
    router.register("integrations", IntegrationViewSet, basename="integration")
    router.register("maintenance-windows", MaintenanceWindowViewSet, basename="maintenance-window")
