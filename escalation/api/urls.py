"""Addresses of policies, plays, shifts and absences in the management API, and of the webhooks of providers."""

from django.urls import path
from rest_framework.routers import BaseRouter

from escalation.api import inbound_webhooks
from escalation.api.absences import OutOfOfficeViewSet
from escalation.api.plays import PlayViewSet
from escalation.api.policies import PolicyViewSet
from escalation.api.shifts import ShiftViewSet

responses = [
    path("twilio/sms/", inbound_webhooks.sms, name="responses_sms"),
    path("twilio/voice/<str:token>/", inbound_webhooks.voice, name="responses_voice"),
]


def register(router: BaseRouter) -> None:
    """Add this app's resources."""
    router.register("escalation-policies", PolicyViewSet, basename="escalation-policy")
    router.register("response-plays", PlayViewSet, basename="response-play")
    router.register("shifts", ShiftViewSet, basename="shift")
    router.register("out-of-office", OutOfOfficeViewSet, basename="out-of-office")
