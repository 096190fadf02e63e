"""Where the management API's alerts, policies and plays answer, and where providers bring what people reply."""

from django.urls import path
from rest_framework.routers import BaseRouter

from escalation.api import doors
from escalation.api.absences import OutOfOfficeViewSet
from escalation.api.on_call import OnCallGroupViewSet, OnCallUserViewSet
from escalation.api.shifts import ShiftViewSet
from escalation.api.views import EscalatingAlertViewSet, PlayViewSet, PolicyViewSet

responses = [
    path("twilio/sms/", doors.sms, name="responses_sms"),
    path("twilio/voice/<str:token>/", doors.voice, name="responses_voice"),
    path("slack/", doors.slack, name="responses_slack"),
    path("mail/", doors.mail, name="responses_mail"),
]


def register(router: BaseRouter) -> None:
    """Add this app's resources, and those of the apps below to which escalation adds: alerts, groups, users."""
    router.register("alerts", EscalatingAlertViewSet, basename="alert")
    router.register("escalation-policies", PolicyViewSet, basename="escalation-policy")
    router.register("response-plays", PlayViewSet, basename="response-play")
    router.register("shifts", ShiftViewSet, basename="shift")
    router.register("out-of-office", OutOfOfficeViewSet, basename="out-of-office")
    router.register("groups", OnCallGroupViewSet, basename="group")
    router.register("users", OnCallUserViewSet, basename="user")
